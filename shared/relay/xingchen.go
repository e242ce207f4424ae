package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// Xingchen relays calls of the Xingchen API.
type Xingchen struct {
	Client *xingchen.Client
	// Heartbeat is the longest silence of a stream; none if it is not positive.
	Heartbeat time.Duration
	// Disconnect says what becomes of a stream whose client has left.
	Disconnect Disconnect
	// Output says in which way upstream streams texts.
	Output Output
	// Text asks for the answer's text in the outcome.
	Text bool
	// ParallelKeys are the errorMessageKeys, or errorNames, by which upstream refuses a user's
	// second conversation. Its documents name none, so other words count as what their code
	// says.
	ParallelKeys []string
}

// DefaultParallelKeys are those by which a second conversation is known unless others are
// configured.
var DefaultParallelKeys = []string{"aca.error.chat.parallel"}

// Mode says in which form an answer is wanted.
type Mode int

// The modes.
const (
	Whole       Mode = iota // one JSON document
	Cumulative              // frames, each with the whole text so far
	Incremental             // frames, each with what is new
)

// ModeOf reads the headers by which clients ask for a stream: the service name that ends in
// -sse, or X-AcA-SSE or X-DashScope-SSE. Which kind of stream stands in the body.
func ModeOf(h http.Header, incremental bool) Mode {
	switch {
	case !streamService(h.Get(xingchen.HeaderService)) && !xingchen.WantsStream(h):
		return Whole
	case incremental:
		return Incremental
	}
	return Cumulative
}

func streamService(name string) bool {
	return len(name) > len("-sse") && strings.HasSuffix(name, "-sse")
}

// Serve makes the call for the request in hand and answers as upstream does: bodies and
// frames as they came, those of refusals too. What else goes wrong is returned, or told in
// the stream once that has begun. What is learned goes into the outcome.
func (x *Xingchen) Serve(w http.ResponseWriter, r *http.Request, call *xingchen.Call, mode Mode, outcome *Outcome) error {
	adopt(r, call)
	ctx, cancel := x.Disconnect.context(r.Context())
	defer cancel()
	if mode != Whole {
		return x.stream(ctx, w, r, call, mode, outcome)
	}
	return x.whole(ctx, w, r, call, outcome)
}

func (x *Xingchen) whole(ctx context.Context, w http.ResponseWriter, r *http.Request, call *xingchen.Call, outcome *Outcome) error {
	answer, err := x.Client.Do(ctx, call)
	if err != nil {
		return x.refuse(w, r, err)
	}
	note(r, answer.Body)
	outcome.glance(answer.Body)
	if x.Text {
		outcome.Text = content(answer.Body, true)
	}
	copyHeader(w.Header(), answer.Header, "Content-Type")
	w.WriteHeader(answer.Status)
	if _, err := w.Write(answer.Body); err != nil {
		return left(err)
	}
	return nil
}

func (x *Xingchen) stream(ctx context.Context, w http.ResponseWriter, r *http.Request, call *xingchen.Call, mode Mode, outcome *Outcome) error {
	out := newOutput(w, x.Heartbeat)
	defer out.stop()
	stream, err := x.Client.Open(ctx, call)
	if err != nil {
		out.stop()
		if out.begun() {
			return x.fail(r, out, err)
		}
		return x.refuse(w, r, err)
	}
	defer func() { _ = stream.Close() }()
	last, err := x.pass(r, stream, out, mode, outcome)
	out.stop()
	outcome.First = out.first
	switch {
	case errors.Is(err, io.EOF):
		outcome.glance(last)
		return out.send()
	case errors.Is(err, context.Canceled), errors.Is(err, errLeft):
		return err
	case out.begun() || passable(err) != nil:
		return x.fail(r, out, err)
	}
	// Nothing has been sent yet.
	return x.refusal(r.Context(), err) //nolint:contextcheck // told of the client's request, not of the call upstream
}

// pass hands frames on until the stream ends, and returns why it did, with the last frame
// of one that ended well.
func (x *Xingchen) pass(r *http.Request, stream *upstream.Stream, out *output, mode Mode, outcome *Outcome) (last []byte, err error) {
	var gone error
	converter := newConverter(x.Output, mode)
	for {
		event, err := stream.Next()
		if err != nil {
			return last, errors.Join(gone, err)
		}
		if last == nil {
			note(r, event.Data)
			outcome.glance(event.Data)
		}
		last = event.Data
		x.take(&event, converter, mode, outcome)
		out.add(&event)
		if stream.Buffered() {
			continue
		}
		if gone = out.send(); gone != nil && x.Disconnect.Drain <= 0 {
			return last, gone
		}
	}
}

// take brings the outcome up to a frame, and the frame into the mode that the client wants.
func (x *Xingchen) take(event *sse.Event, converter *converter, mode Mode, outcome *Outcome) {
	event.Data = converter.convert(event.Data)
	if x.Text {
		outcome.words(content(event.Data, false), mode)
	}
}

// fail tells in the stream what went wrong.
func (x *Xingchen) fail(r *http.Request, out *output, err error) error {
	refusal := x.refusal(r.Context(), err)
	out.add(&sse.Event{Type: "error", Data: errorFrame(r, err, refusal)})
	_ = out.send() // the client may be gone; the log says what happened
	return fmt.Errorf("%w: %w", httpapi.ErrStreamBegun, refusal)
}

// errorFrame is the data of an event:error: upstream's own where it sent one.
func errorFrame(r *http.Request, err, refusal error) []byte {
	if own := passable(err); own != nil {
		return own.Body
	}
	data, err := json.Marshal(httpapi.EnvelopeBody(httpapi.CallFrom(r.Context()).ID, httpapi.AsError(refusal)))
	if err != nil {
		return []byte(`{"success":false}`)
	}
	return data
}

// refuse passes on what upstream answered instead of a result: its body as it came, under
// the HTTP status that it stands for, since upstream's own is 400 for nearly everything.
func (x *Xingchen) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	refusal := x.refusal(r.Context(), err)
	own := passable(err)
	if own == nil {
		return refusal
	}
	told := httpapi.AsError(refusal)
	if told.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(told.RetryAfter.Seconds()))))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(told.Status)
	if _, writeErr := w.Write(own.Body); writeErr != nil {
		return fmt.Errorf("write refusal: %w", writeErr)
	}
	return refusal
}

// refusal is [Refusal], but that a user's second conversation is a conflict: the user's first
// one has to end, and nobody else needs to slow down.
func (x *Xingchen) refusal(ctx context.Context, err error) error {
	refusal := Refusal(ctx, err)
	e, ok := errors.AsType[*xingchen.Error](err)
	if !ok || !slices.Contains(x.ParallelKeys, e.Key) && !slices.Contains(x.ParallelKeys, e.Name) {
		return refusal
	}
	conflict := *httpapi.AsError(refusal)
	conflict.Status, conflict.Code = http.StatusConflict, httpapi.CodeConflict
	conflict.RetryAfter = max(conflict.RetryAfter, time.Second)
	return &conflict
}

// passable returns what upstream itself answered if that may be passed on: that it refuses
// our credentials is not told as if it were the caller's key.
func passable(err error) *xingchen.Error {
	e, ok := errors.AsType[*xingchen.Error](err)
	if !ok || e.Body == nil || e.Kind() == upstream.KindUnauthorized {
		return nil
	}
	return e
}

// note keeps upstream's request id for the log line.
func note(r *http.Request, body []byte) {
	head := body[:min(len(body), 256)]
	_, rest, found := bytes.Cut(head, []byte(`"requestId":"`))
	if id, _, whole := bytes.Cut(rest, []byte{'"'}); found && whole {
		httpapi.CallFrom(r.Context()).SetUpstreamID(string(id))
	}
}

func copyHeader(to, from http.Header, names ...string) {
	for _, name := range names {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
}

// content decodes what is said in a result, whole or a frame; for events that carry texts.
func content(data []byte, whole bool) string {
	var envelope struct {
		Data xingchen.ChatResult `json:"data"`
	}
	into := any(&envelope.Data)
	if whole {
		into = &envelope
	}
	if json.Unmarshal(data, into) != nil {
		return ""
	}
	return envelope.Data.Text()
}
