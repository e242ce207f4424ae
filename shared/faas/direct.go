package faas

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// directRequest is a request that comes as an event: by Lambda's Invoke, Function Compute's
// InvokeFunction, or an event bus.
type directRequest struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	// Body is a JSON document, or a text where the headers name another content type.
	Body json.RawMessage `json:"body"`
	// Key stands for the header Authorization.
	Key string `json:"key"`
}

// directAnswer is what it is answered with. Streams come back whole, as a text.
type directAnswer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    any               `json:"body"`
}

// Direct serves requests that come as events, {"method","path","headers","body","key"}, with
// the handler that serves those that come by HTTP, and answers {"status","headers","body"}.
// A payload without a path goes to otherwise, if that is not nil. To whoever invokes the
// function a request that is at fault is answered: trying again would not help. Of an event
// that nobody waits for (see [Event.Unattended]) every status from 400 on is a
// [*StatusError], or its failure would go unseen.
func Direct(handler http.Handler, otherwise EventFunc) EventFunc {
	return func(ctx context.Context, event Event) (json.RawMessage, error) {
		var d directRequest
		err := json.Unmarshal(event.Payload, &d)
		if otherwise != nil && (err != nil || d.Path == "") {
			return otherwise(ctx, event)
		}
		r, err := d.request(ctx, err)
		if err != nil && event.Unattended() {
			return nil, err
		}
		if err != nil {
			return json.Marshal(directAnswer{Status: http.StatusBadRequest, Headers: map[string]string{}, Body: map[string]string{"detail": err.Error()}})
		}
		if r.Header.Get("X-Request-Id") == "" && event.ID != "" {
			r.Header.Set("X-Request-Id", event.ID)
		}
		out := &answerWriter{header: http.Header{}}
		handler.ServeHTTP(out, r)
		if event.Unattended() && out.status >= http.StatusBadRequest {
			return nil, &StatusError{Status: out.status, Body: out.body.Bytes()}
		}
		return json.Marshal(out.answer())
	}
}

// StatusError is a request of an event that was refused, or failed.
type StatusError struct {
	Status int
	Body   []byte // of the answer
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("answered with %d: %s", e.Status, e.Body[:min(len(e.Body), maxTold)])
}

// maxTold is how much of a refusal an error repeats, in bytes.
const maxTold = 512

func (d directRequest) request(ctx context.Context, err error) (*http.Request, error) {
	if err != nil {
		return nil, fmt.Errorf("the event is no request: %w", err)
	}
	if !strings.HasPrefix(d.Path, "/") {
		return nil, fmt.Errorf("path: %q does not begin with a slash", d.Path)
	}
	if d.Method == "" {
		d.Method = http.MethodPost
	}
	body := []byte(d.Body)
	header := http.Header{"Content-Type": {"application/json"}}
	for name, value := range d.Headers {
		header.Set(name, value)
	}
	var text string
	if !isJSON(header) && json.Unmarshal(d.Body, &text) == nil {
		body = []byte(text)
	}
	r, err := http.NewRequestWithContext(ctx, d.Method, d.Path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("method or path: %w", err)
	}
	r.RequestURI = d.Path
	r.Header = header
	if d.Key != "" {
		r.Header.Set("Authorization", "Bearer "+d.Key)
	}
	return r, nil
}

func isJSON(header http.Header) bool {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && strings.HasSuffix(kind, "json")
}

// answerWriter keeps an answer.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answerWriter) Header() http.Header { return w.header }

func (w *answerWriter) begun() bool { return w.status != 0 }

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if !w.begun() {
		sniff(w.header, p)
	}
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush is asked for by streams, and means nothing here.
func (w *answerWriter) Flush() {}

func (w *answerWriter) answer() directAnswer {
	answer := directAnswer{Status: max(w.status, http.StatusOK), Headers: map[string]string{}, Body: w.body.String()}
	for name, values := range w.header {
		answer.Headers[name] = strings.Join(values, ", ")
	}
	if isJSON(w.header) && json.Valid(w.body.Bytes()) {
		answer.Body = json.RawMessage(w.body.Bytes())
	}
	return answer
}
