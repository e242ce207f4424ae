// Package exportapi is the surface of the history-export function: it checks what is to be
// exported, hands it to the workers durably, and tells what has become of it. Requests,
// timers and schedules carry the same JSON.
package exportapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Config of the surface.
type Config struct {
	// Queue takes the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Timeout bounds how long a caller waits for the job to be durable; 5 s by default.
	Timeout time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// API starts exports and reads their state.
type API struct {
	queue   *queue.Queue
	exports *queue.Store[jobs.Export]
	timeout time.Duration
	now     func() time.Time
}

// New returns the surface. It does not touch the network.
func New(cfg Config) (*API, error) {
	if cfg.Queue == nil {
		return nil, errors.New("exportapi: no queue")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	exports, err := queue.OpenStore[jobs.Export](cfg.Queue, jobs.BucketExports, queue.StoreConfig{})
	if err != nil {
		return nil, fmt.Errorf("exportapi: %w", err)
	}
	return &API{queue: cfg.Queue, exports: exports, timeout: cfg.Timeout, now: cfg.Now}, nil
}

// Routes is the function's surface.
func (a *API) Routes() []httpapi.Route {
	return []httpapi.Route{
		{Pattern: "POST /v1/exports", Scope: httpapi.ScopeExport, Handler: a.post},
		{Pattern: "GET /v1/exports/{id}", Scope: httpapi.ScopeExport, Handler: a.get},
	}
}

// Event starts the export that the event's payload describes, and returns its state.
func (a *API) Event(ctx context.Context, event faas.Event) (json.RawMessage, error) {
	export, err := a.start(ctx, event.Payload)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", event.Kind, event.Name, err)
	}
	return json.Marshal(export)
}

func (a *API) post(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	export, err := a.start(r.Context(), body)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/exports/"+export.ID)
	return httpapi.WriteJSON(w, http.StatusAccepted, export)
}

func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	ctx, cancel := context.WithTimeout(r.Context(), a.timeout)
	defer cancel()
	entry, err := a.exports.Get(ctx, id)
	switch {
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, queue.ErrInvalid):
		return httpapi.NotFound("export " + id)
	case err != nil:
		return httpapi.Unavailable("the state of exports cannot be read: NATS does not answer", err)
	}
	return httpapi.WriteJSON(w, http.StatusOK, entry.Value)
}

// start checks a spec, notes the export as queued and publishes its job. It returns when
// the job is durable; if that fails nothing is left behind.
func (a *API) start(ctx context.Context, body []byte) (jobs.Export, error) {
	var spec jobs.ExportSpec
	if err := httpapi.DecodeStrict(body, &spec); err != nil {
		return jobs.Export{}, err
	}
	spec = spec.WithDefaults()
	if err := check(spec); err != nil {
		return jobs.Export{}, err
	}
	export := jobs.Export{
		ID: httpapi.NewID("exp"), Name: spec.Name, State: jobs.StateQueued, Spec: spec,
		Progress: jobs.Progress{Windows: len(spec.Characters) * len(spec.Users)}, CreatedAt: a.now().UTC(),
	}
	data, err := json.Marshal(export)
	if err != nil {
		return jobs.Export{}, fmt.Errorf("encode export: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if _, err := a.exports.Create(ctx, export.ID, export); err != nil {
		return jobs.Export{}, unaccepted(err)
	}
	if err := a.queue.Publish(ctx, queue.Job{Subject: jobs.SubjectExport + export.ID, ID: export.ID, Data: data}); err != nil {
		// Without its record a job that did arrive is not carried out: refused means refused.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
		defer cancel()
		return jobs.Export{}, unaccepted(errors.Join(err, a.exports.Delete(undo, export.ID)))
	}
	return export, nil
}

func check(spec jobs.ExportSpec) error {
	var fields []httpapi.FieldError
	for _, fault := range spec.Check() {
		fields = append(fields, httpapi.FieldError(fault))
	}
	return httpapi.Invalid(fields...)
}

func unaccepted(err error) error {
	if errors.Is(err, queue.ErrTooLarge) {
		return httpapi.Invalid(httpapi.FieldError{Field: "users", Message: "the spec is too large for one job; export fewer users at a time"})
	}
	if missing, ok := errors.AsType[*queue.MissingStreamError](err); ok {
		return httpapi.Unavailable("the export was not accepted: "+missing.Error(), err)
	}
	return httpapi.Unavailable("the export was not accepted: NATS does not answer", err)
}
