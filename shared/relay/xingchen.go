package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"

	"xinghe/shared/httpapi"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// Xingchen relays calls of the Xingchen API.
type Xingchen struct {
	Client *xingchen.Client
}

// Serve makes the call for the request in hand and answers as upstream does: bodies and
// frames as they came, those of refusals too. What else goes wrong is returned, or told in
// the stream once that has begun.
func (x Xingchen) Serve(w http.ResponseWriter, r *http.Request, call xingchen.Call, stream bool) error {
	call.RequestID = httpapi.CallFrom(r.Context()).ID
	call.DataInspection = enabled(r.Header, "DataInspection")
	if stream {
		return x.stream(w, r, call)
	}
	answer, err := x.Client.Do(r.Context(), call)
	if err != nil {
		return x.refuse(w, r, err)
	}
	note(r, answer.Body)
	copyHeader(w.Header(), answer.Header, "Content-Type")
	w.WriteHeader(answer.Status)
	if _, err := w.Write(answer.Body); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

func (x Xingchen) stream(w http.ResponseWriter, r *http.Request, call xingchen.Call) error {
	stream, err := x.Client.Open(r.Context(), call)
	if err != nil {
		return x.refuse(w, r, err)
	}
	defer func() { _ = stream.Close() }()
	event, err := stream.Next()
	if err != nil && passable(err) == nil {
		return Refusal(r.Context(), err) // nothing has been sent yet
	}
	note(r, event.Data)
	frame := buffers.Get().(*[]byte)
	defer buffers.Put(frame)
	flush := httpapi.BeginStream(w)
	for ; err == nil; event, err = stream.Next() {
		*frame = sse.AppendEvent((*frame)[:0], event)
		if _, err := w.Write(*frame); err != nil {
			return fmt.Errorf("write frame: %w", err)
		}
		if stream.Buffered() {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if errors.Is(err, io.EOF) {
		return flush()
	}
	refusal := Refusal(r.Context(), err)
	*frame = sse.AppendEvent((*frame)[:0], sse.Event{Type: "error", Data: errorFrame(r, err, refusal)})
	if _, writeErr := w.Write(*frame); writeErr == nil {
		_ = flush() // the client may be gone; the log says what happened
	}
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
func (x Xingchen) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	refusal := Refusal(r.Context(), err)
	own := passable(err)
	if own == nil {
		return refusal
	}
	if own.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(own.RetryAfter.Seconds()))))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpapi.AsError(refusal).Status)
	if _, writeErr := w.Write(own.Body); writeErr != nil {
		return fmt.Errorf("write refusal: %w", writeErr)
	}
	return refusal
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

// WantsStream reads the headers by which clients ask for a stream: the service name that
// ends in -sse, or X-AcA-SSE or X-DashScope-SSE.
func WantsStream(h http.Header) bool {
	service := h.Get("x-fag-servicename")
	return len(service) > 4 && service[len(service)-4:] == "-sse" || enabled(h, "SSE")
}

// enabled reads a switch in either of the spellings that upstream knows.
func enabled(h http.Header, name string) bool {
	return h.Get("X-AcA-"+name) == "enable" || h.Get("X-DashScope-"+name) == "enable"
}

// note keeps upstream's request id for the log line.
func note(r *http.Request, body []byte) {
	head := body[:min(len(body), 256)]
	_, rest, found := bytes.Cut(head, []byte(`"requestId":"`))
	if id, _, whole := bytes.Cut(rest, []byte{'"'}); found && whole {
		httpapi.CallFrom(r.Context()).UpstreamID = string(id)
	}
}

func copyHeader(to, from http.Header, names ...string) {
	for _, name := range names {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
}

// buffers hold one frame each. Ones that a large frame has grown are not kept by much: the
// pool is emptied by the garbage collector.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}
