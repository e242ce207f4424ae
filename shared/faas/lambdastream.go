package faas

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// streamType marks an answer that begins with a prelude.
const streamType = "application/vnd.awslambda.http-integration-response"

// prelude stands at the front of a streamed answer; eight zero bytes end it.
type prelude struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Cookies    []string          `json:"cookies,omitempty"`
}

// streamed answers a request of a Function URL as the handler writes it.
func (l *lambdaEntry) streamed(ctx context.Context, payload []byte, id string) (*lambdaAnswer, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, err := requestOf(ctx, payload, id)
	if err != nil {
		cancel()
		return nil, err
	}
	body, pipe := io.Pipe()
	w := &streamWriter{header: http.Header{}, pipe: pipe, ready: make(chan prelude, 1), bodiless: r.Method == http.MethodHead}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := l.serve(w, r, w.begun)
		w.WriteHeader(http.StatusOK) // if the handler has written nothing
		_ = pipe.CloseWithError(err) // nil is the end; another one a trailer tells
	}()
	head, _ := json.Marshal(<-w.ready) // texts and a number: always can be
	head = append(head, 0, 0, 0, 0, 0, 0, 0, 0)
	return &lambdaAnswer{
		Reader: io.MultiReader(bytes.NewReader(head), body), contentType: streamType,
		// If the answer could not be posted to its end, the handler learns it here.
		finish: []func(){func() { _ = body.Close() }, cancel, func() { <-done }},
	}, nil
}

// streamWriter hands each write on at once: there is nothing to flush.
type streamWriter struct {
	header   http.Header
	pipe     *io.PipeWriter
	bodiless bool
	ready    chan prelude // of one

	mu    sync.Mutex
	wrote bool
}

func (w *streamWriter) Header() http.Header { return w.header }

func (w *streamWriter) begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote
}

// WriteHeader sends the prelude; statuses below 200 cannot be told.
func (w *streamWriter) WriteHeader(status int) { w.begin(status, nil) }

func (w *streamWriter) begin(status int, first []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrote || status < http.StatusOK {
		return
	}
	w.wrote = true
	sniff(w.header, first)
	head := prelude{StatusCode: status}
	head.Headers, head.Cookies = joined(w.header, true)
	w.ready <- head
}

func (w *streamWriter) Write(p []byte) (int, error) {
	w.begin(http.StatusOK, p)
	if w.bodiless {
		return len(p), nil
	}
	return w.pipe.Write(p)
}

// Flush sends the prelude, if nothing has been written yet.
func (w *streamWriter) Flush() { w.WriteHeader(http.StatusOK) }

// sniff names the type of a body that has none, as net/http does.
func sniff(header http.Header, first []byte) {
	if _, named := header["Content-Type"]; !named && len(first) > 0 && header.Get("Content-Encoding") == "" {
		header.Set("Content-Type", http.DetectContentType(first))
	}
}
