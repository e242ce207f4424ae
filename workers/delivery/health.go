package delivery

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/events"
	"xinghe/shared/jobs"
)

const (
	// leastFailures is how many attempts must have failed before a target is paused for that.
	leastFailures = 5
	// saveEvery is how often failures are told to other workers where they change nothing.
	saveEvery = time.Second
)

// health decides whether a target may be asked now. What it knows is shared by all workers
// through the target's record; what is counted between two writes is its own.
type health struct {
	w    *Worker
	name string

	// saving is held while view is changed and written, so that what comes back of one write
	// does not undo what another one is about to say.
	saving sync.Mutex

	mu       sync.Mutex
	view     jobs.Webhook // the record as last seen or written
	revision uint64       // of view
	changed  chan struct{}
	probing  bool      // one event is under way, and decides for all that wait
	streak   int       // failures in a row seen here
	unsaved  int       // failures that the record does not count yet
	savedAt  time.Time // when failures were written last
}

func newHealth(w *Worker, name string) *health {
	return &health{w: w, name: name, changed: make(chan struct{})}
}

// enter waits until the target may be asked, or returns the error of ctx when that ends.
// After a rest or a pause one event is let through: probe tells the caller that it is the
// one, which must be followed by left.
func (h *health) enter(ctx context.Context) (probe bool, err error) {
	for ctx.Err() == nil {
		h.mu.Lock()
		wait, closed := h.closed(h.w.cfg.Now())
		if !closed {
			h.probing = h.view.RestUntil != nil
			probe = h.probing
			h.mu.Unlock()
			return probe, nil
		}
		changed := h.changed
		h.mu.Unlock()
		h.w.wait(ctx, wait, changed)
	}
	return false, ctx.Err()
}

// closed tells for how long nothing may be sent at least.
func (h *health) closed(now time.Time) (wait time.Duration, closed bool) {
	until := h.view.RestUntil
	switch {
	case h.probing, h.view.PausedAt != nil && until == nil:
		return h.w.cfg.Recheck, true
	case until != nil && now.Before(*until):
		return until.Sub(now), true
	}
	return 0, false
}

// wake lets all that wait look again; mu is held.
func (h *health) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// left ends a probe: what it has shown is noted.
func (h *health) left(probe bool) {
	if !probe {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	h.wake()
}

// see takes the record as somebody has written it.
func (h *health) see(record jobs.Webhook, revision uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if revision > h.revision {
		h.view, h.revision = record, revision
		h.wake()
	}
}

// succeeded notes a delivery, which ends all trouble; but what was under way when the target
// was paused does not end the pause.
func (h *health) succeeded(ctx context.Context, probe bool) {
	if h.well(probe) {
		return
	}
	h.saving.Lock()
	defer h.saving.Unlock()
	if h.well(probe) {
		return // while another one was written
	}
	h.mu.Lock()
	before, revision := h.view, h.revision
	h.view = healthy(before)
	h.wake()
	h.mu.Unlock()
	err := h.write(ctx, func(record jobs.Webhook) jobs.Webhook {
		if record.PausedAt != nil && !probe {
			return record
		}
		return healthy(record)
	})
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str("target", h.name).Msg("cannot note that a target is well again")
		h.restore(before, revision)
		return
	}
	if before.PausedAt != nil {
		zerolog.Ctx(ctx).Info().Str("target", h.name).Msg("target is not paused any more")
	}
}

// well notes a success, and reports whether the record says the same already.
func (h *health) well(probe bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streak, h.unsaved = 0, 0
	return !probe && (h.view.Failures == 0 && h.view.RestUntil == nil || h.view.PausedAt != nil)
}

// restore takes back what could not be written or told, so that the next attempt tries again.
func (h *health) restore(view jobs.Webhook, revision uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.revision == revision {
		h.view = view
		h.wake()
	}
}

func healthy(record jobs.Webhook) jobs.Webhook {
	return jobs.Webhook{Name: record.Name, Host: record.Host, Types: record.Types}
}

// failure is an attempt that failed.
type failure struct {
	text  string
	after time.Duration // for which the target asks to be left alone
	gone  bool          // it wants no more events at all
	probe bool

	count   int  // of failures that the record does not have yet, this one included
	resting bool // there were too many in a row
}

// failed notes a failed attempt: at once where something follows from it, and else now and
// then.
func (h *health) failed(ctx context.Context, f failure) {
	now := h.w.cfg.Now().UTC()
	if !h.follows(&f, now) {
		return
	}
	h.saving.Lock()
	defer h.saving.Unlock()
	change := func(record jobs.Webhook) jobs.Webhook { return h.w.cfg.ill(record, f, now) }
	h.mu.Lock()
	before, revision := h.view, h.revision
	after := change(before)
	h.view = after // at once: nothing more is to enter while it is written
	h.mu.Unlock()

	if before.PausedAt == nil && after.PausedAt != nil {
		// Told before it is noted: whoever dies in between leaves it to the next failure.
		if err := h.w.announce(ctx, after); err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str("target", h.name).Msg("cannot tell that a target is to be paused, the next failure will")
			h.restore(before, revision)
			return
		}
		zerolog.Ctx(ctx).Error().Str("target", h.name).Str("reason", string(after.Reason)).Str("error", f.text).Msg("target is paused")
	}
	if err := h.write(ctx, change); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str("target", h.name).Msg("cannot note that a target fails")
	}
}

// follows counts a failure, and reports whether it is to be written now.
func (h *health) follows(f *failure, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streak++
	h.unsaved++
	f.count, f.resting = h.unsaved, h.streak%h.w.cfg.RestAfter == 0
	late := h.view.Since != nil && now.Sub(*h.view.Since) >= h.w.cfg.PauseAfter
	if !late && !f.gone && !f.probe && !f.resting && f.after == 0 && now.Sub(h.savedAt) < saveEvery {
		return false
	}
	h.unsaved, h.savedAt = 0, now
	return true
}

// ill is the record of a target after a failure.
func (c Config) ill(r jobs.Webhook, f failure, now time.Time) jobs.Webhook {
	r.Failures += f.count
	r.Error = f.text
	if r.Since == nil {
		r.Since = &now
	}
	until := func(after time.Duration) *time.Time {
		end := now.Add(after)
		if r.RestUntil != nil && r.RestUntil.After(end) {
			return r.RestUntil
		}
		return &end
	}
	switch {
	case f.gone:
		r.PausedAt, r.Reason, r.RestUntil = cmp.Or(r.PausedAt, &now), jobs.PauseGone, nil
	case r.PausedAt != nil && !f.probe:
	case r.PausedAt != nil:
		r.RestUntil = until(c.ResumeAfter)
	case now.Sub(*r.Since) >= c.PauseAfter && r.Failures >= leastFailures:
		r.PausedAt, r.Reason, r.RestUntil = &now, jobs.PauseFailing, until(c.ResumeAfter)
	case f.probe, f.resting:
		r.Rests++
		r.RestUntil = until(max(c.Rest(r.Rests), f.after))
	case f.after > 0:
		r.RestUntil = until(f.after)
	}
	return r
}

// write changes the record.
func (h *health) write(ctx context.Context, change func(jobs.Webhook) jobs.Webhook) error {
	entry, err := h.w.targets.Upsert(ctx, h.name, func(record *jobs.Webhook) error {
		*record = change(*record)
		return nil
	})
	if err != nil {
		return err
	}
	h.see(entry.Value, entry.Revision)
	return nil
}

// announce publishes the event of a pause. Its id is that of the trouble, which all workers
// know by its beginning.
func (w *Worker) announce(ctx context.Context, record jobs.Webhook) error {
	id := fmt.Sprintf("dlv_%s-%d", record.Name, record.Since.UnixMilli())
	event, err := jobs.NewEvent(jobs.EventDeliveryPaused, id, "/xinghe/delivery", record.Name, *record.PausedAt, jobs.DeliveryPaused{
		Target: record.Name, Host: record.Host, Reason: record.Reason, Error: record.Error,
		Since: record.Since.UTC(), Failures: record.Failures, ResumesAt: record.RestUntil,
	})
	if err != nil {
		return err
	}
	return events.Store(ctx, w.cfg.Queue, event)
}
