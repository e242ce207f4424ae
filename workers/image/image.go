// Package image is the worker that gets the pictures which answers of characters come with.
// It asks upstream until a picture is ready, fetches it before its address expires, and
// stores it under a name that does not change.
//
// Between two questions a job lies in the queue: nothing here waits. Every step may be
// repeated, so a worker that dies loses nothing but its own time.
package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/budget"
	"xinghe/shared/egress"
	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/xingchen"
)

// Pictures tells what has become of a picture; *xingchen.Client does.
type Pictures interface {
	PollImage(ctx context.Context, messageID, userID string, opts ...xingchen.CallOption) (xingchen.Image, error)
}

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Pictures is where the pictures are announced. Required.
	Pictures Pictures
	// Sink is where the files go. Required.
	Sink sink.Sink
	// Budget bounds the questions; chat goes before them. nil for no bound.
	Budget *budget.Budget
	// Egress is the way to the files. Its MaxBytes bounds a file; default 20 MiB.
	Egress egress.Config
	// FirstPoll is how long after the request upstream is asked for the first time. The time
	// between two questions is half of the job's age, but at least FirstPoll and at most
	// LongestPoll. Default 2 s and 15 s.
	FirstPoll, LongestPoll time.Duration
	// Deadline is how long a picture may take. A question that is asked after it is the last
	// one, and its answer counts. Default 10 min.
	Deadline time.Duration
	// Attempts is how often fetching and storing are tried before the picture has failed.
	// Default 8.
	Attempts int
	// Backoff is the time between those, by the number of the attempt that failed. Default:
	// 1 s, doubling up to 30 s.
	Backoff func(attempt int) time.Duration
	// FromChat names the characters whose every answer is asked about by itself, "*" for all.
	// Default: none, since no document says how an answer announces a picture.
	FromChat []string
	// Workers is how many jobs are worked on at once in this process. Default 8.
	Workers int
	// Drain is how long what is under way may take at shutdown. Default 20 s.
	Drain time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// FromEnv reads XINGHE_IMAGE_FIRST_POLL, XINGHE_IMAGE_LONGEST_POLL, XINGHE_IMAGE_DEADLINE,
// XINGHE_IMAGE_MAX_BYTES, XINGHE_IMAGE_FROM_CHAT and XINGHE_ALLOW_HOSTS. Queue, Pictures,
// Sink and Budget are for the caller to add.
func FromEnv(vars *env.Vars) Config {
	cfg := Config{
		Egress:      egress.FromEnv(vars),
		FirstPoll:   vars.Duration("XINGHE_IMAGE_FIRST_POLL", 0),
		LongestPoll: vars.Duration("XINGHE_IMAGE_LONGEST_POLL", 0),
		Deadline:    vars.Duration("XINGHE_IMAGE_DEADLINE", 0),
		FromChat:    vars.List("XINGHE_IMAGE_FROM_CHAT"),
	}
	cfg.Egress.MaxBytes = int64(vars.Int("XINGHE_IMAGE_MAX_BYTES", 0, 1))
	return cfg
}

func (c Config) withDefaults() Config {
	for field, def := range map[*time.Duration]time.Duration{
		&c.FirstPoll: 2 * time.Second, &c.LongestPoll: 15 * time.Second, &c.Deadline: 10 * time.Minute,
	} {
		if *field <= 0 {
			*field = def
		}
	}
	c.LongestPoll = max(c.LongestPoll, c.FirstPoll)
	if c.Attempts <= 0 {
		c.Attempts = 8
	}
	if c.Backoff == nil {
		c.Backoff = queue.ExponentialBackoff(time.Second, 30*time.Second)
	}
	if c.Workers <= 0 {
		c.Workers = 8
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Worker takes jobs for pictures.
type Worker struct {
	cfg    Config
	egress *egress.Client
	images *queue.Store[jobs.Image]
}

// New makes a worker, which is to be closed in the end. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if cfg.Queue == nil || cfg.Pictures == nil || cfg.Sink == nil {
		return nil, errors.New("image worker: Queue, Pictures and Sink are required")
	}
	images, err := queue.OpenStore[jobs.Image](cfg.Queue, jobs.BucketImages, queue.StoreConfig{TTL: jobs.ImageRetention})
	if err != nil {
		return nil, fmt.Errorf("image worker: %w", err)
	}
	outside, err := egress.New(cfg.Egress)
	if err != nil {
		return nil, fmt.Errorf("image worker: %w", err)
	}
	return &Worker{cfg: cfg, egress: outside, images: images}, nil
}

// Run takes jobs until ctx is done, and drains.
func (w *Worker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
			Name: "image", Subjects: []string{jobs.SubjectImage + "*"},
			// The handler itself gives up, so that the state tells of it.
			Workers: w.cfg.Workers, MaxAttempts: -1, Backoff: w.cfg.Backoff, Drain: w.cfg.Drain,
		}, w.work)
	})
	if len(w.cfg.FromChat) > 0 {
		group.Go(func() error {
			return w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
				Name: "image-chat", Subjects: []string{jobs.EventPrefix + jobs.EventChatCompleted}, OnlyNew: true,
				Workers: 4, Prefetch: 64, Ack: queue.AckUnconfirmed, Drain: w.cfg.Drain,
			}, w.answered)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("image worker: %w", err)
	}
	return nil
}

// Close ends the worker's connections, after Run has returned.
func (w *Worker) Close() error {
	w.egress.Close()
	return nil
}
