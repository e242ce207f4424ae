// Package httpapi is what every HTTP surface of Xinghe shares: keys and scopes, request
// ids, the shapes of refusals, limits on bodies, recovery from panics, cross-origin rules
// and the one log line a request.
//
// A function declares its surface as a table of routes whose handlers return errors; this
// package renders them in the shape that the surface's clients expect:
//
//	handler, err := httpapi.New(httpapi.Config{Keys: keys}, httpapi.Route{
//		Pattern: "POST /v1/exports", Scope: httpapi.ScopeExport, Shape: httpapi.Problem, Handler: startExport,
//	})
//
// It knows nothing of the upstream services and holds no business rules.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"

	"xinghe/shared/trace"
)

// HandlerFunc serves one route. An error that it returns before it has written anything
// is rendered in the route's shape; afterwards it is only logged.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// Route is one line of a function's surface.
type Route struct {
	// Pattern is a net/http pattern with its method, such as "POST /v1/exports".
	Pattern string
	// Scope that the caller's key must have; empty for routes open to all.
	Scope Scope
	// Shape of refusals; nil means [Problem].
	Shape Shape
	// Idempotent routes heed the header Idempotency-Key: a request that is repeated is
	// answered as the first time. Their answers are short and come in one piece.
	Idempotent bool
	// Handler serves the route.
	Handler HandlerFunc
}

// Config is what a surface needs beside its routes.
type Config struct {
	// Keys that may call; required if any route has a scope.
	Keys *Keys
	// Replays keeps the answers of idempotent routes. Without it, requests that carry an
	// Idempotency-Key are refused with 503.
	Replays Replays
	// Ready says why the function cannot do its work at present, for GET /readyz; nil if it
	// depends on nothing of our own.
	Ready func(ctx context.Context) error
	// Origins that browsers may call from: exact origins, or "*". None by default. Requests
	// never carry credentials of the browser's own, such as cookies.
	Origins []string
	// BodyTimeout is how long a body may take to arrive, so that a client that stalls does not
	// hold its connection for ever. Default 1 minute.
	BodyTimeout time.Duration
	// Logger takes one line a request; the zero value logs nothing.
	Logger zerolog.Logger
	// Observe hears of every request when it has been answered; nobody by default.
	Observe func(Observation)
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Server is a surface in service.
type Server struct {
	cfg     Config
	mux     *http.ServeMux
	routes  []Route
	methods string // that browsers may use
}

// New assembles the routes to a handler. Beside them it answers GET /healthz, GET /readyz
// and GET /openapi.json, and whatever matches no route with 404 or 405 in the shape of its
// path.
func New(cfg Config, routes ...Route) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = time.Minute
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	for _, route := range slices.Concat(routes, []Route{healthz(), s.readyz(), s.openapi()}) {
		if route.Scope != "" && cfg.Keys == nil {
			return nil, fmt.Errorf("route %s wants scope %s, but no keys are configured", route.Pattern, route.Scope)
		}
		if route.Shape == nil {
			route.Shape = Problem
		}
		if err := s.handle(route); err != nil {
			return nil, err
		}
		s.routes = append(s.routes, route)
	}
	s.methods = methods(s.routes)
	return s, nil
}

// Routes lists what is served, health, readiness and the document included.
func (s *Server) Routes() []Route { return slices.Clone(s.routes) }

// handle turns the panics by which ServeMux refuses a pattern into an error.
func (s *Server) handle(route Route) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("route %q: %v", route.Pattern, p)
		}
	}()
	s.mux.Handle(route.Pattern, &endpoint{server: s, route: &route})
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, r := s.begin(w, r)
	defer s.finish(out, r)
	if s.crossOrigin(out, r) {
		return
	}
	s.mux.ServeHTTP(out, r)
	if !out.matched {
		out.unmatched(r)
	}
}

// begin makes the request's call, and lets the request know it.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) (*response, *http.Request) {
	out := &response{ResponseWriter: w, call: Call{ID: requestID(r), out: w, bodyTimeout: s.cfg.BodyTimeout, logger: &s.cfg.Logger, start: s.cfg.Now()}}
	out.Header().Set("X-Request-Id", out.call.ID)
	ctx := withCall(r.Context(), &out.call)
	if parent, ok := trace.Parse(r.Header.Get(trace.Header)); ok {
		ctx = trace.With(ctx, parent)
	}
	return out, r.WithContext(ctx)
}

// finish recovers from a panic and writes the log line.
func (s *Server) finish(out *response, r *http.Request) {
	call := &out.call
	if p := recover(); p != nil {
		out.matched = true
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		call.fail(fmt.Errorf("panic: %v", p))
		call.stack = stack()
		if !out.wrote {
			shape := call.shape
			if shape == nil {
				shape = shapeOf(r.URL.Path)
			}
			shape(out, call.ID, &Error{Status: http.StatusInternalServerError, Code: CodeInternal})
		} else {
			// The client must see that the answer is not whole.
			defer panic(http.ErrAbortHandler)
		}
	}
	now := s.cfg.Now()
	call.log(r, out, now)
	if s.cfg.Observe != nil {
		s.cfg.Observe(Observation{Route: call.pattern, Status: out.statusCode(), Took: now.Sub(call.start)})
	}
}

// Observation is what is known of a request that has been answered.
type Observation struct {
	// Route is the pattern of the route that served it; empty if none did.
	Route string
	// Status of the answer.
	Status int
	// Took is how long it took, a stream to its end.
	Took time.Duration
}

// unmatched answers for a path or method that no route has; what ServeMux had to say of it
// was held back.
func (w *response) unmatched(r *http.Request) {
	w.matched = true
	w.Header().Del("Location")
	refusal := &Error{Status: http.StatusNotFound, Code: CodeNotFound, Detail: "no such route: " + r.Method + " " + r.URL.Path}
	if allow := w.Header().Get("Allow"); allow != "" {
		refusal = &Error{Status: http.StatusMethodNotAllowed, Code: CodeMethodNotAllowed, Detail: r.Method + " is not allowed here; use " + allow}
	}
	w.call.fail(refusal)
	shapeOf(r.URL.Path)(w, w.call.ID, refusal)
}

// shapeOf is the shape of a path that no route names.
func shapeOf(path string) Shape {
	switch {
	case strings.HasPrefix(path, "/v2/api/"):
		return Envelope
	case strings.HasPrefix(path, "/v1/chat/"), strings.HasPrefix(path, "/v1/models"):
		return OpenAI
	}
	return Problem
}

// endpoint is a route in service.
type endpoint struct {
	server *Server
	route  *Route
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := w.(*response) // nobody else calls what the mux has
	call := &out.call
	out.matched, call.pattern, call.shape = true, e.route.Pattern, e.route.Shape
	err := e.server.admit(r, call, e.route.Scope)
	switch {
	case err != nil:
	case e.route.Idempotent:
		err = e.server.once(w, r, call, e.route)
	default:
		err = e.route.Handler(w, r)
	}
	if err != nil {
		out.refuse(err)
	}
}

// refuse answers with an error, unless it is too late to say it: then the handler has ended
// its stream in its own way.
func (w *response) refuse(err error) {
	w.call.fail(err)
	if !w.wrote {
		w.call.shape(w, w.call.ID, AsError(err))
	}
}

// admit checks the caller's key, its scope and its rate.
func (s *Server) admit(r *http.Request, call *Call, scope Scope) error {
	if scope == "" {
		return nil
	}
	key, err := s.cfg.Keys.Authenticate(r)
	if err != nil {
		return err
	}
	call.Key = key.Name
	if !key.Has(scope) {
		return &Error{Status: http.StatusForbidden, Code: CodeForbidden, Detail: fmt.Sprintf("the key lacks the scope %q", scope)}
	}
	return key.take(s.cfg.Now())
}

// requestID takes over the caller's id when it is short and printable, else makes one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); presentable(id) {
		return id
	}
	return NewID("req")
}

// presentable reports whether an id of others' can stand in a header of ours.
func presentable(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' })
}

// NewID returns a fresh id of a kind, such as "exp_01JD…": the prefix and a ULID, which
// sorts by the time it was made.
func NewID(kind string) string { return kind + "_" + ulid.Make().String() }
