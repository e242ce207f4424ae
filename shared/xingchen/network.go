package xingchen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"

	"xinghe/shared/sign"
)

// NetworkError says that upstream gave no answer, or broke one off before it was whole:
// refused or lost connections, names that do not resolve, time-outs. A front door answers
// 504 if Timeout, else 502.
type NetworkError struct {
	// Op is the call, such as "POST /v2/api/chat/send".
	Op string
	// Err is the cause, its text redacted.
	Err     error
	timeout bool
}

func (e *NetworkError) Error() string { return "xingchen: " + e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *NetworkError) Unwrap() error { return e.Err }

// Timeout reports whether upstream took too long.
func (e *NetworkError) Timeout() bool { return e.timeout }

// ErrTruncated marks a stream that ended without its last frame, the one with stop:true. It
// comes wrapped together with its cause.
var ErrTruncated = errors.New("xingchen: stream broke off before its end")

// ErrIdle marks a stream that said nothing for longer than Config.IdleTimeout. It has a
// method Timeout, like a [NetworkError].
var ErrIdle error = idleError{}

type idleError struct{}

func (idleError) Error() string { return "xingchen: stream fell silent" }
func (idleError) Timeout() bool { return true }

// ErrTooLarge marks an answer longer than Config.MaxResponseBytes.
var ErrTooLarge = errors.New("xingchen: answer larger than allowed")

var errNoData = errors.New("no data in the answer")

// errTimeout is the cause of a call's own deadline.
var errTimeout = errors.New("no answer in time")

// DecodeError says that an answer was not in the documented form.
type DecodeError struct {
	What string
	Err  error
}

func (e *DecodeError) Error() string { return "xingchen: decode " + e.What + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// attempt knows the two contexts of a call, to tell why it failed.
type attempt struct {
	op     string
	caller func() error // of the caller's context
	cause  func() error // of the call's own
}

func newAttempt(caller, call context.Context, op string) attempt {
	return attempt{op: op, caller: caller.Err, cause: func() error { return context.Cause(call) }}
}

// failure turns what a transport or a body returned into one of this package's errors. The
// caller's context is asked first: if it is over, that is the reason.
func (a attempt) failure(err error) error {
	if over := a.caller(); over != nil {
		return fmt.Errorf("xingchen: %s: %w", a.op, over)
	}
	if cause := a.cause(); errors.Is(cause, errTimeout) || errors.Is(cause, ErrIdle) {
		return &NetworkError{Op: a.op, Err: cause, timeout: true}
	}
	if located, ok := errors.AsType[*url.Error](err); ok {
		err = located.Err
	}
	timed, ok := errors.AsType[net.Error](err)
	return &NetworkError{Op: a.op, Err: sign.RedactError(err), timeout: ok && timed.Timeout()}
}

// malformed says that data is not what was expected, and that it is cut short if it only
// lacks its end.
func malformed(what string, data []byte, err error) error {
	decode := &DecodeError{What: what, Err: err}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok && syntax.Offset >= int64(len(data)) {
		return fmt.Errorf("%w: %w", ErrTruncated, decode)
	}
	return decode
}
