package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
)

const (
	// haltEvery bounds how often a window asks whether its export still wants it.
	haltEvery = 500 * time.Millisecond
	// aside is how long a window is left alone that somebody else works on, or whose state
	// cannot be kept.
	aside = 2 * time.Second
)

// errHalted says that the export does not want the window any more.
var errHalted = errors.New("the export has ended, or was started anew")

// window reads one window, from where it was left, and notes how far it has come. What may
// succeed later is tried again; what cannot, or has been tried too often, is noted as
// failed.
func (w *Worker) window(ctx context.Context, job *queue.Delivery) error {
	var window jobs.Window
	if err := json.Unmarshal(job.Data, &window); err != nil {
		return queue.Discard(fmt.Errorf("decode window: %w", err))
	}
	t := &task{w: w, window: window, deliveries: job.Attempt}
	err := t.do(ctx)
	switch {
	case ctx.Err() != nil:
		return err // the worker is going down; another one goes on
	case errors.Is(err, errHalted):
		return nil
	case errors.Is(err, queue.ErrConflict), errors.Is(err, queue.ErrUnavailable):
		return queue.Snooze(aside)
	}
	return err
}

func resultKey(window jobs.Window) string {
	return window.ExportID + "." + strconv.Itoa(window.Number)
}

// task is one delivery of a window.
type task struct {
	w          *Worker
	window     jobs.Window
	deliveries int
	looked     time.Time // when the export was last asked

	result   jobs.WindowResult
	revision uint64 // of result; 0 if it is not kept yet
}

func (t *task) do(ctx context.Context) error {
	if err := t.halted(ctx); err != nil {
		return err
	}
	entry, err := t.w.results.Get(ctx, resultKey(t.window))
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return err
	}
	if err == nil {
		t.result, t.revision = entry.Value, entry.Revision
	}
	if t.result.Ended(t.window.Round) {
		return nil
	}
	if t.result.Round < t.window.Round {
		t.result.Tries = 0
	}
	if t.deliveries > deaths {
		return t.fail(ctx, errors.New("its workers died, again and again"))
	}
	err = t.w.patiently(ctx, func() error { return t.read(ctx) }, func() error { return t.halted(ctx) })
	if err == nil || ctx.Err() != nil || errors.Is(err, errHalted) || errors.Is(err, queue.ErrConflict) || errors.Is(err, queue.ErrUnavailable) {
		return err
	}
	return t.fail(ctx, err)
}

func (t *task) read(ctx context.Context) error {
	r, err := newReader(t.w, t.window, t.result)
	if err != nil {
		return err
	}
	r.note = t.note
	r.halt = func(ctx context.Context) error {
		if time.Since(t.looked) < haltEvery {
			return nil
		}
		return t.halted(ctx)
	}
	err = r.run(ctx)
	t.result.Requests += r.requests // of what came to no part
	t.result.ThrottledMs += r.throttled.Milliseconds()
	return err
}

// halted asks the export whether it still wants the window.
func (t *task) halted(ctx context.Context) error {
	entry, err := t.w.exports.Get(ctx, t.window.ExportID)
	if errors.Is(err, queue.ErrNotFound) {
		return errHalted
	}
	if err != nil {
		return err
	}
	t.looked = time.Now()
	if e := entry.Value; e.State.Ended() || e.CancelledAt != nil || e.Round != t.window.Round {
		return errHalted
	}
	return nil
}

// note keeps how far the window has come, unless somebody else has come further.
func (t *task) note(ctx context.Context, result jobs.WindowResult) error {
	var err error
	if t.revision == 0 {
		t.revision, err = t.w.results.Create(ctx, resultKey(t.window), result)
		if errors.Is(err, queue.ErrExists) {
			err = fmt.Errorf("%w: %w", queue.ErrConflict, err)
		}
	} else {
		t.revision, err = t.w.results.Update(ctx, resultKey(t.window), result, t.revision)
	}
	if err == nil {
		t.result = result
	}
	return err
}

// fail notes a failure: to be tried again if that may help and was not done too often, else
// for good.
func (t *task) fail(ctx context.Context, cause error) error {
	result := t.result
	result.Number, result.Round = t.window.Number, t.window.Round
	count := &result.Window
	count.Number, count.CharacterID, count.UserID, count.From, count.To = t.window.Number, t.window.CharacterID, t.window.UserID, t.window.From, t.window.To
	result.Tries++
	again := retryable(cause) && !fatal(cause) && !errors.Is(cause, errTies) && result.Tries < t.w.cfg.Attempts && t.deliveries <= deaths
	if !again {
		result.Error, result.Fatal = sign.Redact(cause.Error()), fatal(cause)
	}
	if err := t.note(ctx, result); err != nil {
		return err
	}
	if !again {
		return nil
	}
	if refusal, ok := errors.AsType[*xingchen.Error](cause); ok {
		return queue.RetryAfter(cause, refusal.RetryAfter)
	}
	return cause
}
