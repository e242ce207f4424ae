package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// look sees to it, now and then, that every export that is under way has its job: whoever
// accepted it may have died between the two.
func (w *Worker) look(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.Look)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := w.republish(ctx); err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("cannot look for exports without a job")
		}
	}
}

// republish publishes the job of every export that is named by a claim and that nothing has
// happened to for a while. Where the job is there already, that does nothing.
func (w *Worker) republish(ctx context.Context) error {
	for claim, err := range w.claims.List(ctx, ">") {
		if err != nil {
			return err
		}
		if claim.Value.ExportID == "" {
			continue
		}
		entry, err := w.exports.Get(ctx, claim.Value.ExportID)
		if errors.Is(err, queue.ErrNotFound) {
			continue // the one who claims the name next clears it away
		}
		if err != nil {
			return err
		}
		e := entry.Value
		if e.State.Ended() || e.Round != claim.Value.Round || w.cfg.Now().Sub(entry.Time) < jobs.MaxClaim {
			continue
		}
		data, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode export: %w", err)
		}
		job := queue.Job{Subject: jobs.SubjectExport + e.ID, ID: fmt.Sprintf("%s.%d", e.ID, e.Round), Data: data, Unique: true}
		if err := w.cfg.Queue.Publish(ctx, job); err != nil && !errors.Is(err, queue.ErrExists) {
			return err
		}
	}
	return nil
}
