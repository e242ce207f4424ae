package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

var (
	// errCancelled says that somebody has asked to end the export.
	errCancelled = errors.New("cancelled")
	// errOutdated says that the run is not the export's any more.
	errOutdated = errors.New("the export has been started anew")
)

// finalError ends an export as failed.
type finalError struct{ reason string }

func (e *finalError) Error() string { return e.reason }

// run is one round of an export, as it is led by one worker.
type run struct {
	w      *Worker
	export jobs.Export
	tally  tally
}

// run brings one round of an export to its end: it plans the windows, has them read, and
// writes the manifest. A run that is taken over starts anew and finds what is done already.
func (w *Worker) run(ctx context.Context, job *queue.Delivery) error {
	var announced jobs.Export
	if err := json.Unmarshal(job.Data, &announced); err != nil {
		return queue.Discard(fmt.Errorf("decode export: %w", err))
	}
	log := zerolog.Ctx(ctx).With().Str("export", announced.ID).Int("round", announced.Round).Logger()
	ctx = log.WithContext(ctx)
	entry, err := w.exports.Get(ctx, announced.ID)
	if errors.Is(err, queue.ErrNotFound) {
		log.Warn().Msg("export was not accepted; its job is dropped")
		return nil
	}
	if err != nil {
		return err
	}
	r := &run{w: w, export: entry.Value}
	if r.export.Round != announced.Round {
		return nil
	}
	if r.export.State.Ended() {
		return r.announce(ctx) // whoever ended it may have died before
	}
	ended, err := r.lead(ctx)
	if errors.Is(err, errOutdated) {
		return nil
	}
	if err != nil || !ended {
		return err
	}
	log.Info().Str("state", string(r.export.State)).Int64("rows", r.export.Progress.Rows).
		Int64("dur_ms", w.cfg.Now().Sub(r.export.CreatedAt).Milliseconds()).Msg("export ended")
	return nil
}

func (r *run) lead(ctx context.Context) (ended bool, err error) {
	cause := r.plan(ctx)
	if r.export.Range != nil {
		if err := r.recount(ctx); err != nil {
			return false, err
		}
	}
	if cause == nil {
		cause = r.follow(ctx)
	}
	if _, final := errors.AsType[*finalError](cause); cause != nil && !final && !errors.Is(cause, errCancelled) {
		return false, cause
	}
	if err := r.finish(ctx, cause); err != nil {
		return false, err
	}
	return true, nil
}

// modify changes the export's record as long as this round is under way.
func (r *run) modify(ctx context.Context, change func(*jobs.Export)) error {
	entry, err := r.w.exports.Modify(ctx, r.export.ID, func(e *jobs.Export) error {
		if e.Round != r.export.Round || e.State.Ended() {
			return errOutdated
		}
		change(e)
		return nil
	})
	if errors.Is(err, queue.ErrNotFound) {
		return errOutdated
	}
	if err == nil {
		r.export = entry.Value
	}
	return err
}
