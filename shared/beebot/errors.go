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
	"xinghe/shared/upstream"
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

// Codes that decide by themselves; some are looked up without what follows their first dot.
var kindsByCode = map[string]upstream.Kind{
	"InvalidInstanceId.NotFound": upstream.KindNotFound,
	"InvalidParameter":           upstream.KindInvalid,
	"InternalError":              upstream.KindUnavailable,
	"ServiceUnavailable":         upstream.KindUnavailable,
	"InstanceFreezing":           upstream.KindForbidden,
	"Forbidden":                  upstream.KindForbidden,
	"InvalidAccessKeyId":         upstream.KindUnauthorized,
	"InvalidTimeStamp":           upstream.KindUnauthorized,
	"SignatureDoesNotMatch":      upstream.KindUnauthorized,
	"IncompleteSignature":        upstream.KindUnauthorized,
	"InvalidSecurityToken":       upstream.KindUnauthorized,
	"InvalidAccessToken":         upstream.KindUnauthorized,
	"AccessTokenExpired":         upstream.KindUnauthorized,
	"Throttling":                 upstream.KindThrottled,
	"InvalidApi":                 upstream.KindInvalid,
	"InvalidProduct":             upstream.KindInvalid,
	"InvalidProtocol":            upstream.KindInvalid,
	"UnsupportedHTTPMethod":      upstream.KindInvalid,
	"InvalidSignatureMethod":     upstream.KindInvalid,
	codeNonceUsed:                upstream.KindInvalid,
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

// Kind decides by the code, and by the HTTP status where the code is not known. A web page
// in place of a stream speaks of our credentials, whatever its status.
func (e *Error) Kind() upstream.Kind {
	if e.html && e.HTTPStatus < http.StatusInternalServerError {
		return upstream.KindUnauthorized
	}
	family, _, _ := strings.Cut(e.Code, ".")
	for _, code := range []string{e.Code, family} {
		if kind, ok := kindsByCode[code]; ok {
			return kind
		}
	}
	if strings.HasPrefix(e.Code, "Missing") {
		return upstream.KindInvalid
	}
	return upstream.KindOfStatus(e.HTTPStatus)
}

// Retryable reports whether the same call may succeed later. A stream must not be repeated
// once a frame has come, but under the same message id.
func (e *Error) Retryable() bool { return e.Kind().Retryable() || e.Code == codeNonceUsed }

// NotFound reports whether the robot does not exist. Version 2022-04-08 is also seen to
// answer InvalidParameter for an unknown robot, which cannot be told from other faults.
func (e *Error) NotFound() bool { return e.Kind() == upstream.KindNotFound }

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
		e.Message = upstream.Describe(status, header, body)
	}
	return e
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

// retryAfter also reads the gateway's own headers, whose TimeLeft is in milliseconds. The
// longest wait counts.
func retryAfter(header http.Header, now time.Time) time.Duration {
	wait := upstream.RetryAfter(header, now)
	for _, name := range []string{"X-Ratelimit-User-Api", "X-Ratelimit-User"} {
		for pair := range strings.SplitSeq(header.Get(name), ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(pair), ":")
			left, err := strconv.Atoi(strings.TrimSpace(value))
			if err == nil && strings.EqualFold(key, "TimeLeft") {
				wait = max(wait, time.Duration(left)*time.Millisecond)
			}
		}
	}
	return wait
}
