package xingchen

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
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

// Keys of the documented table. Keys that are not in it decide nothing.
const keyPrefix = "aca.error."

var kindsByKey = map[string]upstream.Kind{
	"invalid.request":                   upstream.KindInvalid,
	"invalid.param":                     upstream.KindInvalid,
	"invalid.request.method":            upstream.KindInvalid,
	"invalid.request.params.unreadable": upstream.KindInvalid,
	"invalid.token":                     upstream.KindUnauthorized,
	"data.duplicate":                    upstream.KindDuplicate,
	"no.permission":                     upstream.KindForbidden,
	"notfound":                          upstream.KindNotFound,
	"not.accept.agreement.usage":        upstream.KindForbidden,
	"no.permission.mgmt.version":        upstream.KindForbidden,
	"no.permission.open.character":      upstream.KindForbidden,
	"no.permission.open.chat":           upstream.KindForbidden,
	"no.permission.open.api":            upstream.KindForbidden,
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
func (e *Error) Kind() upstream.Kind {
	if kind, ok := kindsByKey[strings.TrimPrefix(e.Key, keyPrefix)]; ok {
		return kind
	}
	switch words := strings.ToLower(e.Key + " " + e.Name); {
	case strings.Contains(words, "throttl"), strings.Contains(words, "parallel"):
		return upstream.KindThrottled
	case strings.Contains(words, "invalid token"): // the gateway's own dialect has no key
		return upstream.KindUnauthorized
	}
	if kind := kindOfCode(e.Code); kind != upstream.KindUnknown {
		return kind
	}
	return upstream.KindOfStatus(e.HTTPStatus)
}

func kindOfCode(code int) upstream.Kind {
	switch {
	case code == 400:
		return upstream.KindInvalid
	case code == 401:
		return upstream.KindDuplicate
	case code == 403, code >= 410 && code <= 414:
		return upstream.KindForbidden
	case code == 404:
		return upstream.KindNotFound
	case code == 429:
		return upstream.KindThrottled
	case code >= 500 && code <= 599:
		return upstream.KindUnavailable
	}
	return upstream.KindUnknown
}

// Retryable reports whether the same call may succeed later. It says nothing about whether
// repeating is harmless: a chat must not be repeated once a frame has come.
func (e *Error) Retryable() bool { return e.Kind().Retryable() }

// NotFound reports whether what the call named does not exist.
func (e *Error) NotFound() bool { return e.Kind() == upstream.KindNotFound }

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
	e := &Error{HTTPStatus: status, RetryAfter: upstream.RetryAfter(header, time.Now())}
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
		e.Message = upstream.Describe(status, header, body)
	}
	return e
}

// redact takes credentials out of upstream's words, which might repeat what we sent.
func (c *Client) redact(text string) string {
	return strings.ReplaceAll(sign.Redact(text), c.key.Reveal(), sign.Redacted)
}

func (c *Client) censor(body []byte) json.RawMessage {
	return json.RawMessage(strings.ReplaceAll(string(body), c.key.Reveal(), sign.Redacted))
}
