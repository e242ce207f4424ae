// Package usage is the worker that counts chat events: requests, failures, tokens and
// throttled time of each key and bot, per day of UTC. Others read the counts by
// xinghe/shared/usage.
//
// It reads the stream of events in order and notes in NATS how far it has come, so that each
// event is counted once, however often a worker is killed. Of several workers one counts and
// the others wait for it to go away. Events that are no longer kept when a worker comes to
// them are not counted.
package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/usage"
)

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings the events and keeps the counts. Required.
	Queue *queue.Queue
	// Batch is how many events are counted together at most. Default 1000.
	Batch int
	// Pace is how often a batch is counted that is not full: counts are behind by so much.
	// Default 1 s.
	Pace time.Duration
	// Wait is how long to wait for events before that is told to other workers. Default 5 s.
	Wait time.Duration
	// Lease is for how long nothing may be heard of a worker before another one takes over.
	// Default 30 s; make it longer than Wait and Pace.
	Lease time.Duration
	// Now is the clock; time.Now by default. Leases go by it, and events that come from the
	// future by when they were stored.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Batch == 0 {
		c.Batch = 1000
	}
	if c.Pace == 0 {
		c.Pace = time.Second
	}
	if c.Wait == 0 {
		c.Wait = 5 * time.Second
	}
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Worker counts chat events.
type Worker struct {
	cfg   Config
	name  string // of this worker among others
	usage *usage.Usage
}

// New makes a worker. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if cfg.Queue == nil || cfg.Batch < 0 || cfg.Pace < 0 || cfg.Wait < 0 || cfg.Lease < 0 {
		return nil, errors.New("usage worker: Queue is required, and no setting may be negative")
	}
	counts, err := usage.Open(cfg.Queue)
	if err != nil {
		return nil, fmt.Errorf("usage worker: %w", err)
	}
	return &Worker{cfg: cfg, name: ulid.Make().String(), usage: counts}, nil
}

// Close does nothing; the queue is the caller's.
func (w *Worker) Close() error { return nil }

// Run counts until ctx is done. What is under way then is broken off, and left to the next
// worker.
func (w *Worker) Run(ctx context.Context) error {
	backoff := queue.ExponentialBackoff(100*time.Millisecond, 10*time.Second)
	for failures := 0; ctx.Err() == nil; {
		idle, err := w.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			failures++
			idle = backoff(failures)
			zerolog.Ctx(ctx).Warn().Err(err).Int("attempt", failures).Msg("cannot count usage, will retry")
		default:
			failures = 0
		}
		_ = queue.Pause(ctx, idle)
	}
	w.leave(ctx)
	return nil
}

// step counts a batch, and says when to go on.
func (w *Worker) step(ctx context.Context) (idle time.Duration, err error) {
	reader, revision, err := w.usage.Reader(ctx)
	if err != nil {
		return 0, err
	}
	now := w.cfg.Now()
	if reader.Owner != w.name && now.Before(reader.Until) {
		return min(reader.Until.Sub(now), w.cfg.Lease), nil // whose clock may be ahead
	}
	history, err := w.read(ctx, &reader.Position)
	if err != nil {
		return 0, err
	}
	events := make([]usage.Event, 0, len(history))
	for _, stored := range history {
		reader.Position.Sequence = stored.Sequence
		if event, ok := w.event(ctx, stored, reader.Position); ok {
			events = append(events, event)
		}
	}
	if err := w.usage.Count(ctx, events); err != nil {
		return 0, err
	}
	reader.Owner, reader.Until = w.name, w.cfg.Now().Add(w.cfg.Lease).UTC()
	err = w.usage.Move(ctx, reader, revision)
	if errors.Is(err, queue.ErrConflict) {
		return 0, nil // another worker has counted the same: who goes on is settled anew
	}
	if err != nil || len(history) == 0 || len(history) == w.cfg.Batch {
		return 0, err
	}
	return w.cfg.Pace, nil
}

// read reads what comes after a position, which becomes the beginning if the stream is
// another one than it was.
func (w *Worker) read(ctx context.Context, after *usage.Position) ([]queue.StoredEvent, error) {
	for {
		history, err := w.cfg.Queue.ReadEvents(ctx, jobs.SubjectChatEvents, after.Sequence, w.cfg.Batch, w.cfg.Wait)
		if err != nil || history.Created.Equal(after.Stream) {
			return history.Events, err
		}
		known := *after
		*after = usage.Position{Stream: history.Created}
		if known.Sequence == 0 {
			return history.Events, nil
		}
		zerolog.Ctx(ctx).Warn().Time("made", history.Created).Msg("the stream of events is a new one, counting begins anew")
	}
}

// event decodes a chat event; ok is false for what is none.
func (w *Worker) event(ctx context.Context, stored queue.StoredEvent, at usage.Position) (event usage.Event, ok bool) {
	kind := strings.TrimPrefix(stored.Subject, jobs.EventPrefix)
	if kind != jobs.EventChatCompleted && kind != jobs.EventChatFailed {
		return event, false
	}
	var e struct {
		Time time.Time      `json:"time"`
		Data jobs.ChatEvent `json:"data"`
	}
	if err := json.Unmarshal(stored.Data, &e); err != nil {
		zerolog.Ctx(ctx).Warn().Str("subject", stored.Subject).Uint64("sequence", stored.Sequence).Err(err).Msg("not a chat event")
		return event, false
	}
	if e.Time.IsZero() || e.Time.After(stored.Published) {
		e.Time = stored.Published
	}
	return usage.Event{At: e.Time, Key: e.Data.Key, Bot: e.Data.Bot, Counts: usage.CountsOf(kind, e.Data), Position: at}, true
}

// leave lets another worker take over at once.
func (w *Worker) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	reader, revision, err := w.usage.Reader(ctx)
	if err != nil || reader.Owner != w.name {
		return
	}
	reader.Owner, reader.Until = "", time.Time{}
	_ = w.usage.Move(ctx, reader, revision) // else the lease ends by itself
}
