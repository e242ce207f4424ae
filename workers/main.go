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
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"xinghe/shared/budget"
	"xinghe/shared/env"
	"xinghe/shared/intake"
	"xinghe/shared/logs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/sink/chain"
	"xinghe/shared/telemetry"
	"xinghe/shared/xingchen"
	"xinghe/workers/delivery"
	"xinghe/workers/directory"
	"xinghe/workers/export"
	"xinghe/workers/image"
	"xinghe/workers/rating"
	"xinghe/workers/schedule"
	"xinghe/workers/usage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOGC") == "" {
		// Workers hold few and large buffers: half the usual surplus costs them next to no time.
		debug.SetGCPercent(50)
	}
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

// base is what workers are made from. All of a process share one client, one budget and one
// sink.
type base struct {
	vars     *env.Vars
	queue    *queue.Queue
	xingchen *xingchen.Client // nil if it is not configured
	budget   *budget.Budget
	sink     func() sink.Sink // nil if it is not configured well, which has been noted
}

// build makes a worker, or none after it has noted what it lacks.
type build func(base) (worker, error)

var kinds = map[string]build{
	"export":    newExport,
	"image":     newImage,
	"rating":    newRating,
	"directory": newDirectory,
	"delivery":  newDelivery,
	"schedule":  newSchedule,
	"usage":     newUsage,
}

func run(ctx context.Context, getenv func(string) string, stdout io.Writer) error {
	vars := env.New(getenv)
	log, err := logs.New(stdout, vars.String("LOG_LEVEL", ""))
	vars.Fault("LOG_LEVEL", err)
	tele, err := telemetry.New(ctx, telemetry.FromEnv(vars, "xinghe-workers"))
	if err != nil {
		return err
	}
	defer func() { _ = tele.Close() }()
	streams := queue.ConfigFromEnv(vars)
	streams.Observer = tele
	q, err := queue.Open(queue.FromEnv(vars, "xinghe-workers", log), streams)
	if err != nil {
		return err
	}
	defer q.Close()
	tele.Watch(q)
	share := budget.FromEnv(vars, "XINGCHEN_RPS", "xingchen", vars.Secret("XINGCHEN_API_KEY"), q, log)
	workers, err := assemble(base{
		vars: vars, queue: q, xingchen: xingchen.FromEnv(vars), budget: share,
		// Credentials of a bucket are looked up for as long as the process lives.
		sink: sync.OnceValue(func() sink.Sink { return chain.FromEnv(context.WithoutCancel(ctx), vars) }),
	})
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
	// The share is given back after the workers have drained.
	leased, release := context.WithCancel(context.WithoutCancel(ctx))
	var lease sync.WaitGroup
	lease.Go(func() { share.Run(leased) })
	defer lease.Wait()
	defer release()
	group, ctx := errgroup.WithContext(ctx)
	if addr := vars.String("XINGHE_METRICS_ADDR", ""); addr != "" {
		group.Go(func() error { return serveMetrics(ctx, addr, tele) })
	}
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

func assemble(b base) ([]worker, error) {
	names := b.vars.List("XINGHE_WORKERS")
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
			b.vars.Fault("XINGHE_WORKERS", fmt.Errorf("%q is no kind of worker", name))
			continue
		}
		w, err := build(b)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if w != nil { // what it lacks has been noted
			workers = append(workers, w)
		}
	}
	return workers, errors.Join(faults...)
}

func newExport(b base) (worker, error) {
	if !b.wants("exports read from it") {
		return nil, nil
	}
	return export.New(export.Config{
		Queue: b.queue, Histories: b.xingchen, Characters: b.xingchen, Budget: b.budget, Sink: b.sink(),
		Windows: b.vars.Int("XINGHE_EXPORT_WINDOWS", 0, 0), PartBytes: int64(b.vars.Int("XINGHE_EXPORT_PART_BYTES", 0, 0)),
	})
}

func newImage(b base) (worker, error) {
	cfg := image.FromEnv(b.vars)
	if !b.wants("pictures come from it") {
		return nil, nil
	}
	cfg.Queue, cfg.Pictures, cfg.Sink, cfg.Budget = b.queue, b.xingchen, b.sink(), b.budget
	return image.New(cfg)
}

func newRating(b base) (worker, error) {
	if b.xingchen == nil {
		b.vars.Fault("XINGCHEN_API_KEY", errors.New("missing: ratings go to it"))
		return nil, nil
	}
	return rating.New(rating.Config{Queue: b.queue, Rater: b.xingchen, Budget: b.budget})
}

func newDirectory(b base) (worker, error) {
	return directory.New(directory.Config{Queue: b.queue})
}

func newDelivery(b base) (worker, error) {
	cfg := delivery.FromEnv(b.vars)
	cfg.Queue = b.queue
	return delivery.New(cfg)
}

func newSchedule(b base) (worker, error) {
	files := b.sink()
	if files == nil {
		return nil, nil
	}
	exports, err := intake.NewExports(intake.ExportsConfig{Queue: b.queue, Sink: files.Kind()})
	if err != nil {
		return nil, err
	}
	return schedule.New(schedule.Config{Queue: b.queue, Exports: exports})
}

func newUsage(b base) (worker, error) {
	return usage.New(usage.Config{Queue: b.queue})
}

// wants notes what a worker lacks that brings files from Xingchen to the sink.
func (b base) wants(purpose string) bool {
	if b.xingchen == nil {
		b.vars.Fault("XINGCHEN_API_KEY", errors.New("missing: "+purpose))
	}
	return b.xingchen != nil && b.sink() != nil
}
