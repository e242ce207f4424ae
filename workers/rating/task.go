package rating

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"xinghe/shared/events"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

const (
	// noteEvery is how often what is done of a chunk is noted.
	noteEvery = 2 * time.Second
	// abandonAfter is how old a task may be whose job was never written.
	abandonAfter = time.Hour
)

// errAbandoned means that a task's job, or its rows, are not there.
var errAbandoned = errors.New("the ratings were not accepted, or have expired")

// errExhausted is the reason of rows whose last attempt ended without a word.
var errExhausted = errors.New("its workers died or lost their connection each time")

var errUnsettled = errors.New("some rows are not settled")

// chunk is a task in hand.
type chunk struct {
	task  jobs.RatingTask
	order uint64
	rows  []jobs.RatingRow
	// final tells that what cannot be settled now has failed.
	final bool

	mu       sync.Mutex
	outcomes []jobs.RatingOutcome
	noted    time.Time
	troubles int   // rows that are not settled
	trouble  error // why the last of them is not
}

// task settles the rows of a chunk, notes their outcomes and tells of them. It returns an
// error if some are not settled: the next delivery goes on with those.
func (w *Worker) task(ctx context.Context, job *queue.Delivery) error {
	c := &chunk{final: job.Attempt >= w.cfg.Attempts}
	if err := json.Unmarshal(job.Data, &c.task); err != nil {
		return queue.Discard(fmt.Errorf("decode rating task: %w", err))
	}
	err := w.load(ctx, c)
	if errors.Is(err, errAbandoned) {
		if age := time.Since(job.Published); age < abandonAfter {
			return queue.Snooze(max(age/4, time.Second)) // its job may still be written
		}
		zerolog.Ctx(ctx).Warn().EmbedObject(job).Msg("ratings were not accepted; their task is dropped")
		return nil
	}
	if err != nil {
		return err
	}
	if job.Attempt > w.cfg.Attempts {
		c.giveUp(errExhausted)
	}
	w.settle(ctx, c)
	result, err := w.note(context.WithoutCancel(ctx), c)
	if err != nil {
		return err
	}
	if !result.Ended() {
		return c.unsettled(ctx)
	}
	return w.announce(ctx, c, result)
}

// unsettled is what to return for a chunk that is to be taken up again.
func (c *chunk) unsettled(ctx context.Context) error {
	return queue.RetryAfter(cmp.Or(ctx.Err(), c.trouble, errUnsettled), retryAfter(c.trouble))
}

// load reads the job, the rows and what is done of them.
func (w *Worker) load(ctx context.Context, c *chunk) error {
	job, err := w.awaitJob(ctx, c.task.ID)
	if err != nil {
		return err
	}
	rows, err := w.rows.Get(ctx, "rows."+c.task.Key())
	if errors.Is(err, queue.ErrNotFound) {
		return errAbandoned
	}
	if err != nil {
		return err
	}
	result, err := w.results.Get(ctx, "done."+c.task.Key())
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return err
	}
	c.order, c.rows, c.noted = job.Revision, rows.Value.Rows, time.Now()
	c.outcomes = merge(result.Value.Outcomes, make([]jobs.RatingOutcome, len(c.rows)))
	return nil
}

// awaitJob reads the job's record. It is written after its tasks, so that a worker may be
// faster.
func (w *Worker) awaitJob(ctx context.Context, id string) (queue.Entry[jobs.RatingJob], error) {
	backoff := queue.ExponentialBackoff(2*time.Millisecond, 250*time.Millisecond)
	for try := 1; ; try++ {
		entry, err := w.jobs.Get(ctx, "job."+id)
		if !errors.Is(err, queue.ErrNotFound) {
			return entry, err
		}
		if try > 10 {
			return entry, errAbandoned
		}
		if err := queue.Pause(ctx, backoff(try)); err != nil {
			return entry, err
		}
	}
}

// merge puts what is new where nothing was decided.
func merge(stored, fresh []jobs.RatingOutcome) []jobs.RatingOutcome {
	for i := range min(len(stored), len(fresh)) {
		if stored[i].Ended() {
			fresh[i] = stored[i]
		}
	}
	for i := range fresh {
		if !fresh[i].Ended() {
			fresh[i] = jobs.RatingOutcome{Outcome: jobs.RatingPending}
		}
	}
	return fresh
}

// settle brings as many rows to their end as can be, several at once. It stops early when
// upstream is in trouble, unless this is the last attempt.
func (w *Worker) settle(ctx context.Context, c *chunk) {
	var group errgroup.Group
	group.SetLimit(w.cfg.Calls)
	for i, row := range c.rows {
		if c.outcomes[i].Ended() { // written by the goroutine of this row only
			continue
		}
		if ctx.Err() != nil || !c.final && c.troubled() {
			break
		}
		group.Go(func() error {
			outcome, err := w.row(ctx, c, row)
			w.decide(ctx, c, i, outcome, err)
			return nil
		})
	}
	_ = group.Wait() // no goroutine returns an error
}

func (c *chunk) troubled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.troubles >= troubles
}

// giveUp ends all rows that have not ended.
func (c *chunk) giveUp(err error) {
	for i := range c.outcomes {
		if !c.outcomes[i].Ended() {
			c.outcomes[i] = givenUp(err)
		}
	}
}

// decide keeps the outcome of a row, and from time to time notes all of them.
func (w *Worker) decide(ctx context.Context, c *chunk, i int, outcome jobs.RatingOutcome, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.troubles, c.trouble = c.troubles+1, err
		return
	}
	c.outcomes[i] = outcome
	if time.Since(c.noted) < noteEvery {
		return
	}
	c.noted = time.Now()
	if _, err := w.noteLocked(ctx, c); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("cannot note what is done yet")
	}
}

func (w *Worker) note(ctx context.Context, c *chunk) (jobs.RatingResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return w.noteLocked(ctx, c)
}

// noteLocked writes the outcomes. What was decided before stays.
func (w *Worker) noteLocked(ctx context.Context, c *chunk) (jobs.RatingResult, error) {
	entry, err := w.results.Upsert(ctx, "done."+c.task.Key(), func(r *jobs.RatingResult) error {
		r.Outcomes = merge(r.Outcomes, append([]jobs.RatingOutcome(nil), c.outcomes...))
		return nil
	})
	return entry.Value, err
}

// announce publishes the events of a chunk that has ended.
func (w *Worker) announce(ctx context.Context, c *chunk, result jobs.RatingResult) error {
	for _, kind := range []string{jobs.EventRatingApplied, jobs.EventRatingFailed} {
		outcome := jobs.RatingApplied
		if kind == jobs.EventRatingFailed {
			outcome = jobs.RatingFailed
		}
		told := jobs.RatingEvent{ID: c.task.ID}
		for i, row := range c.rows {
			if result.Outcomes[i].Outcome == outcome {
				told.Rows = append(told.Rows, jobs.RatingEventRow{Row: row.Row, MessageID: row.MessageID, Rating: row.Rating, Reason: result.Outcomes[i].Reason})
			}
		}
		if len(told.Rows) == 0 {
			continue
		}
		id := c.task.Key() + "." + outcome
		event, err := jobs.NewEvent(kind, id, "/xinghe/rating", c.task.ID, w.cfg.Now(), told)
		if err != nil {
			return err
		}
		if err := events.Store(ctx, w.cfg.Queue, event); err != nil {
			return err
		}
	}
	return nil
}
