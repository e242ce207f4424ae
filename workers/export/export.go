// Package export is the worker that exports chat histories. A run plans an export and
// follows it to its end; windows, each the history of one user with one character, are
// read page by page and written as parts that appear whole or not at all; the manifest
// proves the result.
//
// Every step may be repeated: a worker that dies loses nothing but its own time, and
// whoever goes on in its place writes the same bytes.
//
// # What is proven
//
// Upstream pages by offset, over rows that may change meanwhile. So a window is read in
// chunks, each from a point in time on, and a chunk counts only if its pages agree on how
// many rows there are, bring as many different ones, and upstream counts as many in the
// chunk's own time once they are read. In the end the count of the window as a whole must
// be that of the rows written; if it is not, the parts are found from which on it is off,
// and read again.
package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/budget"
	"xinghe/shared/directory"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/xingchen"
)

// Histories reads pages of chat histories; *xingchen.Client does.
type Histories interface {
	Histories(ctx context.Context, query xingchen.HistoryQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error)
}

// Characters lists the characters of the upstream key; *xingchen.Client does.
type Characters interface {
	SearchCharacters(ctx context.Context, query xingchen.CharacterQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.Character], error)
}

// deaths is how many workers a window may take down with it.
const deaths = 100

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Histories is where the messages come from. Required.
	Histories Histories
	// Characters is asked for specs of "my" characters, which fail without it.
	Characters Characters
	// Budget bounds the requests; chat goes before them. nil for no bound.
	Budget *budget.Budget
	// Sink is where the files go. Required.
	Sink sink.Sink
	// Windows is how many windows are read at once in this process. Default 4. Each may take
	// 12 MB of memory, 25 MB for Parquet and dialogues.
	Windows int
	// Tries is how often a request is made before its window is put off. Default 8.
	Tries int
	// Attempts is how often a window is put off, without a part having been written between,
	// before the export goes on without it. Default 8.
	Attempts int
	// Patience is how long credentials that are refused, or a sink that fails, are tried
	// again before the export ends. Default 1 minute.
	Patience time.Duration
	// Backoff is the delay before a request or a job is done again, or the sink is tried again.
	// Default [queue.ExponentialBackoff] of 500 ms to 30 s.
	Backoff func(attempt int) time.Duration
	// PartBytes is the size, before compression, from which a part is closed and the next
	// begun. Parts are the same, to the byte, for one and the same value. Default 8 MiB.
	PartBytes int64
	// Drain is how long a window may take to end at shutdown. Default: it is left at once,
	// and goes on from its last part elsewhere.
	Drain time.Duration
	// Look is how often exports are looked for that were accepted but lost their job.
	// Default 30 s.
	Look time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	if c.Queue == nil || c.Histories == nil || c.Sink == nil {
		return c, errors.New("export worker: Queue, Histories and Sink are required")
	}
	for name, field := range map[string]struct {
		value *int
		def   int
	}{"Windows": {&c.Windows, 4}, "Tries": {&c.Tries, 8}, "Attempts": {&c.Attempts, 8}} {
		if *field.value == 0 {
			*field.value = field.def
		}
		if *field.value < 0 {
			return c, fmt.Errorf("export worker: %s is negative", name)
		}
	}
	if c.PartBytes <= 0 {
		c.PartBytes = 8 << 20
	}
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	if c.Backoff == nil {
		c.Backoff = queue.ExponentialBackoff(500*time.Millisecond, 30*time.Second)
	}
	if c.Drain == 0 {
		c.Drain = -1
	}
	if c.Look == 0 {
		c.Look = 30 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// resultTTL is how long what windows have come to is kept, from their last change on; the
// manifest holds it for good. An export that ended longer ago is resumed from its beginning.
const resultTTL = 30 * 24 * time.Hour

// Worker takes export jobs.
type Worker struct {
	cfg     Config
	users   *directory.Directory
	exports *queue.Store[jobs.Export]
	claims  *queue.Store[jobs.Live]
	marks   *queue.Store[jobs.Mark]
	plans   *queue.Store[jobs.PlanChunk]
	results *queue.Store[jobs.WindowResult]
}

// New makes a worker. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg}
	fading := queue.StoreConfig{TTL: resultTTL}
	var errs [6]error
	w.users, errs[0] = directory.Open(cfg.Queue)
	w.exports, errs[1] = queue.OpenStore[jobs.Export](cfg.Queue, jobs.BucketExports, queue.StoreConfig{})
	w.claims, errs[2] = queue.OpenStore[jobs.Live](cfg.Queue, jobs.BucketLive, queue.StoreConfig{})
	w.marks, errs[3] = queue.OpenStore[jobs.Mark](cfg.Queue, jobs.BucketMarks, queue.StoreConfig{})
	w.plans, errs[4] = queue.OpenStore[jobs.PlanChunk](cfg.Queue, jobs.BucketPlans, fading)
	w.results, errs[5] = queue.OpenStore[jobs.WindowResult](cfg.Queue, jobs.BucketWindows, fading)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("export worker: %w", err)
	}
	return w, nil
}

// Run takes jobs until ctx is done, and drains.
func (w *Worker) Run(ctx context.Context) error {
	// All end together: each sees the others' failure through the context.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
			Name: "export-run", Subjects: []string{jobs.SubjectExport + "*"},
			// A run mostly waits for its windows.
			Workers: 64, MaxAttempts: -1, Backoff: w.cfg.Backoff, Drain: -1,
		}, w.run)
	})
	group.Go(func() error {
		return w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
			Name: "export-window", Subjects: []string{jobs.SubjectWindow + ">"},
			// The handler itself gives up, so that the run hears of it.
			Workers: w.cfg.Windows, MaxAttempts: -1, Backoff: w.cfg.Backoff, Drain: w.cfg.Drain,
		}, w.window)
	})
	group.Go(func() error {
		w.look(ctx)
		return nil
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("export worker: %w", err)
	}
	return nil
}

// Close does nothing; queue and sink are the caller's.
func (w *Worker) Close() error { return nil }
