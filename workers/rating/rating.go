// Package rating is the worker that brings ratings to upstream. A task is a chunk of the
// rows of a job; what has become of each row is noted beside it.
//
// # What holds
//
// The rating that a message has in the end is the last one that was accepted, whatever
// happens to workers in between. Accepted is what has a job; jobs are ordered by the
// revision under which their record was stored, and of the rows of one job that rate the
// same message only the last is sent. For each message there is one record, its last word,
// of the latest rating that any worker has turned to:
//
//   - A worker claims the message before it calls upstream: it writes its order and its name
//     to the last word, on the condition that this has not changed since it was read.
//   - A rating whose order is smaller than that of the last word is superseded and never sent.
//   - A call is over (answered, or broken off by this worker) Config.CallTimeout after the
//     moment before its claim. Whoever meets a claim without an outcome, that is not its own
//     of before, waits for one and a half times as long since it first saw it, or until it has
//     one. So no two calls for a message are under way at a time, even if a worker was killed
//     in between, lost its connection, or had its task taken from it.
//   - A call that was broken off may still take effect. Its worker repeats it, and the last
//     word says so: the next job waits for another half of CallTimeout.
//   - When upstream has answered, the outcome is written to the last word, and only then to
//     the job's result. Whoever gets the task again finds either the outcome, and does not
//     call, or a claim of the same order, and calls again with the same rating.
//
// Hence calls for a message reach upstream in the order of their jobs, and the last of them
// is the last accepted. Clocks are compared with themselves only. What no client can rule
// out, as upstream has no conditional write: that upstream acts on a request later than half
// of CallTimeout after the connection was broken off, or that a worker is frozen for so long
// between its claim and its call.
package rating

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"xinghe/shared/budget"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/xingchen"
)

// Rater rates an answer; *xingchen.Client does.
type Rater interface {
	Rate(ctx context.Context, req xingchen.RatingRequest, opts ...xingchen.CallOption) error
}

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings the tasks and keeps their results. Required.
	Queue *queue.Queue
	// Rater takes the ratings. Required.
	Rater Rater
	// Budget bounds the requests; chat goes before them. nil for no bound.
	Budget *budget.Budget
	// Chunks is how many chunks are under way at once in this process, Calls how many calls
	// each of them makes at once. Default 4 each.
	Chunks, Calls int
	// CallTimeout is how long upstream may take to answer. Default 5 s. All processes should
	// agree on it. A message whose worker was killed in the midst of a call waits for one and
	// a half times as long.
	CallTimeout time.Duration
	// Attempts is how often a chunk is taken up, each time after a longer pause, before those
	// of its rows that still have no answer count as failed. Default 30, which takes an hour
	// and more.
	Attempts int
	// AckWait is how long after the death of a worker its chunks are taken up by another.
	// Default: the queue's.
	AckWait time.Duration
	// Drain is how long a chunk may go on at shutdown; the rest of its rows is left to the next
	// worker. Default 5 s. Calls that are under way end in any case.
	Drain time.Duration
	// Now is the clock that events are stamped with; time.Now by default.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	for field, value := range map[*int]int{&c.Chunks: 4, &c.Calls: 4, &c.Attempts: 30} {
		if *field == 0 {
			*field = value
		}
	}
	for field, value := range map[*time.Duration]time.Duration{&c.CallTimeout: 5 * time.Second, &c.Drain: 5 * time.Second} {
		if *field == 0 {
			*field = value
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Worker takes tasks.
type Worker struct {
	cfg     Config
	holder  string // names this worker in claims
	jobs    *queue.Store[jobs.RatingJob]
	rows    *queue.Store[jobs.RatingChunk]
	results *queue.Store[jobs.RatingResult]
	last    *queue.Store[jobs.RatingLast]
}

// New makes a worker. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if cfg.Queue == nil || cfg.Rater == nil {
		return nil, errors.New("rating worker: Queue and Rater are required")
	}
	w := &Worker{cfg: cfg, holder: rand.Text()}
	var errs [4]error
	bucket := queue.StoreConfig{TTL: jobs.RatingRetention}
	w.jobs, errs[0] = queue.OpenStore[jobs.RatingJob](cfg.Queue, jobs.BucketRatings, bucket)
	w.rows, errs[1] = queue.OpenStore[jobs.RatingChunk](cfg.Queue, jobs.BucketRatings, bucket)
	w.results, errs[2] = queue.OpenStore[jobs.RatingResult](cfg.Queue, jobs.BucketRatings, bucket)
	w.last, errs[3] = queue.OpenStore[jobs.RatingLast](cfg.Queue, jobs.BucketRatings, bucket)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("rating worker: %w", err)
	}
	return w, nil
}

// Run takes tasks until ctx is done, and drains.
func (w *Worker) Run(ctx context.Context) error {
	err := w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
		Name: "rating", Subjects: []string{jobs.SubjectRating + ">"},
		// The handler itself gives up, so that each row has its outcome.
		Workers: w.cfg.Chunks, MaxAttempts: -1, AckWait: w.cfg.AckWait, Drain: w.cfg.Drain,
	}, w.task)
	if err != nil {
		return fmt.Errorf("rating worker: %w", err)
	}
	return nil
}

// Close does nothing; the queue is the caller's.
func (w *Worker) Close() error { return nil }
