package xingchen

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/sign"
)

// Error is what upstream answered instead of a result, whichever of its two dialects it
// used: the gateway's (errorCode, errorName, httpStatusCode) or the service's (code,
// errorMessageKey). It follows Xingchen HTTP API, error codes.
type Error struct {
	// Code is the first of errorCode and code that is not zero. It is no HTTP status: 401
	// means that a name is taken, and 404 may come with status 400.
	Code int
	// Key is errorMessageKey, such as "aca.error.notfound".
	Key string
	// Name is errorName, such as "Not Found".
	Name string
	// Message is upstream's own sentence, or one of ours where the answer had none.
	Message string
	// HTTPStatus is the status of the answer that carried the error; for an error inside a
	// stream, what its httpStatusCode says, else 200.
	HTTPStatus int
	// RequestID is upstream's.
	RequestID string
	// RetryAfter is what upstream asked for; 0 if it did not.
	RetryAfter time.Duration
	// Body is the answer, or the frame, as it came; nil if it was no JSON object.
	Body json.RawMessage
}

// Kind sorts errors by what a caller does about them.
type Kind string

// The kinds of an [Error].
const (
	KindInvalid      Kind = "invalid"      // the request is at fault
	KindUnauthorized Kind = "unauthorized" // the API key is
	KindForbidden    Kind = "forbidden"    // the account may not do this
	KindNotFound     Kind = "not_found"
	KindDuplicate    Kind = "duplicate"   // the name is taken
	KindThrottled    Kind = "throttled"   // too many calls, or a user's second conversation at a time
	KindUnavailable  Kind = "unavailable" // upstream failed
	KindUnknown      Kind = "unknown"
)

// Keys of the documented table. Keys that are not in it decide nothing.
const keyPrefix = "aca.error."

var kindsByKey = map[string]Kind{
	"invalid.request":                   KindInvalid,
	"invalid.param":                     KindInvalid,
	"invalid.request.method":            KindInvalid,
	"invalid.request.params.unreadable": KindInvalid,
	"invalid.token":                     KindUnauthorized,
	"data.duplicate":                    KindDuplicate,
	"no.permission":                     KindForbidden,
	"notfound":                          KindNotFound,
	"not.accept.agreement.usage":        KindForbidden,
	"no.permission.mgmt.version":        KindForbidden,
	"no.permission.open.character":      KindForbidden,
	"no.permission.open.chat":           KindForbidden,
	"no.permission.open.api":            KindForbidden,
}

func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "xingchen: upstream answered %d", e.HTTPStatus)
	if e.Code != 0 && e.Code != e.HTTPStatus {
		fmt.Fprintf(&text, " with code %d", e.Code)
	}
	if e.Key != "" {
		text.WriteString(" " + e.Key)
	}
	if message := e.text(); message != "" {
		text.WriteString(": " + message)
	}
	if e.RequestID != "" {
		text.WriteString(" (upstream request " + e.RequestID + ")")
	}
	return text.String()
}

func (e *Error) text() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Message
}

// Kind decides by the key first, then by the code, then by the HTTP status.
func (e *Error) Kind() Kind {
	if kind, ok := kindsByKey[strings.TrimPrefix(e.Key, keyPrefix)]; ok {
		return kind
	}
	if words := strings.ToLower(e.Key + " " + e.Name); strings.Contains(words, "throttl") || strings.Contains(words, "parallel") {
		return KindThrottled
	}
	if kind := kindOfCode(e.Code); kind != KindUnknown {
		return kind
	}
	return kindOfStatus(e.HTTPStatus)
}

func kindOfCode(code int) Kind {
	switch {
	case code == 400:
		return KindInvalid
	case code == 401:
		return KindDuplicate
	case code == 403, code >= 410 && code <= 414:
		return KindForbidden
	case code == 404:
		return KindNotFound
	case code == 429:
		return KindThrottled
	case code >= 500 && code <= 599:
		return KindUnavailable
	}
	return KindUnknown
}

func kindOfStatus(status int) Kind {
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

// Retryable reports whether the same call may succeed later. It says nothing about whether
// repeating is harmless: a chat must not be repeated once a frame has come.
func (e *Error) Retryable() bool {
	kind := e.Kind()
	return kind == KindThrottled || kind == KindUnavailable
}

// NotFound reports whether what the call named does not exist.
func (e *Error) NotFound() bool { return e.Kind() == KindNotFound }

// refusal is the part of an answer that tells whether it is an error.
type refusal struct {
	RequestID       string          `json:"requestId"`
	Success         *bool           `json:"success"`
	Code            looseInt        `json:"code"`
	ErrorCode       looseInt        `json:"errorCode"`
	ErrorName       string          `json:"errorName"`
	ErrorMessage    string          `json:"errorMessage"`
	ErrorMessageKey string          `json:"errorMessageKey"`
	HTTPStatusCode  looseInt        `json:"httpStatusCode"`
	Error           json.RawMessage `json:"error"`
}

// looseInt is a number that may come as a text. What is neither counts as 0.
type looseInt int

// UnmarshalJSON never fails: an error that cannot be read must not hide the error.
func (n *looseInt) UnmarshalJSON(data []byte) error {
	value, err := strconv.Atoi(strings.Trim(string(data), `"`))
	if err == nil {
		*n = looseInt(value)
	}
	return nil
}

func (r refusal) code() int {
	if r.ErrorCode != 0 {
		return int(r.ErrorCode)
	}
	return int(r.Code)
}

// failed reports whether the answer calls itself a failure.
func (r refusal) failed() bool {
	if r.ErrorCode != 0 && r.ErrorCode != 200 {
		return true
	}
	return r.Success != nil && !*r.Success
}

// newError reads an answer that is known to be an error.
func (c *Client) newError(status int, header http.Header, body []byte) *Error {
	e := &Error{HTTPStatus: status, RetryAfter: retryAfter(header, time.Now())}
	var r refusal
	if json.Unmarshal(body, &r) == nil {
		e.Body = c.censor(body)
		e.Code, e.Key, e.Name = r.code(), r.ErrorMessageKey, c.redact(r.ErrorName)
		e.Message, e.RequestID = c.redact(r.ErrorMessage), r.RequestID
	}
	if e.RequestID == "" {
		e.RequestID = header.Get("X-Request-Id")
	}
	if e.text() == "" {
		e.Message = describe(status, header, body)
	}
	return e
}

// describe says what came where no sentence of upstream's was found.
func describe(status int, header http.Header, body []byte) string {
	kind := header.Get("Content-Type")
	switch {
	case len(body) == 0:
		return strings.TrimSpace(http.StatusText(status) + " (no body)")
	case kind == "":
		kind = "no content type"
	}
	return strings.TrimSpace(http.StatusText(status) + " (" + sign.Redact(kind) + ")")
}

// redact takes credentials out of upstream's words, which might repeat what we sent.
func (c *Client) redact(text string) string {
	return strings.ReplaceAll(sign.Redact(text), c.key.Reveal(), sign.Redacted)
}

func (c *Client) censor(body []byte) json.RawMessage {
	return json.RawMessage(strings.ReplaceAll(string(body), c.key.Reveal(), sign.Redacted))
}

// retryAfter reads seconds or a date.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
