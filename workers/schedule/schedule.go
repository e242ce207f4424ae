// Package schedule is the worker that starts exports when their schedules are due. The
// server keeps the times and publishes what is due; any of the workers takes it. What can be
// read of schedules, and how one time makes one export, tells xinghe/shared/schedule.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/schedule"
)

// Starter starts exports; *intake.Exports does.
type Starter interface {
	StartAs(ctx context.Context, id string, spec []byte) (jobs.Export, error)
}

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings what is due. Required.
	Queue *queue.Queue
	// Exports starts the exports. Required.
	Exports Starter
	// Drain is how long what is under way may take at shutdown. Default 5 s.
	Drain time.Duration
	// Now is the clock; time.Now by default. It only dates what came of a schedule.
	Now func() time.Time
}

// Worker takes what is due.
type Worker struct {
	cfg       Config
	schedules *schedule.Schedules
}

// New makes a worker. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	if cfg.Queue == nil || cfg.Exports == nil {
		return nil, errors.New("schedule worker: Queue and Exports are required")
	}
	if cfg.Drain == 0 {
		cfg.Drain = 5 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	schedules, err := schedule.Open(cfg.Queue)
	if err != nil {
		return nil, fmt.Errorf("schedule worker: %w", err)
	}
	return &Worker{cfg: cfg, schedules: schedules}, nil
}

// Run creates the stream of schedules, takes what is due until ctx is done, and drains. With
// a server that knows no schedules it says so and returns nil: the other workers go on.
func (w *Worker) Run(ctx context.Context) error {
	err := w.ensure(ctx)
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // told to stop while waiting, which is no fault
	case errors.Is(err, queue.ErrUnsupported):
		zerolog.Ctx(ctx).Error().Err(err).Msg("there are no schedules")
		return nil
	case err != nil:
		return fmt.Errorf("schedule worker: %w", err)
	}
	err = w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
		Name: "schedule", Subjects: []string{queue.PrefixDue + ">"},
		// What fails is NATS, not the schedule: it is tried until the next time takes its place.
		MaxAttempts: -1, Backoff: queue.ExponentialBackoff(time.Second, time.Minute), Drain: w.cfg.Drain,
	}, w.start)
	if err != nil {
		return fmt.Errorf("schedule worker: %w", err)
	}
	return nil
}

// ensure waits for NATS as long as it takes.
func (w *Worker) ensure(ctx context.Context) error {
	for {
		err := w.cfg.Queue.EnsureSchedules(ctx)
		if !errors.Is(err, queue.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		zerolog.Ctx(ctx).Warn().Err(err).Msg("cannot make the stream of schedules yet")
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close does nothing; the queue is the caller's.
func (w *Worker) Close() error { return nil }

// start starts the export that is due. It bears being called twice for one time, also in two
// processes at once.
func (w *Worker) start(ctx context.Context, d *queue.Delivery) error {
	s, due, err := schedule.Due(d.Data, d.Header(queue.HeaderNext))
	if err != nil {
		// Somebody else than this program has stored it, and it will not get better.
		zerolog.Ctx(ctx).Error().EmbedObject(d).Err(err).Msg("not a schedule of ours")
		return nil
	}
	log := zerolog.Ctx(ctx).With().Str("schedule", s.Name).Time("due", due).Logger()
	run := schedule.Run{Due: due, At: w.cfg.Now().UTC(), Outcome: schedule.Started}
	export, err := w.cfg.Exports.StartAs(ctx, s.ExportID(due), s.Spec)
	refusal, _ := errors.AsType[*httpapi.Error](err)
	switch {
	case err == nil:
		run.ExportID = export.ID
		log.Info().Str("export", export.ID).Msg("scheduled export started")
	case refusal == nil || refusal.Status >= http.StatusInternalServerError:
		return err
	default:
		run.Outcome, run.Reason = schedule.Refused, refusal.Error()
		if refusal.Status == http.StatusConflict {
			run.Outcome = schedule.Skipped
		}
		log.Warn().Err(err).Str("outcome", string(run.Outcome)).Msg("scheduled export not started")
	}
	return w.schedules.Note(ctx, s.Name, run)
}
