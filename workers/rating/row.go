package rating

import (
	"context"
	"errors"
	"time"

	"xinghe/shared/budget"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

const (
	// tries is how often a row is tried before its chunk is put off.
	tries = 4
	// troubles is how many rows must fail so before the rest of their chunk is put off too.
	troubles = 4
	// longPause is what a chunk is put off for rather than kept waiting.
	longPause = 5 * time.Second
	// lookEvery is how often a message that another worker has claimed is looked at.
	lookEvery = 50 * time.Millisecond
)

// row brings one row to its end, or returns an error if that may be possible later.
func (w *Worker) row(ctx context.Context, c *chunk, row jobs.RatingRow) (jobs.RatingOutcome, error) {
	if row.SupersededBy != nil {
		return superseded(jobs.RatingRef{ID: c.task.ID, Row: *row.SupersededBy}), nil
	}
	claim := claim{worker: w, row: row, key: jobs.RatingLastKey(row.MessageID), mine: jobs.RatingLast{
		Order: c.order, By: jobs.RatingRef{ID: c.task.ID, Row: row.Row}, Holder: w.holder,
	}}
	backoff := queue.ExponentialBackoff(200*time.Millisecond, longPause)
	for try := 1; ; try++ {
		claim.final = c.final && try == tries
		outcome, err := claim.settle(ctx)
		if err == nil {
			return outcome, nil
		}
		wait := max(backoff(try), retryAfter(err))
		if _, asked := errors.AsType[*callError](err); !asked || try == tries || wait > longPause && !c.final {
			return outcome, err
		}
		if err := queue.Pause(ctx, min(wait, longPause)); err != nil {
			return outcome, err
		}
	}
}

func superseded(by jobs.RatingRef) jobs.RatingOutcome {
	return jobs.RatingOutcome{Outcome: jobs.RatingSuperseded, By: &by}
}

// claim is a rating on its way to being its message's last word.
type claim struct {
	worker *Worker
	row    jobs.RatingRow
	key    string
	mine   jobs.RatingLast
	// final tells that an error of upstream is the row's end.
	final bool

	called bool   // upstream, at least once
	seen   uint64 // the revision of another's claim
	since  time.Time
}

// settle follows the rules in the package comment.
func (c *claim) settle(ctx context.Context) (jobs.RatingOutcome, error) {
	w := c.worker
	for {
		entry, err := w.last.Get(ctx, c.key)
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			return jobs.RatingOutcome{}, err
		}
		last := entry.Value
		switch {
		case last.Order > c.mine.Order:
			return superseded(last.By), nil
		case last.Order == c.mine.Order && last.Outcome != nil:
			return *last.Outcome, nil
		case c.taken(entry):
			if err := queue.Pause(ctx, lookEvery); err != nil {
				return jobs.RatingOutcome{}, err
			}
			continue
		}
		outcome, err := c.call(ctx, entry.Revision)
		if !errors.Is(err, queue.ErrConflict) && !errors.Is(err, queue.ErrExists) {
			return outcome, err
		}
	}
}

// taken reports whether a call of another worker, or of another job, may be under way or
// still take effect.
func (c *claim) taken(entry queue.Entry[jobs.RatingLast]) bool {
	last := entry.Value
	wait := c.worker.cfg.CallTimeout * 3 / 2
	switch {
	case entry.Revision == 0:
		return false
	case last.Order == c.mine.Order && last.Holder == c.mine.Holder:
		// Without an outcome, how an earlier attempt ended is not known any more.
		c.mine.Doubt = c.mine.Doubt || !c.called
		return false
	case last.Outcome != nil && !last.Doubt:
		return false
	case last.Outcome != nil:
		wait = c.worker.cfg.CallTimeout / 2
	}
	if entry.Revision != c.seen {
		c.seen, c.since = entry.Revision, time.Now()
	}
	return time.Since(c.since) < wait
}

// call claims the message, which must still have the given revision, rates it, and writes
// the outcome down. The error matches [queue.ErrConflict] or [queue.ErrExists] if somebody
// came in between.
func (c *claim) call(ctx context.Context, revision uint64) (jobs.RatingOutcome, error) {
	w := c.worker
	if _, err := w.cfg.Budget.Wait(ctx, budget.Bulk); err != nil {
		return jobs.RatingOutcome{}, err
	}
	deadline := time.Now().Add(w.cfg.CallTimeout)
	revision, err := c.write(ctx, c.mine, revision)
	if err != nil {
		return jobs.RatingOutcome{}, err
	}
	// From here on nothing is cut short by a shutdown: what upstream was told must be known.
	settling := context.WithoutCancel(ctx)
	calling, cancel := context.WithDeadline(settling, deadline)
	c.called = true
	err = w.cfg.Rater.Rate(calling, xingchen.RatingRequest{MessageID: c.row.MessageID, Rating: c.row.Rating, Info: c.row.Info})
	cancel()
	outcome, err := c.judge(err)
	if err != nil {
		return outcome, err
	}
	done := c.mine
	done.Outcome = &outcome
	_, err = c.write(settling, done, revision)
	return outcome, err
}

// judge turns what upstream answered into an outcome, or a [*callError] if the next answer
// may be another.
func (c *claim) judge(err error) (jobs.RatingOutcome, error) {
	if err == nil {
		return jobs.RatingOutcome{Outcome: jobs.RatingApplied}, nil
	}
	if _, ok := errors.AsType[*upstream.NetworkError](err); ok {
		c.mine.Doubt = true
	}
	if refusal, ok := errors.AsType[*xingchen.Error](err); ok && refusal.Kind() == upstream.KindThrottled {
		c.worker.cfg.Budget.Penalize(refusal.RetryAfter)
	}
	if !mendable(err) {
		return jobs.FailedRating(sign.Redact(err.Error())), nil
	}
	if c.final {
		return givenUp(err), nil
	}
	return jobs.RatingOutcome{}, &callError{err}
}

func givenUp(err error) jobs.RatingOutcome {
	return jobs.FailedRating("given up: " + sign.Redact(err.Error()))
}

func (c *claim) write(ctx context.Context, last jobs.RatingLast, revision uint64) (uint64, error) {
	if revision == 0 {
		return c.worker.last.Create(ctx, c.key, last)
	}
	return c.worker.last.Update(ctx, c.key, last, revision)
}

// callError is a failure of upstream that may pass.
type callError struct{ err error }

func (e *callError) Error() string { return e.err.Error() }
func (e *callError) Unwrap() error { return e.err }

func retryAfter(err error) time.Duration {
	if refusal, ok := errors.AsType[*xingchen.Error](err); ok {
		return refusal.RetryAfter
	}
	return 0
}

// mendable reports whether trying again may help: not where upstream refuses the rating
// itself. A key that is not valid may be mended by whoever runs the workers.
func mendable(err error) bool {
	if _, ok := errors.AsType[*upstream.FieldError](err); ok {
		return false
	}
	refusal, ok := errors.AsType[*xingchen.Error](err)
	if !ok {
		return true
	}
	switch refusal.Kind() {
	case upstream.KindInvalid, upstream.KindNotFound, upstream.KindForbidden, upstream.KindDuplicate:
		return false
	}
	return true
}
