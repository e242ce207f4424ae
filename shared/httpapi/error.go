package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"xinghe/shared/jobs"
)

// The codes of refusals: one word that a program can branch on.
const (
	CodeInvalidField     = "invalid_field"
	CodeInvalidJSON      = "invalid_json"
	CodeBodyTooLarge     = "body_too_large"
	CodeMediaType        = "unsupported_media_type"
	CodeUnauthorized     = "unauthorized"
	CodeForbidden        = "forbidden"
	CodeNotFound         = "not_found"
	CodeMethodNotAllowed = "method_not_allowed"
	CodeConflict         = "conflict"
	CodeRateLimited      = "rate_limited"
	CodeInternal         = "internal"
	CodeUnavailable      = "unavailable"          // a part of our own, such as the job queue, cannot be reached
	CodeUpstream         = "upstream_error"       // upstream answered with an error
	CodeUpstreamDown     = "upstream_unavailable" // upstream cannot be reached
	CodeUpstreamTimeout  = "upstream_timeout"
	CodeUpstreamTrunc    = "upstream_truncated" // upstream's stream ended before its end
)

// FieldError names one field of a request and what is wrong with it.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Error is a refusal. Its text is for the log and tells the cause, if there is one; clients
// see Detail, Code and Fields.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is one of the words above.
	Code string
	// Detail is a sentence for a human; by default the fields' messages, else the status text.
	Detail string
	// Fields lists every fault of the request that was found.
	Fields []FieldError
	// RetryAfter is how long the client should wait, if known.
	RetryAfter time.Duration
	// Challenge says how to prove oneself, for a 401; "Bearer" by default.
	Challenge string
	// Err is the cause: logged, never shown.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.message()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) message() string {
	if e.Detail != "" {
		return e.Detail
	}
	if len(e.Fields) == 0 {
		return http.StatusText(e.Status)
	}
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + ": " + f.Message
	}
	return strings.Join(parts, "; ")
}

// Invalid refuses a request for what its fields hold, with 400; nil when there is no fault.
func Invalid(fields ...FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidField, Fields: fields}
}

// Fields are the faults of a job as those of the request that asks for it.
func Fields(faults []jobs.Fault) []FieldError {
	fields := make([]FieldError, len(faults))
	for i, fault := range faults {
		fields[i] = FieldError(fault)
	}
	return fields
}

// NotFound refuses with 404; what names the missing thing.
func NotFound(what string) error {
	return &Error{Status: http.StatusNotFound, Code: CodeNotFound, Detail: what + " does not exist"}
}

// Unavailable refuses with 503 because a part of our own cannot be reached.
func Unavailable(detail string, err error) error {
	return &Error{Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Detail: detail, RetryAfter: time.Second, Err: err}
}

// AsError returns the refusal in err's chain. What is none becomes 504 if a deadline
// passed, else 500 without a word on the inside.
func AsError(err error) *Error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Status: http.StatusGatewayTimeout, Code: CodeUpstreamTimeout, Detail: "the deadline passed", Err: err}
	}
	return &Error{Status: http.StatusInternalServerError, Code: CodeInternal, Err: err}
}
