package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"xinghe/shared/sign"
)

// Attempt is one call under way. It tells why the call failed.
type Attempt struct {
	service, op string

	caller, own context.Context
	cancel      context.CancelFunc // of own
}

// Begin returns a context for a call that is not a stream, which is over after
// Service.Timeout. The caller must End the attempt.
func (s *Service) Begin(ctx context.Context, op string) (context.Context, Attempt) {
	own, cancel := context.WithTimeoutCause(ctx, s.Timeout, errTimeout)
	return own, Attempt{service: s.Name, op: op, caller: ctx, own: own, cancel: cancel}
}

// End frees what the call's context holds, and cancels the call if it still runs.
func (a Attempt) End() { a.cancel() }

// Failure turns what a transport or a body returned into an error of this package. The
// caller's context is asked first: if it is over, that is the reason. Addresses are dropped
// whole, as their paths and queries hold what gives access and what users said.
func (a Attempt) Failure(err error) error {
	if over := a.caller.Err(); over != nil {
		return a.wrap(over)
	}
	if errors.Is(err, ErrTooLarge) {
		return a.wrap(err)
	}
	if cause := context.Cause(a.own); errors.Is(cause, errTimeout) || errors.Is(cause, ErrIdle) {
		return &NetworkError{Service: a.service, Op: a.op, Err: cause, timeout: true}
	}
	if located, ok := errors.AsType[*url.Error](err); ok {
		err = located.Err
	}
	timed, ok := errors.AsType[net.Error](err)
	return &NetworkError{Service: a.service, Op: a.op, Err: sign.RedactError(err), timeout: ok && timed.Timeout()}
}

// Broken is [Attempt.Failure] for an answer that had begun: what is no time-out is
// [ErrTruncated] as well.
func (a Attempt) Broken(err error) error {
	failure := a.Failure(err)
	if network, ok := errors.AsType[*NetworkError](failure); ok && !network.Timeout() {
		return fmt.Errorf("%w: %w", ErrTruncated, failure)
	}
	return failure
}

func (a Attempt) wrap(err error) error { return fmt.Errorf("%s: %s: %w", a.service, a.op, err) }
