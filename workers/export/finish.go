package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/events"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
)

// lastWord bounds how long the manifest of an export that has failed is tried to be written.
const lastWord = 15 * time.Second

// finish writes the manifest, moves the watermark, gives the name free, and ends the
// export. The cause is why it ends before all windows have: nil, [errCancelled] or a
// [*finalError].
func (r *run) finish(ctx context.Context, cause error) error {
	cancelled := errors.Is(cause, errCancelled)
	complete := cause == nil && r.tally.done == r.tally.total
	place, sum, err := r.leave(ctx, cause, complete, cancelled)
	if err != nil {
		if !sinkFailed(err) {
			return err
		}
		if cause == nil || cancelled {
			cause = &finalError{sign.Redact(err.Error())}
		}
		complete = false
		zerolog.Ctx(ctx).Warn().Str("error", sign.Redact(err.Error())).Msg("the export has no manifest")
	}
	if complete {
		if err := r.moveMark(ctx, sum); err != nil {
			return err
		}
	}
	// Nobody can resume the export before it has ended: the claim is still this round's.
	if err := r.release(ctx); err != nil {
		return err
	}
	state, reason := r.outcome(cause)
	ended := r.w.cfg.Now().UTC()
	progress := r.tally.progress(ended)
	progress.EtaMs = 0
	err = r.modify(ctx, func(e *jobs.Export) {
		e.State, e.Error, e.FinishedAt, e.Progress = state, reason, &ended, progress
		if place != "" {
			e.Manifest = place
		}
	})
	if err != nil {
		return err
	}
	return r.announce(ctx)
}

// leave writes the manifest, and removes what killed workers have left.
func (r *run) leave(ctx context.Context, cause error, complete, cancelled bool) (place, sum string, err error) {
	write := func() error {
		if place, sum, err = r.manifest(ctx, complete, cancelled); err != nil {
			return err
		}
		// The export is proven; drafts that are left cost room and nothing else.
		if left := r.w.cfg.Sink.Sweep(ctx, r.export.Folder()); left != nil {
			zerolog.Ctx(ctx).Warn().Str("error", sign.Redact(left.Error())).Msg("cannot remove what killed workers have left")
		}
		return nil
	}
	if _, final := errors.AsType[*finalError](cause); final {
		outer := ctx
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lastWord)
		defer cancel()
		err = write()
		if err != nil && outer.Err() == nil && ctx.Err() != nil {
			err = nil // it took too long
		}
		return place, sum, err
	}
	err = r.w.patiently(ctx, write, func() error { return nil })
	return place, sum, err
}

// outcome is the state in which the export ends, and why.
func (r *run) outcome(cause error) (jobs.State, *string) {
	if errors.Is(cause, errCancelled) {
		return jobs.StateCancelled, nil
	}
	if cause != nil {
		reason := cause.Error()
		return jobs.StateFailed, &reason
	}
	t := &r.tally
	if t.failed == 0 {
		return jobs.StateDone, nil
	}
	reason := fmt.Sprintf("%d of %d histories are missing; the first, of character %s and user %s: %s",
		t.failed, t.total, t.first.CharacterID, t.first.UserID, t.first.Reason)
	if t.done == 0 {
		return jobs.StateFailed, &reason
	}
	return jobs.StatePartial, &reason
}

// moveMark moves the watermark to the end of what was read, unless it has been moved by
// somebody else since the run began.
func (r *run) moveMark(ctx context.Context, sum string) error {
	spec, span := r.export.Spec.Watermark, r.export.Range
	if spec == nil || !span.From.Before(span.To) || r.export.Previous != nil && !span.To.After(r.export.Previous.To) {
		return nil
	}
	var previous jobs.Mark
	if r.export.Previous != nil {
		previous = *r.export.Previous
	}
	_, err := r.w.marks.Upsert(ctx, spec.Name, func(m *jobs.Mark) error {
		if m.ExportID == previous.ExportID && m.To.Equal(previous.To) {
			*m = jobs.Mark{To: span.To, ExportID: r.export.ID, SHA256: sum}
		}
		if m.ExportID != r.export.ID {
			zerolog.Ctx(ctx).Warn().Str("watermark", spec.Name).Str("moved_by", m.ExportID).Msg("the watermark has been moved by another export")
		}
		return nil
	})
	return err
}

// release gives the name free, if it is still claimed by this round.
func (r *run) release(ctx context.Context) error {
	entry, err := r.w.claims.Get(ctx, r.export.Name)
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if entry.Value.ExportID != r.export.ID || entry.Value.Round != r.export.Round {
		return nil
	}
	_, err = r.w.claims.Update(ctx, r.export.Name, jobs.Live{}, entry.Revision)
	if errors.Is(err, queue.ErrConflict) {
		return nil
	}
	return err
}

// announce tells of the export's end. There is no event for one that was cancelled: it is
// partial if it has parts, and has failed if not, and its state tells the truth.
func (r *run) announce(ctx context.Context) error {
	e := r.export
	kind := map[jobs.State]string{
		jobs.StateDone: jobs.EventExportDone, jobs.StatePartial: jobs.EventExportPartial,
		jobs.StateFailed: jobs.EventExportFailed, jobs.StateCancelled: jobs.EventExportFailed,
	}[e.State]
	if e.State == jobs.StateCancelled && e.Progress.Rows > 0 {
		kind = jobs.EventExportPartial
	}
	e.Spec.Redact = e.Spec.Redact.WithoutPatterns() // events travel
	id := fmt.Sprintf("%s.%d.%s", e.ID, e.Round, e.State)
	event, err := jobs.NewEvent(kind, id, "/xinghe/export", e.ID, r.w.cfg.Now(), e)
	if err != nil {
		return err
	}
	return events.Store(ctx, r.w.cfg.Queue, event)
}
