package httpapi

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrStreamBegun is what a handler returns, wrapped around the cause, when its stream has
// failed after the first byte and the client has been told in the stream.
var ErrStreamBegun = errors.New("the stream failed after its first byte")

// Flusher sends what has been written of a stream, and reports a client that is gone.
type Flusher interface{ FlushError() error }

// BeginStream sets the headers of a Server-Sent Events answer: no caching, no buffering by
// proxies, no transformation. The caller then writes frames and flushes after each batch.
func BeginStream(w http.ResponseWriter) Flusher {
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
// should not pass again and again.
func flusher(w http.ResponseWriter) Flusher {
	for layer := w; ; {
		switch l := layer.(type) {
		case Flusher:
			return l
		case interface{ Unwrap() http.ResponseWriter }:
			layer = l.Unwrap()
		default:
			return controlled{http.NewResponseController(w)}
		}
	}
}

// controlled flushes what knows no errors, or no flushing.
type controlled struct{ *http.ResponseController }

func (c controlled) FlushError() error {
	if err := c.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}
