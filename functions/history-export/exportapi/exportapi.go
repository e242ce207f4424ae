// Package exportapi is the surface of the history-export function: it checks what is to be
// exported, hands it to the workers durably, and tells what becomes of it: by state, as a
// stream of events, and as files. Requests, timers and schedules carry the same JSON.
//
//	api, err := exportapi.New(exportapi.Config{Queue: q, Sink: files})
//	handler, err := httpapi.New(cfg, api.Routes()...)
//
// It reads no history and writes no file: that is the workers' part.
package exportapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
)

// Config of the surface.
type Config struct {
	// Queue takes the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Sink is where the workers write files, from which they are read here. Required.
	Sink sink.Sink
	// Timeout bounds how long a caller waits for NATS; 5 s by default.
	Timeout time.Duration
	// Heartbeat is the longest silence of an event stream; 15 s by default.
	Heartbeat time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// API starts exports and tells of them.
type API struct {
	cfg     Config
	intake  *intake.Exports
	exports *queue.Store[jobs.Export]
}

// New returns the surface. It does not touch the network.
func New(cfg Config) (*API, error) {
	if cfg.Queue == nil || cfg.Sink == nil {
		return nil, errors.New("exportapi: Queue and Sink are required")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &API{cfg: cfg}
	var faults [2]error
	a.intake, faults[0] = intake.NewExports(intake.ExportsConfig{Queue: cfg.Queue, Sink: cfg.Sink.Kind(), Timeout: cfg.Timeout, Now: cfg.Now})
	a.exports, faults[1] = queue.OpenStore[jobs.Export](cfg.Queue, jobs.BucketExports, queue.StoreConfig{})
	if err := errors.Join(faults[:]...); err != nil {
		return nil, fmt.Errorf("exportapi: %w", err)
	}
	return a, nil
}

// Routes is the function's surface.
func (a *API) Routes() []httpapi.Route {
	return []httpapi.Route{
		{Pattern: "POST /v1/exports", Scope: httpapi.ScopeExport, Idempotent: true, Handler: a.post},
		{Pattern: "GET /v1/exports", Scope: httpapi.ScopeExport, Handler: a.list},
		{Pattern: "GET /v1/exports/{id}", Scope: httpapi.ScopeExport, Handler: a.get},
		{Pattern: "GET /v1/exports/{id}/events", Scope: httpapi.ScopeExport, Handler: a.events},
		{Pattern: "POST /v1/exports/{id}/cancel", Scope: httpapi.ScopeExport, Handler: a.cancel},
		{Pattern: "POST /v1/exports/{id}/resume", Scope: httpapi.ScopeExport, Handler: a.resume},
		{Pattern: "GET /v1/exports/{id}/files/{path...}", Scope: httpapi.ScopeExport, Handler: a.file},
	}
}

func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	entry, err := a.read(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, entry.Value)
}

// read finds an export's record, or refuses.
func (a *API) read(ctx context.Context, id string) (queue.Entry[jobs.Export], error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	entry, err := a.exports.Get(ctx, id)
	return entry, a.unread(id, err)
}

// unread says why an export's record was not to be had; nil stays nil.
func (a *API) unread(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, queue.ErrInvalid):
		return httpapi.NotFound("export " + id)
	case errors.Is(err, queue.ErrUnavailable):
		return httpapi.Unavailable("the state of exports cannot be read: NATS does not answer", err)
	}
	return err
}
