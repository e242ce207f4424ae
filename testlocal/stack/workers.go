package stack

import (
	"context"
	"errors"
	"fmt"

	"xinghe/shared/budget"
	"xinghe/shared/env"
	"xinghe/shared/intake"
	"xinghe/shared/sink/chain"
	counts "xinghe/shared/usage"
	"xinghe/shared/xingchen"
	"xinghe/workers/delivery"
	"xinghe/workers/directory"
	"xinghe/workers/export"
	"xinghe/workers/image"
	"xinghe/workers/rating"
	"xinghe/workers/schedule"
	"xinghe/workers/usage"
)

// worker is one of the kinds of workers.
type worker interface {
	Run(ctx context.Context) error
	Close() error
}

// startWorkers starts a worker of each kind.
func (s *Stack) startWorkers(ctx context.Context, cfg Config) error {
	vars := env.New(s.upstream(cfg))
	client := xingchen.FromEnv(vars)
	share := budget.FromEnv(vars, "XINGCHEN_RPS", "xingchen", vars.Secret("XINGCHEN_API_KEY"), s.queue, s.log)
	pictures := image.FromEnv(vars)
	deliveries := delivery.FromEnv(vars)
	if err := vars.Err(); err != nil {
		return err
	}
	var err error
	if s.sink, err = chain.Parse(ctx, vars.String("XINGHE_SINK", "folder:"+s.Exports)); err != nil {
		return fmt.Errorf("XINGHE_SINK: %w", err)
	}
	exports, err := intake.NewExports(intake.ExportsConfig{Queue: s.queue, Sink: s.sink.Kind()})
	if err != nil {
		return err
	}
	deliveries.Queue = s.queue
	pictures.Queue, pictures.Pictures, pictures.Sink, pictures.Budget = s.queue, client, s.sink, share
	var workers []worker
	end := func() error {
		var err error
		for _, w := range workers {
			err = errors.Join(err, w.Close())
		}
		return err
	}
	for _, build := range []func() (worker, error){
		func() (worker, error) {
			return export.New(export.Config{Queue: s.queue, Histories: client, Characters: client, Budget: share, Sink: s.sink})
		},
		func() (worker, error) { return directory.New(directory.Config{Queue: s.queue}) },
		func() (worker, error) { return image.New(pictures) },
		func() (worker, error) { return rating.New(rating.Config{Queue: s.queue, Rater: client, Budget: share}) },
		func() (worker, error) { return delivery.New(deliveries) },
		func() (worker, error) {
			return schedule.New(schedule.Config{Queue: s.queue, Exports: exports})
		},
		func() (worker, error) {
			counts, err := counts.Open(s.queue)
			if err != nil {
				return nil, err
			}
			s.telemetry.WatchUsage(counts)
			return usage.New(usage.Config{Queue: s.queue})
		},
	} {
		w, err := build()
		if err != nil {
			return errors.Join(err, end())
		}
		workers = append(workers, w)
	}
	stopShare := s.run(ctx, func(ctx context.Context) error {
		share.Run(ctx)
		return nil
	})
	stops := make([]func(), 0, len(workers))
	for _, w := range workers {
		stops = append(stops, s.run(ctx, w.Run))
	}
	s.stopWorkers = func() error {
		for _, stop := range stops {
			stop()
		}
		stopShare()
		return end()
	}
	return nil
}
