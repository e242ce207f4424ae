package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

const (
	// progressEvery bounds how often a run writes its progress.
	progressEvery = 200 * time.Millisecond
	// ahead is how many windows of an export wait or run at once, so that a large export does
	// not keep others from beginning, and publishGroup how many are published at a time.
	ahead        = 1024
	publishGroup = 256
)

// recount adds up what there is already.
func (r *run) recount(ctx context.Context) error {
	r.tally = newTally(r.export)
	for entry, err := range r.w.results.List(ctx, r.export.ID+".*") {
		if err != nil {
			return err
		}
		r.tally.note(entry.Value)
	}
	return nil
}

// follow has all windows read, and keeps the export's progress. It returns when the last
// one has ended, [errCancelled], a [*finalError], or any other error if the run is to be
// taken up anew.
func (r *run) follow(ctx context.Context) error {
	if err := r.progress(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	results := make(chan jobs.WindowResult)
	id := r.export.ID // conduct renews the rest
	group.Go(func() error { return r.watchResults(ctx, id, results) })
	group.Go(func() error { return r.watchCancel(ctx, id) })
	group.Go(func() error {
		if err := r.conduct(ctx, results); err != nil {
			return err
		}
		return errAllEnded
	})
	if err := group.Wait(); !errors.Is(err, errAllEnded) {
		return err
	}
	return nil
}

// errAllEnded ends those who watch.
var errAllEnded = errors.New("all windows have ended")

// conduct publishes windows and takes in their results until none is left.
func (r *run) conduct(ctx context.Context, results <-chan jobs.WindowResult) error {
	next, stop := iter.Pull2(r.windows(ctx))
	defer stop()
	p := publisher{run: r, next: next}
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		if r.tally.fatal != "" {
			return &finalError{r.tally.fatal}
		}
		if err := p.publish(ctx); err != nil {
			return err
		}
		if p.exhausted && p.waiting <= 0 {
			return r.progress(ctx)
		}
		select {
		case result := <-results:
			p.take(result)
		case <-ticker.C:
			if err := r.progress(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publisher keeps a bounded number of windows under way.
type publisher struct {
	run       *run
	next      func() (jobs.Window, error, bool)
	upTo      int // windows before this number have been published
	waiting   int // of those, how many have not ended
	exhausted bool
}

// take notes a result.
func (p *publisher) take(result jobs.WindowResult) {
	before := p.run.tally.ended.has(result.Number)
	p.run.tally.note(result)
	if !before && p.run.tally.ended.has(result.Number) && result.Number < p.upTo {
		p.waiting--
	}
}

// publish publishes the next windows, if there is room. One that waits or runs already is
// left as it is.
func (p *publisher) publish(ctx context.Context) error {
	for !p.exhausted && p.waiting <= ahead-publishGroup {
		group := make([]queue.Job, 0, publishGroup)
		for len(group) < publishGroup {
			window, err, ok := p.next()
			if err != nil {
				return err
			}
			if !ok {
				p.exhausted = true
				break
			}
			p.upTo = window.Number + 1
			if p.run.tally.ended.has(window.Number) {
				continue
			}
			job, err := windowJob(window)
			if err != nil {
				return err
			}
			group = append(group, job)
		}
		p.waiting += len(group)
		if err := published(p.run.w.cfg.Queue.PublishAll(ctx, group)); err != nil {
			return err
		}
	}
	return nil
}

func windowJob(window jobs.Window) (queue.Job, error) {
	data, err := json.Marshal(window)
	if err != nil {
		return queue.Job{}, fmt.Errorf("encode window: %w", err)
	}
	id := resultKey(window) + "." + strconv.Itoa(window.Round)
	return queue.Job{Subject: jobs.SubjectWindow + id, ID: id, Data: data, Unique: true}, nil
}

// published forgives jobs that are there already.
func published(err error) error {
	batch, ok := errors.AsType[*queue.BatchError](err)
	if !ok {
		return err
	}
	for _, failure := range batch.Failed {
		if !errors.Is(failure, queue.ErrExists) {
			return err
		}
	}
	return nil
}

func (r *run) watchResults(ctx context.Context, id string, results chan<- jobs.WindowResult) error {
	for entry, err := range r.w.results.Watch(ctx, id+".*") {
		if err != nil {
			return err
		}
		if entry.Deleted {
			continue
		}
		select {
		case results <- entry.Value:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("the results of windows are no longer told")
}

// watchCancel returns when the export is cancelled, or is not this run's any more.
func (r *run) watchCancel(ctx context.Context, id string) error {
	for entry, err := range r.w.exports.Watch(ctx, id) {
		switch {
		case err != nil:
			return err
		case entry.Deleted, entry.Value.Round != r.tally.round, entry.Value.State.Ended():
			return errOutdated
		case entry.Value.CancelledAt != nil:
			return errCancelled
		}
	}
	return errors.New("the export's state is no longer told")
}

// progress notes how far the export is.
func (r *run) progress(ctx context.Context) error {
	progress := r.tally.progress(r.w.cfg.Now())
	return r.modify(ctx, func(e *jobs.Export) { e.State, e.Progress = jobs.StateRunning, progress })
}
