package upstream

import "net/http"

// Kind sorts what upstream answers instead of a result by what a caller does about it.
type Kind string

// The kinds.
const (
	KindInvalid      Kind = "invalid"      // the request is at fault
	KindUnauthorized Kind = "unauthorized" // our credentials are
	KindForbidden    Kind = "forbidden"    // the account may not do this
	KindNotFound     Kind = "not_found"
	KindDuplicate    Kind = "duplicate"   // the name is taken
	KindThrottled    Kind = "throttled"   // too many calls, or a user's second conversation at a time
	KindUnavailable  Kind = "unavailable" // upstream failed
	KindUnknown      Kind = "unknown"
)

// KindOfStatus is what an HTTP status says where upstream says nothing better.
func KindOfStatus(status int) Kind {
	switch {
	case status == http.StatusUnauthorized:
		return KindUnauthorized
	case status == http.StatusForbidden:
		return KindForbidden
	case status == http.StatusNotFound:
		return KindNotFound
	case status == http.StatusTooManyRequests:
		return KindThrottled
	case status >= 500:
		return KindUnavailable
	case status >= 400:
		return KindInvalid
	}
	return KindUnknown
}

// Retryable reports whether the same call may succeed later.
func (k Kind) Retryable() bool { return k == KindThrottled || k == KindUnavailable }
