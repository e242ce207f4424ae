package httpapi

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrStreamBegun is what a handler returns, wrapped around the cause, when its stream has
// failed after the first byte and the client has been told in the stream.
var ErrStreamBegun = errors.New("the stream failed after its first byte")

// ErrorFlusher sends what has been written of a stream, and reports a client that is gone.
type ErrorFlusher interface{ FlushError() error }

// BeginStream sets the headers of a Server-Sent Events answer: no caching, no buffering by
// proxies, no transformation. The caller then writes frames and flushes after each batch.
func BeginStream(w http.ResponseWriter) ErrorFlusher {
	header := w.Header()
	header["Content-Type"], header["Cache-Control"], header["X-Accel-Buffering"] = eventStream, uncached, unbuffered
	return flusher(w)
}

// Headers that are the same for all streams are not made for each.
var (
	eventStream = []string{"text/event-stream;charset=UTF-8"}
	uncached    = []string{"no-cache, no-transform"}
	unbuffered  = []string{"no"}
)

// flusher finds who flushes below the layers around him, which a stream of many frames
// should not pass again and again. Layers that know no errors are left to net/http.
func flusher(w http.ResponseWriter) ErrorFlusher {
	for layer := w; ; {
		switch l := layer.(type) {
		case ErrorFlusher:
			return l
		case http.Flusher:
			return controlled{http.NewResponseController(layer)}
		case interface{ Unwrap() http.ResponseWriter }:
			layer = l.Unwrap()
		default:
			return controlled{http.NewResponseController(layer)}
		}
	}
}

// controlled flushes what knows no errors, or no flushing: then there is nothing to send.
type controlled struct{ *http.ResponseController }

func (c controlled) FlushError() error {
	if err := c.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}
