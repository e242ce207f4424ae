package beebot

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/sign"
)

// Error is what upstream answered instead of a result: the failure of an RPC call, or a
// frame with success:false. It follows Beebot, pages on error codes and on the SSE stream.
type Error struct {
	// Code is upstream's, such as "InvalidInstanceId.NotFound"; empty if the answer was no
	// JSON.
	Code string
	// Message is upstream's own sentence, or one of ours where the answer had none.
	Message string
	// HTTPStatus is the status of the answer. A failure inside a stream comes with 200.
	HTTPStatus int
	// RequestID is upstream's.
	RequestID string
	// RetryAfter is what upstream asked for; 0 if it did not.
	RetryAfter time.Duration
	// html marks an answer to a stream that is a web page, which the service gives where the
	// address of the stream is wrong.
	html bool
}

// Kind sorts errors by what a caller does about them.
type Kind string

// The kinds of an [Error].
const (
	KindInvalid      Kind = "invalid"      // the request is at fault
	KindUnauthorized Kind = "unauthorized" // the credentials are
	KindForbidden    Kind = "forbidden"    // the account may not do this
	KindNotFound     Kind = "not_found"    // no such robot
	KindThrottled    Kind = "throttled"    // too many calls
	KindUnavailable  Kind = "unavailable"  // upstream failed
	KindUnknown      Kind = "unknown"
)

// Codes that decide by themselves; some are looked up without what follows their first dot.
var kindsByCode = map[string]Kind{
	"InvalidInstanceId.NotFound": KindNotFound,
	"InvalidParameter":           KindInvalid,
	"InternalError":              KindUnavailable,
	"ServiceUnavailable":         KindUnavailable,
	"InstanceFreezing":           KindForbidden,
	"Forbidden":                  KindForbidden,
	"InvalidAccessKeyId":         KindUnauthorized,
	"InvalidTimeStamp":           KindUnauthorized,
	"SignatureDoesNotMatch":      KindUnauthorized,
	"IncompleteSignature":        KindUnauthorized,
	"InvalidSecurityToken":       KindUnauthorized,
	"InvalidAccessToken":         KindUnauthorized,
	"AccessTokenExpired":         KindUnauthorized,
	"Throttling":                 KindThrottled,
	"InvalidApi":                 KindInvalid,
	"InvalidProduct":             KindInvalid,
	"InvalidProtocol":            KindInvalid,
	"UnsupportedHTTPMethod":      KindInvalid,
	"InvalidSignatureMethod":     KindInvalid,
	codeNonceUsed:                KindInvalid,
}

const codeNonceUsed = "SignatureNonceUsed"

// Codes by which a stream is refused for its token or signature. The service documents none
// but a web page; these are treated alike.
var refusalCodes = map[string]bool{
	"InvalidAccessToken": true, "AccessTokenExpired": true, "SignatureDoesNotMatch": true,
}

func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "beebot: upstream answered %d", e.HTTPStatus)
	if e.Code != "" {
		text.WriteString(" " + e.Code)
	}
	if e.Message != "" {
		text.WriteString(": " + e.Message)
	}
	if e.RequestID != "" {
		text.WriteString(" (upstream request " + e.RequestID + ")")
	}
	return text.String()
}

// Kind decides by the code, and by the HTTP status where the code is not known.
func (e *Error) Kind() Kind {
	family, _, _ := strings.Cut(e.Code, ".")
	for _, code := range []string{e.Code, family} {
		if kind, ok := kindsByCode[code]; ok {
			return kind
		}
	}
	switch {
	case strings.HasPrefix(e.Code, "Missing"):
		return KindInvalid
	case e.HTTPStatus == http.StatusUnauthorized:
		return KindUnauthorized
	case e.HTTPStatus == http.StatusForbidden:
		return KindForbidden
	case e.HTTPStatus == http.StatusNotFound:
		return KindNotFound
	case e.HTTPStatus == http.StatusTooManyRequests:
		return KindThrottled
	case e.HTTPStatus >= 500:
		return KindUnavailable
	case e.HTTPStatus >= 400:
		return KindInvalid
	}
	return KindUnknown
}

// Retryable reports whether the same call may succeed later. A stream must not be repeated
// once a frame has come, but under the same message id.
func (e *Error) Retryable() bool {
	kind := e.Kind()
	return kind == KindThrottled || kind == KindUnavailable || e.Code == codeNonceUsed
}

// NotFound reports whether the robot does not exist. Version 2022-04-08 is also seen to
// answer InvalidParameter for an unknown robot, which cannot be told from other faults.
func (e *Error) NotFound() bool { return e.Kind() == KindNotFound }

// refused reports whether a stream was turned down for its address: token, channel,
// signature.
func refused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	return e.html || refusalCodes[e.Code] || e.HTTPStatus == http.StatusUnauthorized || e.HTTPStatus == http.StatusForbidden
}

// refusal is the part of an answer that tells whether it is an error, of RPC calls and of
// frames. Names are read in any case: newer SDKs expect lower-case ones.
type refusal struct {
	RequestID string    `json:"requestId"`
	Success   *bool     `json:"success"`
	Code      looseText `json:"code"`
	Message   looseText `json:"message"`
}

func (r refusal) failed() bool { return r.Success != nil && !*r.Success }

// looseText is a text that may come as a number or as anything else.
type looseText string

// UnmarshalJSON never fails: an error that cannot be read must not hide the error.
func (t *looseText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	if text != "null" {
		*t = looseText(text)
	}
	return nil
}

// newError reads an answer that is known to be an error. Secrets that the request carried
// are taken out of upstream's words.
func newError(status int, header http.Header, body []byte, secrets ...sign.Secret) *Error {
	e := &Error{HTTPStatus: status, RetryAfter: retryAfter(header, time.Now())}
	var r refusal
	if json.Unmarshal(body, &r) == nil {
		e.Code, e.RequestID = redact(string(r.Code), secrets), r.RequestID
		// The gateway repeats what it was to sign, and with that what the visitor said.
		message, _, _ := strings.Cut(string(r.Message), " server string to sign is:")
		e.Message = redact(message, secrets)
	}
	if e.RequestID == "" {
		e.RequestID = header.Get("X-Acs-Request-Id")
	}
	if e.Message == "" && e.Code == "" {
		e.Message = describe(status, header, body)
	}
	return e
}

// describe says what came where no sentence of upstream's was found.
func describe(status int, header http.Header, body []byte) string {
	kind := header.Get("Content-Type")
	switch {
	case len(body) == 0:
		kind = "no body"
	case kind == "":
		kind = "no content type"
	}
	return strings.TrimSpace(http.StatusText(status) + " (" + sign.Redact(kind) + ")")
}

// redact takes the longest secrets out first, as one may contain another.
func redact(text string, secrets []sign.Secret) string {
	text = sign.Redact(text)
	longestFirst := func(a, b sign.Secret) int { return len(b.Reveal()) - len(a.Reveal()) }
	for _, secret := range slices.SortedFunc(slices.Values(secrets), longestFirst) {
		if !secret.IsZero() {
			text = strings.ReplaceAll(text, secret.Reveal(), sign.Redacted)
		}
	}
	return text
}

// retryAfter reads Retry-After, in seconds or as a date, and the gateway's own headers,
// whose TimeLeft is in milliseconds. The longest wait counts.
func retryAfter(header http.Header, now time.Time) time.Duration {
	var wait time.Duration
	if value := header.Get("Retry-After"); value != "" {
		if seconds, err := strconv.Atoi(value); err == nil {
			wait = time.Duration(seconds) * time.Second
		} else if at, err := http.ParseTime(value); err == nil {
			wait = at.Sub(now)
		}
	}
	for _, name := range []string{"X-Ratelimit-User-Api", "X-Ratelimit-User"} {
		for pair := range strings.SplitSeq(header.Get(name), ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(pair), ":")
			left, err := strconv.Atoi(strings.TrimSpace(value))
			if err == nil && strings.EqualFold(key, "TimeLeft") {
				wait = max(wait, time.Duration(left)*time.Millisecond)
			}
		}
	}
	return max(wait, 0)
}
