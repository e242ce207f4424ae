package httpapi

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrStreamBegun is what a handler returns, wrapped around the cause, when its stream has
// failed after the first byte and the client has been told in the stream.
var ErrStreamBegun = errors.New("the stream failed after its first byte")

// BeginStream sets the headers of a Server-Sent Events answer: no caching, no buffering by
// proxies, no transformation. The caller then writes frames and calls the returned flush
// after each batch; flush reports a client that is gone.
func BeginStream(w http.ResponseWriter) (flush func() error) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream;charset=UTF-8")
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no")
	controller := http.NewResponseController(w)
	return func() error {
		if err := controller.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("flush: %w", err)
		}
		return nil
	}
}
