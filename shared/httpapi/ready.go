package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// readyWithin bounds how long a probe of readiness takes.
const readyWithin = 2 * time.Second

// healthz tells that the process serves.
func healthz() Route {
	return Route{Pattern: "GET /healthz", Handler: func(w http.ResponseWriter, _ *http.Request) error {
		return WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}}
}

// readyz tells whether the function can do its work: it has its keys, or it would not have
// started, and what it needs of our own answers. Upstream is left out: a function that is
// taken out of service because upstream is away could not even say so.
func (s *Server) readyz() Route {
	return Route{Pattern: "GET /readyz", Handler: func(w http.ResponseWriter, r *http.Request) error {
		if err := s.ready(r.Context()); err != nil {
			return err
		}
		return WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	}}
}

func (s *Server) ready(ctx context.Context) error {
	if s.cfg.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	err := s.cfg.Ready(ctx)
	if _, told := errors.AsType[*Error](err); err == nil || told {
		return err
	}
	return Unavailable("a part that the function needs does not answer", err)
}
