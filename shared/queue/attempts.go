package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"xinghe/shared/sign"
)

const (
	maxFailures  = 20  // kept per job, the latest ones
	maxErrorText = 500 // bytes kept of a failure's text
)

// Failure is one attempt that failed.
type Failure struct {
	Attempt int       `json:"attempt"`
	Time    time.Time `json:"time"`
	Error   string    `json:"error"` // redacted, at most 500 bytes
}

// attempts is what is remembered of a job that was not done at its first delivery. Jobs
// that are done at once never get one.
type attempts struct {
	// Published tells jobs apart if a stream was deleted and its sequences start anew.
	Published time.Time `json:"published"`
	// Uncounted is the number of deliveries that were no attempts: snoozed or handed back.
	Uncounted int `json:"uncounted,omitempty"`
	// Dead is the reason why the job goes to the dead letters, noted before it is copied, so
	// that whoever gets the job after a crash in between goes on and does not run it again.
	Dead     string    `json:"dead,omitempty"`
	Failures []Failure `json:"failures,omitempty"`
}

func (a *attempts) fail(attempt int, at time.Time, err error) {
	a.Failures = append(a.Failures, Failure{Attempt: attempt, Time: at.UTC(), Error: errorText(err)})
	if surplus := len(a.Failures) - maxFailures; surplus > 0 {
		a.Failures = append(a.Failures[:0:0], a.Failures[surplus:]...)
	}
}

func (d *Delivery) attemptsKey() string {
	return fmt.Sprintf("%s.%s.%d", d.Stream, d.consumer, d.Sequence)
}

// recall reads what is remembered of a job that was delivered before, and sets its attempt.
func (q *Queue) recall(ctx context.Context, d *Delivery) error {
	d.past = attempts{Published: d.Published}
	d.Attempt = d.delivered
	if d.delivered <= 1 {
		return nil
	}
	entry, err := q.attempts.Get(ctx, d.attemptsKey())
	if errors.Is(err, ErrNotFound) || err == nil && !entry.Value.Published.Equal(d.Published) {
		return nil
	}
	if err != nil {
		return err
	}
	d.past = entry.Value
	d.Attempt = max(d.delivered-d.past.Uncounted, 1)
	return nil
}

// note changes what is remembered of a job. It starts from what is stored: the job may have
// been delivered again while it was running.
func (q *Queue) note(ctx context.Context, d *Delivery, change func(*attempts)) error {
	entry, err := q.attempts.Upsert(ctx, d.attemptsKey(), func(past *attempts) error {
		if !past.Published.Equal(d.Published) {
			*past = attempts{Published: d.Published}
		}
		change(past)
		return nil
	})
	if err != nil {
		change(&d.past)
		return err
	}
	d.past = entry.Value
	return nil
}

// forget drops the record of a job that is gone; what it cannot drop expires.
func (q *Queue) forget(ctx context.Context, d *Delivery) error {
	if d.delivered <= 1 {
		return nil
	}
	return q.attempts.Delete(ctx, d.attemptsKey())
}

// errorText returns one line without secrets that fits a header.
func errorText(err error) string {
	text := strings.Join(strings.Fields(sign.Redact(strings.ToValidUTF8(err.Error(), "�"))), " ")
	if len(text) <= maxErrorText {
		return text
	}
	cut := maxErrorText - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
