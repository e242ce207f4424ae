// The workers: they take the jobs that functions have accepted. XINGHE_WORKERS names those
// that run in this process, comma-separated; all by default.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"xinghe/shared/budget"
	"xinghe/shared/env"
	"xinghe/shared/logs"
	"xinghe/shared/queue"
	"xinghe/shared/xingchen"
	"xinghe/workers/directory"
	"xinghe/workers/export"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// worker is one of the kinds of workers.
type worker interface {
	Run(ctx context.Context) error
	Close() error
}

// build makes a worker from the variables that it needs.
type build func(vars *env.Vars, q *queue.Queue, log zerolog.Logger) (worker, error)

var kinds = map[string]build{
	"export":    newExport,
	"directory": newDirectory,
}

func run(ctx context.Context, getenv func(string) string, stdout io.Writer) error {
	vars := env.New(getenv)
	log, err := logs.New(stdout, vars.String("LOG_LEVEL", ""))
	vars.Fault("LOG_LEVEL", err)
	q, err := queue.Open(queue.FromEnv(vars, "xinghe-workers", log), queue.Config{
		EventRetention: vars.Duration("XINGHE_EVENT_RETENTION", 0),
	})
	if err != nil {
		return err
	}
	defer q.Close()
	workers, err := assemble(vars, q, log)
	defer func() {
		for _, w := range workers {
			_ = w.Close()
		}
	}()
	if faults := vars.Err(); faults != nil {
		return fmt.Errorf("the configuration does not do:\n%w", faults)
	}
	if err != nil {
		return err
	}
	ctx = log.WithContext(ctx)
	if err := topology(ctx, q); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range workers {
		group.Go(func() error { return w.Run(ctx) })
	}
	log.Info().Int("workers", len(workers)).Msg("workers started")
	return group.Wait()
}

// topology makes the streams, however long NATS takes to come up.
func topology(ctx context.Context, q *queue.Queue) error {
	for {
		err := q.Ensure(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		zerolog.Ctx(ctx).Warn().Err(err).Msg("nats does not answer yet")
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func assemble(vars *env.Vars, q *queue.Queue, log zerolog.Logger) ([]worker, error) {
	names := vars.List("XINGHE_WORKERS")
	if len(names) == 0 {
		for name := range kinds {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	var workers []worker
	var faults []error
	for _, name := range names {
		build, ok := kinds[name]
		if !ok {
			vars.Fault("XINGHE_WORKERS", fmt.Errorf("%q is no kind of worker", name))
			continue
		}
		w, err := build(vars, q, log)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		workers = append(workers, w)
	}
	return workers, errors.Join(faults...)
}

func newExport(vars *env.Vars, q *queue.Queue, log zerolog.Logger) (worker, error) {
	client := xingchen.FromEnv(vars)
	if client == nil {
		vars.Fault("XINGCHEN_API_KEY", errors.New("missing: exports read from Xingchen"))
		return nil, nil
	}
	kind, root, _ := strings.Cut(vars.String("XINGHE_SINK", "folder:exports"), ":")
	if kind != "folder" || root == "" {
		vars.Fault("XINGHE_SINK", errors.New("want folder:<path>"))
		return nil, nil
	}
	share := budget.FromEnv(vars, "XINGCHEN_RPS", "xingchen", vars.Secret("XINGCHEN_API_KEY"), q, log)
	w, err := export.New(export.Config{Queue: q, Histories: client, Budget: share, Root: root})
	return budgeted{worker: w, share: share}, err
}

// budgeted keeps a worker's share of a budget while it runs.
type budgeted struct {
	worker
	share *budget.Budget
}

func (b budgeted) Run(ctx context.Context) error {
	leased, release := context.WithCancel(context.WithoutCancel(ctx))
	var lease sync.WaitGroup
	lease.Go(func() { b.share.Run(leased) })
	defer lease.Wait()
	defer release() // after the worker has drained
	return b.worker.Run(ctx)
}

func newDirectory(_ *env.Vars, q *queue.Queue, _ zerolog.Logger) (worker, error) {
	return directory.New(directory.Config{Queue: q})
}
