package fault

import (
	"context"
	"sync"
)

// Trace collects what the engine saw of one HTTP request, for the list of requests.
type Trace struct {
	mu     sync.Mutex
	req    Request
	faults []Name
}

type traceKey struct{}

// WithTrace returns a context whose matches are noted in trace.
func WithTrace(ctx context.Context, trace *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, trace)
}

// Seen returns the last request matched and all faults that struck.
func (t *Trace) Seen() (Request, []Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.req, t.faults
}

func traceFrom(ctx context.Context) *Trace {
	trace, _ := ctx.Value(traceKey{}).(*Trace)
	return trace
}

func (t *Trace) note(req Request, plan *Plan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.req = req
	t.faults = append(t.faults, plan.Names()...)
}
