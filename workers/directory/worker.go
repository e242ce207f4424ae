// Package directory is the worker that keeps the directory of users: it reads chat events
// and notes which user has talked to which bot. Functions and other workers read the
// directory by xinghe/shared/directory.
//
// It is best effort, as the events are. What stands in the directory has happened, but not
// all that happened stands in it. Left out are users whose ids are empty or longer than 256
// bytes, users that were made up for one call, and failed chats that upstream gave no
// answer to: such a user or bot may not exist.
//
// A worker that starts first reads the events that are kept, so that a directory that is
// deleted together with the consumer comes back.
package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/directory"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// remembered is how many pairs are remembered in memory at least, so that their next event
// within the hour costs nothing; up to twice as many are, which takes up to about 25 MB.
const remembered = 50_000

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings the events and keeps the directory. Required.
	Queue *queue.Queue
	// Drain is how long what is under way may take at shutdown. Default 5 s.
	Drain time.Duration
	// Now is the clock; time.Now by default. It only bounds the times of events, whose
	// publishers' clocks may be ahead.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Drain == 0 {
		c.Drain = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Worker takes chat events.
type Worker struct {
	cfg       Config
	directory *directory.Directory
	recent    recent
}

// New makes a worker. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if cfg.Queue == nil {
		return nil, errors.New("directory worker: Queue is required")
	}
	dir, err := directory.Open(cfg.Queue)
	if err != nil {
		return nil, fmt.Errorf("directory worker: %w", err)
	}
	return &Worker{cfg: cfg, directory: dir, recent: recent{limit: remembered}}, nil
}

// Run takes events until ctx is done, and drains.
func (w *Worker) Run(ctx context.Context) error {
	err := w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
		Name: "directory", Subjects: []string{jobs.SubjectChatEvents},
		// Most events are of pairs that are known and take microseconds. What fails is the
		// bucket, not the event: it is tried until the event is no longer kept.
		Workers: 8, Prefetch: 256, MaxAttempts: -1, Ack: queue.AckUnconfirmed, Drain: w.cfg.Drain,
	}, w.note)
	if err != nil {
		return fmt.Errorf("directory worker: %w", err)
	}
	return nil
}

// Close does nothing; the queue is the caller's.
func (w *Worker) Close() error { return nil }

// event is what the worker reads of a chat event.
type event struct {
	Type string         `json:"type"`
	Time time.Time      `json:"time"`
	Data jobs.ChatEvent `json:"data"`
}

func (w *Worker) note(ctx context.Context, d *queue.Delivery) error {
	var e event
	if err := json.Unmarshal(d.Data, &e); err != nil {
		// Nothing is lost that the directory could use, and other consumers see it too.
		zerolog.Ctx(ctx).Warn().EmbedObject(d).Err(err).Msg("not a chat event")
		return nil
	}
	key, ok := jobs.DirectoryKey(e.Data.Bot, e.Data.UserID)
	if !ok || e.Data.Anonymous || e.Data.MessageID == "" && e.Type != "xinghe."+jobs.EventChatCompleted {
		return nil
	}
	at := w.at(e, d)
	if !w.recent.due(key, at) {
		return nil
	}
	entry, err := w.directory.Seen(ctx, e.Data.Bot, e.Data.UserID, at)
	if err != nil {
		return err
	}
	w.recent.set(key, entry)
	return nil
}

// at is when the chat took place, as far as clocks can be trusted.
func (w *Worker) at(e event, d *queue.Delivery) time.Time {
	at := e.Time
	if at.IsZero() {
		at = d.Published
	}
	if now := w.cfg.Now(); at.After(now) {
		at = now
	}
	return at
}
