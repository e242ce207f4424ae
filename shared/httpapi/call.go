package httpapi

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/shared/trace"
)

// Call is what is known of the request in hand. Handlers get it by [CallFrom] and may
// note what the log line should tell.
type Call struct {
	// ID of the request, answered in X-Request-Id.
	ID string
	// Key is the name of the caller's key.
	Key string
	// UpstreamID is the upstream service's request id, answered in X-Upstream-Request-Id if
	// it is known before the first byte. Where several goroutines write an answer, it is set
	// by [Call.SetUpstreamID].
	UpstreamID string
	// Usage is what upstream charged for a chat; nil for other calls.
	Usage *jobs.ChatUsage

	out         http.ResponseWriter
	bodyTimeout time.Duration
	logger      *zerolog.Logger
	start       time.Time
	pattern     string
	shape       Shape
	err         error
	stack       string
	mu          sync.Mutex // of UpstreamID
}

// readWithin bounds how long what the client still has to send may take; 0 lifts the bound.
// On platforms that hand over whole requests there is nothing to bound.
func (c *Call) readWithin(limit time.Duration) {
	if c.out == nil {
		return
	}
	var until time.Time
	if limit > 0 {
		until = time.Now().Add(limit)
	}
	_ = http.NewResponseController(c.out).SetReadDeadline(until)
}

// SetUpstreamID sets UpstreamID while another goroutine may begin the answer, as that which
// keeps a stream alive does.
func (c *Call) SetUpstreamID(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.UpstreamID = id
}

func (c *Call) upstreamID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.UpstreamID
}

type callKey struct{}

func withCall(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

// CallFrom returns the call that the context belongs to; outside a request an empty one.
func CallFrom(ctx context.Context) *Call {
	if call, ok := ctx.Value(callKey{}).(*Call); ok {
		return call
	}
	return &Call{}
}

func (c *Call) fail(err error) { c.err = err }

// log writes the one line of a request: information for what went well or was the
// caller's fault, a warning for upstream's, an error for ours.
func (c *Call) log(r *http.Request, out *response, now time.Time) {
	Line(r.Context(), c.level(r)).Func(c.describe).
		Str("method", r.Method).Str("route", c.pattern).Int("status", out.statusCode()).
		Int64("bytes", out.bytes).Int64("dur_ms", now.Sub(c.start).Milliseconds()).Msg("request")
}

// Line begins a line of the log that says which request of ctx it is about; outside a request
// there is none. The caller sends it. It stands for zerolog.Ctx, whose loggers would have to
// be made for each request, though nearly all write the one line of the end only.
func Line(ctx context.Context, level zerolog.Level) *zerolog.Event {
	call := CallFrom(ctx)
	if call.logger == nil {
		return nil // a line that zerolog does not write
	}
	event := call.logger.WithLevel(level).Str("request_id", call.ID) //nolint:zerologlint // the caller sends it
	if parent := trace.From(ctx); parent != "" {
		event.Str("trace_id", parent.TraceID())
	}
	return event
}

// describe adds what only some requests have.
func (c *Call) describe(event *zerolog.Event) {
	if c.err != nil {
		event.Str("error", sign.Redact(c.err.Error()))
	}
	if c.stack != "" {
		event.Str("stack", c.stack)
	}
	if c.UpstreamID != "" {
		event.Str("upstream_request_id", c.UpstreamID)
	}
	if c.Key != "" {
		event.Str("key", c.Key)
	}
	if c.Usage != nil {
		event.Int64("input_tokens", c.Usage.InputTokens).Int64("output_tokens", c.Usage.OutputTokens).
			Bool("usage_incomplete", c.Usage.Incomplete)
	}
}

func (c *Call) level(r *http.Request) zerolog.Level {
	if c.err == nil || errors.Is(c.err, context.Canceled) && r.Context().Err() != nil {
		return zerolog.InfoLevel
	}
	switch status := AsError(c.err).Status; {
	case status == http.StatusInternalServerError:
		return zerolog.ErrorLevel
	case status > http.StatusInternalServerError:
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}

// stack returns the frames below the panic, without the recovery's own.
func stack() string {
	text := string(debug.Stack())
	if i := strings.Index(text, "panic("); i >= 0 {
		text = text[i:]
	}
	return text
}

// response notes what has been written. Flushing and the like go to the writer below.
type response struct {
	http.ResponseWriter
	status  int
	bytes   int64
	wrote   bool
	matched bool // a route has the request; until then what ServeMux writes is held back
	call    Call
}

// Unwrap serves http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if !w.matched {
		return
	}
	if !w.wrote && status >= http.StatusOK {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if !w.matched {
		return len(p), nil
	}
	if !w.wrote {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// begin notes the status and adds what has become known of the call.
func (w *response) begin(status int) {
	w.wrote, w.status = true, status
	if id := w.call.upstreamID(); presentable(id) {
		w.Header()["X-Upstream-Request-Id"] = []string{id}
	}
}

func (w *response) statusCode() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
