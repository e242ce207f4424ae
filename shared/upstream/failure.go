package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrTruncated marks a stream that ended without its last frame, and an answer that only
// lacks its end. It comes wrapped together with its cause.
var ErrTruncated = errors.New("broken off before its end")

// ErrTooLarge marks an answer, or a frame, longer than Service.MaxResponseBytes.
var ErrTooLarge = errors.New("larger than allowed")

// ErrIdle marks a stream that said nothing for longer than Service.IdleTimeout. It has a
// method Timeout, like a [NetworkError].
var ErrIdle error = idleError{}

type idleError struct{}

func (idleError) Error() string { return "fell silent" }
func (idleError) Timeout() bool { return true }

// errTimeout is the cause of a call's own deadline.
var errTimeout = errors.New("no answer in time")

// NetworkError says that upstream gave no answer, or broke one off before it was whole:
// refused or lost connections, names that do not resolve, time-outs. A front door answers
// 504 if Timeout, else 502.
type NetworkError struct {
	// Service is the service's name.
	Service string
	// Op is the call, such as "POST /v2/api/chat/send".
	Op string
	// Err is the cause, its text redacted.
	Err     error
	timeout bool
}

func (e *NetworkError) Error() string { return e.Service + ": " + e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *NetworkError) Unwrap() error { return e.Err }

// Timeout reports whether upstream took too long.
func (e *NetworkError) Timeout() bool { return e.timeout }

// DecodeError says that an answer was not in the documented form.
type DecodeError struct {
	// Service is the service's name.
	Service string
	What    string
	Err     error
}

func (e *DecodeError) Error() string { return e.Service + ": decode " + e.What + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// Malformed is the [*DecodeError] of data that is not what was expected, wrapped in
// [ErrTruncated] if only its end is missing.
func Malformed(service, what string, data []byte, err error) error {
	decode := &DecodeError{Service: service, What: what, Err: err}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok && syntax.Offset >= int64(len(data)) {
		return fmt.Errorf("%w: %w", ErrTruncated, decode)
	}
	return decode
}

// FieldError says which field of a request, or of a configuration, cannot be used. Nothing
// has gone upstream.
type FieldError struct {
	// Field is the path in the JSON of a request, such as "input.aca.userProfile.userId".
	Field   string
	Message string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Message }
