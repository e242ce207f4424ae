package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// ExportsConfig says where exports are taken to. Zero values mean the defaults.
type ExportsConfig struct {
	// Queue takes the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Sink is the kind of sink that the deployment writes to. Required.
	Sink string
	// Timeout bounds how long a caller waits for NATS; 5 s by default.
	Timeout time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Exports takes exports.
type Exports struct {
	cfg     ExportsConfig
	exports *queue.Store[jobs.Export]
	live    *queue.Store[jobs.Live]
	marks   *queue.Store[jobs.Mark]
}

// NewExports returns an intake of exports. It does not touch the network.
func NewExports(cfg ExportsConfig) (*Exports, error) {
	if cfg.Queue == nil || cfg.Sink == "" {
		return nil, errors.New("intake of exports: Queue and Sink are required")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	e := &Exports{cfg: cfg}
	var faults [3]error
	e.exports, faults[0] = queue.OpenStore[jobs.Export](cfg.Queue, jobs.BucketExports, queue.StoreConfig{})
	e.live, faults[1] = queue.OpenStore[jobs.Live](cfg.Queue, jobs.BucketLive, queue.StoreConfig{})
	e.marks, faults[2] = queue.OpenStore[jobs.Mark](cfg.Queue, jobs.BucketMarks, queue.StoreConfig{})
	if err := errors.Join(faults[:]...); err != nil {
		return nil, fmt.Errorf("intake of exports: %w", err)
	}
	return e, nil
}

// Start checks a spec, claims its name, notes the export as queued and publishes its job.
// It returns when all of that is durable; what fails on the way is undone. Errors are
// refusals for the caller: 400 for the spec, 409 while the name is being exported, 503.
func (e *Exports) Start(ctx context.Context, body []byte) (jobs.Export, error) {
	spec, err := e.Spec(body)
	if err != nil {
		return jobs.Export{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	if err := e.checkMark(ctx, spec); err != nil {
		return jobs.Export{}, err
	}
	export := e.queued(httpapi.NewID("exp"), spec)
	if err := e.Claim(ctx, export); err != nil {
		return jobs.Export{}, err
	}
	if _, err = e.exports.Create(ctx, export.ID, export); err == nil {
		err = e.Publish(ctx, export)
	}
	if err != nil {
		// Without its record a job that did arrive is not carried out: refused means refused.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timeout)
		defer cancel()
		return jobs.Export{}, Unaccepted(errors.Join(err, e.exports.Delete(undo, export.ID), e.Release(undo, export)))
	}
	return export, nil
}

// queued is an export before its first round.
func (e *Exports) queued(id string, spec jobs.ExportSpec) jobs.Export {
	return jobs.Export{
		ID: id, Name: spec.Name, State: jobs.StateQueued, Spec: spec, Round: 1,
		Progress: jobs.Progress{Windows: planned(spec)}, CreatedAt: e.cfg.Now().UTC(),
	}
}

// Spec reads and checks a spec. It needs no NATS.
func (e *Exports) Spec(body []byte) (jobs.ExportSpec, error) {
	var spec jobs.ExportSpec
	if err := httpapi.DecodeStrict(body, &spec); err != nil {
		return spec, err
	}
	spec = spec.WithDefaults()
	fields := httpapi.Fields(spec.Check())
	if slices.Contains(jobs.Sinks, spec.Sink.Type) && spec.Sink.Type != e.cfg.Sink {
		fields = append(fields, httpapi.FieldError{Field: "sink.type", Message: fmt.Sprintf("this deployment writes to %q", e.cfg.Sink)})
	}
	spec.Sink.Type = e.cfg.Sink
	return spec, httpapi.Invalid(fields...)
}

// checkMark sees to it that a run by a watermark has somewhere to begin.
func (e *Exports) checkMark(ctx context.Context, spec jobs.ExportSpec) error {
	if spec.Watermark == nil || !spec.From.IsZero() {
		return nil
	}
	_, err := e.marks.Get(ctx, spec.Watermark.Name)
	if errors.Is(err, queue.ErrNotFound) {
		return httpapi.Invalid(httpapi.FieldError{
			Field: "from", Message: fmt.Sprintf("missing: the watermark %q has no value yet, so its first run must be told where to begin", spec.Watermark.Name),
		})
	}
	if err != nil {
		return Unaccepted(err)
	}
	return nil
}

// planned is how many windows a spec has, or 0 if only the worker can know.
func planned(spec jobs.ExportSpec) int {
	if spec.Characters.Is(jobs.CharactersMine) || spec.Users.Is(jobs.UsersDirectory) {
		return 0
	}
	return len(spec.Characters) * len(spec.Users)
}

// Publish hands a round of an export to the workers.
func (e *Exports) Publish(ctx context.Context, export jobs.Export) error {
	data, err := json.Marshal(export)
	if err != nil {
		return fmt.Errorf("encode export: %w", err)
	}
	return e.cfg.Queue.Publish(ctx, queue.Job{
		Subject: jobs.SubjectExport + export.ID, ID: export.ID + "." + strconv.Itoa(export.Round), Data: data,
	})
}

// Unaccepted refuses an export that could not be made durable.
func Unaccepted(err error) error {
	if errors.Is(err, queue.ErrTooLarge) {
		return httpapi.Invalid(httpapi.FieldError{Field: "users", Message: "the spec is too large for one job; export fewer users at a time"})
	}
	return Unavailable("the export was not accepted", err)
}
