package queue

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// RetryAfter makes a handler's failure be tried again not before d has passed, as upstream
// asked for by a Retry-After header. It counts as an attempt; nil stays nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryError{err: err, after: d}
}

// Snooze is what a handler returns to be called again after d without that counting as an
// attempt: what it waits for has not happened yet. A snoozed job stays in flight, see
// ConsumerConfig.MaxAckPending.
func Snooze(d time.Duration) error { return &snoozeError{after: d} }

// Discard makes a handler's failure final: the job goes to the dead letters with the text
// of err as the reason.
func Discard(err error) error {
	if err == nil {
		err = errors.New("discarded")
	}
	return &discardError{err: err}
}

type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

type snoozeError struct{ after time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("snoozed for %s", e.after) }

type discardError struct{ err error }

func (e *discardError) Error() string { return e.err.Error() }
func (e *discardError) Unwrap() error { return e.err }

// panicError is a handler's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// ExponentialBackoff returns delays of about base, 2·base, 4·base and so on up to limit,
// each drawn evenly from its upper half, so that jobs that failed together do not come back
// together. It is [JitteredBackoff] with the chance of math/rand.
func ExponentialBackoff(base, limit time.Duration) func(attempt int) time.Duration {
	return JitteredBackoff(base, limit, rand.Float64)
}

// JitteredBackoff is [ExponentialBackoff] with chance from random, which returns numbers
// from 0 to below 1 and must be safe for concurrent use.
func JitteredBackoff(base, limit time.Duration, random func() float64) func(attempt int) time.Duration {
	return func(attempt int) time.Duration {
		delay := float64(base) * math.Pow(2, float64(max(attempt, 1)-1))
		delay = min(delay, float64(limit))
		return time.Duration(delay/2 + random()*delay/2)
	}
}
