// The workers: they take the jobs that functions have accepted. XINGHE_WORKERS names those
// that run in this process, comma-separated; all by default.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"xinghe/shared/budget"
	"xinghe/shared/env"
	"xinghe/shared/logs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/sink/chain"
	"xinghe/shared/telemetry"
	"xinghe/shared/xingchen"
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
		vars: vars, queue: q, tele: tele, xingchen: xingchen.FromEnv(vars), budget: share,
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
		_ = queue.Pause(ctx, time.Second) // the next try tells of ctx
	}
}
