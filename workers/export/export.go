// Package export is the worker that exports chat histories. A run plans an export and
// follows it to its end; windows, each the history of one user with one character, are
// read page by page and written as parts that appear whole or not at all; the manifest
// proves the result.
//
// Every step may be repeated: a worker that dies loses nothing but its own time.
package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/budget"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/xingchen"
)

// Histories reads pages of chat histories; *xingchen.Client does.
type Histories interface {
	Histories(ctx context.Context, query xingchen.HistoryQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error)
}

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Histories is where the messages come from. Required.
	Histories Histories
	// Budget bounds the requests; chat goes before them. nil for no bound.
	Budget *budget.Budget
	// Root is the folder below which files are written; it is made if it does not exist.
	// Required.
	Root string
	// Windows is how many windows are read at once in this process. Default 4.
	Windows int
	// Attempts is how often a window is tried before the export goes on without it.
	// Default 8.
	Attempts int
	// PartBytes is the size from which a part is closed and the next begun. Default 64 MiB.
	PartBytes int64
	// Drain is how long a window may take to end at shutdown. Default 20 s.
	Drain time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Windows == 0 {
		c.Windows = 4
	}
	if c.Attempts == 0 {
		c.Attempts = 8
	}
	if c.PartBytes == 0 {
		c.PartBytes = 64 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// resultTTL is how long the results of windows are kept; the manifest holds them for good.
const resultTTL = 30 * 24 * time.Hour

// Worker takes export jobs.
type Worker struct {
	cfg     Config
	root    *os.Root
	exports *queue.Store[jobs.Export]
	results *queue.Store[jobs.WindowResult]
}

// New opens the root folder. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if cfg.Queue == nil || cfg.Histories == nil || cfg.Root == "" {
		return nil, errors.New("export worker: Queue, Histories and Root are required")
	}
	if err := os.MkdirAll(cfg.Root, 0o750); err != nil {
		return nil, fmt.Errorf("export worker: %w", err)
	}
	root, err := os.OpenRoot(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("export worker: %w", err)
	}
	w := &Worker{cfg: cfg, root: root}
	w.exports, err = queue.OpenStore[jobs.Export](cfg.Queue, jobs.BucketExports, queue.StoreConfig{})
	if err == nil {
		w.results, err = queue.OpenStore[jobs.WindowResult](cfg.Queue, jobs.BucketWindows, queue.StoreConfig{TTL: resultTTL})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("export worker: %w", err), root.Close())
	}
	return w, nil
}

// Run takes jobs until ctx is done, and drains.
func (w *Worker) Run(ctx context.Context) error {
	// Both consumers end together: each sees the other's failure through the context.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
			Name: "export-run", Subjects: []string{jobs.SubjectExport + "*"},
			// A run mostly waits for its windows.
			Workers: 64, MaxAttempts: -1, Drain: -1,
		}, w.run)
	})
	group.Go(func() error {
		return w.cfg.Queue.Consume(ctx, queue.ConsumerConfig{
			Name: "export-window", Subjects: []string{jobs.SubjectWindow + ">"},
			// The handler itself gives up, so that the run hears of it.
			Workers: w.cfg.Windows, MaxAttempts: -1, Drain: w.cfg.Drain,
		}, w.window)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("export worker: %w", err)
	}
	return nil
}

// Close frees the root folder, after Run has returned.
func (w *Worker) Close() error { return w.root.Close() }
