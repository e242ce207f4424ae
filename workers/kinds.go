package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"xinghe/shared/budget"
	"xinghe/shared/env"
	"xinghe/shared/intake"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/telemetry"
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

// base is what workers are made from. All of a process share one client, one budget and one
// sink.
type base struct {
	vars     *env.Vars
	queue    *queue.Queue
	xingchen *xingchen.Client // nil if it is not configured
	budget   *budget.Budget
	sink     func() sink.Sink // nil if it is not configured well, which has been noted
	tele     *telemetry.Telemetry
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

func assemble(b base) ([]worker, error) {
	names := b.vars.List("XINGHE_WORKERS")
	if len(names) == 0 {
		for name := range kinds {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
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
	counts, err := counts.Open(b.queue)
	if err != nil {
		return nil, err
	}
	b.tele.WatchUsage(counts)
	return usage.New(usage.Config{Queue: b.queue})
}

// wants notes what a worker lacks that brings files from Xingchen to the sink.
func (b base) wants(purpose string) bool {
	if b.xingchen == nil {
		b.vars.Fault("XINGCHEN_API_KEY", errors.New("missing: "+purpose))
	}
	return b.xingchen != nil && b.sink() != nil
}
