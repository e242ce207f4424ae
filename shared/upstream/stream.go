package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"xinghe/shared/sse"
)

// drainTimeout is how long a finished stream waits for the end of the body, which lets the
// connection be used again.
const drainTimeout = 100 * time.Millisecond

// Verdict says what a frame means for its stream.
type Verdict int

// The verdicts.
const (
	Skip   Verdict = iota // not to be handed on
	Keep                  // to be handed on
	MayEnd                // to be handed on; from now on the end of the body is the stream's
	Last                  // to be handed on; the stream has ended
)

// Refused makes an error of an answer that is no stream.
type Refused func(status int, header http.Header, body []byte) error

// Inspect looks at a frame of the answer with this header. Its error ends the stream.
type Inspect func(header http.Header, event sse.Event) (Verdict, error)

// Stream is an answer that arrives in frames. It is for one goroutine, but Close may be
// called from any.
type Stream struct {
	// Each frame of a stream among thousands finds the caches cold. What it takes stands here
	// side by side rather than behind pointers, and first.
	err     error
	ended   atomic.Bool // the last frame has come, nothing more is read but by Close
	mayEnd  bool
	inspect Inspect
	idle    idle // cancels with ErrIdle
	reader  sse.Reader

	// Header is that of the answer.
	Header http.Header

	attempt     Attempt
	body        io.ReadCloser
	idleTimeout time.Duration
	closing     sync.Once
	closeErr    error
}

// Open sends a request and returns once upstream has answered with a stream, else a
// [*NetworkError], what refused makes of the answer, or the error of the request's context,
// which bounds the whole stream. The caller must Close what it returns.
func (s *Service) Open(req *http.Request, op string, refused Refused, inspect Inspect) (*Stream, error) {
	own, cancel := context.WithCancelCause(req.Context())
	stream := &Stream{
		attempt: Attempt{service: s.Name, op: op, caller: req.Context(), own: own, cancel: func() { cancel(context.Canceled) }},
		inspect: inspect, body: http.NoBody, idleTimeout: s.IdleTimeout,
	}
	stream.idle.watch(s.IdleTimeout, func() { cancel(ErrIdle) })
	resp, err := s.Transport.RoundTrip(req.WithContext(own)) //nolint:bodyclose // closed by Close
	if err != nil {
		return nil, stream.Fail(stream.attempt.Failure(err))
	}
	stream.body, stream.Header = resp.Body, resp.Header
	if resp.StatusCode == http.StatusOK && MediaType(resp.Header) == "text/event-stream" {
		stream.idle.end()
		stream.reader = *sse.NewReader(resp.Body, sse.ReaderConfig{MaxEventBytes: s.MaxResponseBytes})
		return stream, nil
	}
	body, err := s.ReadAll(resp)
	if err != nil && !errors.Is(err, ErrTooLarge) {
		return nil, stream.Fail(stream.attempt.Failure(err))
	}
	return nil, stream.Fail(refused(resp.StatusCode, resp.Header, body))
}

// Next returns the next frame; its data is valid until the call after. It returns io.EOF
// after the last frame and in no other case, what the stream's inspection finds,
// [ErrTruncated], [ErrIdle], [ErrTooLarge] around the reader's *sse.TooLargeError, or the
// context's error. After an error it returns the same again.
func (s *Stream) Next() (sse.Event, error) {
	if s.err != nil {
		return sse.Event{}, s.err
	}
	if s.ended.Load() {
		return sse.Event{}, io.EOF
	}
	for waiting := false; ; {
		// Nothing is waited for if it is here already; what is skipped does not end the waiting.
		if !waiting && !s.reader.Buffered() {
			waiting = true
			s.idle.begin()
		}
		event, err := s.reader.Next()
		if err != nil {
			return sse.Event{}, s.Fail(s.broken(err))
		}
		verdict, err := s.inspect(s.Header, event)
		if err != nil {
			return sse.Event{}, s.Fail(err)
		}
		if verdict == Skip {
			continue
		}
		if waiting {
			s.idle.end() // before Close may see the end and begin to wait itself
		}
		s.mayEnd = s.mayEnd || verdict == MayEnd
		s.ended.Store(verdict == Last)
		return event, nil
	}
}

// Events is [All] of the frames.
func (s *Stream) Events() iter.Seq2[sse.Event, error] { return All(s) }

// Buffered reports whether a whole further frame is in memory already, so that a relay may
// put off flushing.
func (s *Stream) Buffered() bool { return s.err == nil && !s.ended.Load() && s.reader.Buffered() }

// Fail ends the stream for a reason that its user found, which Next returns from now on, and
// returns that reason.
func (s *Stream) Fail(err error) error {
	s.err = err
	_ = s.Close()
	return err
}

// Close ends the stream, cancelling upstream if it is still writing, and frees the
// connection; a running Next returns. A stream that has come to its end waits for upstream
// to close it, at most 100 ms, because then the connection can be used again. Close may be
// called more than once.
func (s *Stream) Close() error {
	s.closing.Do(func() {
		if s.ended.Load() {
			// What follows the last frame, usually nothing, goes past the reader: the last frame
			// may still be in use there.
			s.idle.restart(drainTimeout)
			_, _ = io.Copy(io.Discard, s.body)
		}
		s.idle.stop()
		s.attempt.End()
		s.closeErr = s.body.Close()
	})
	return s.closeErr
}

// broken says why there is no further frame.
func (s *Stream) broken(err error) error {
	_, tooLarge := errors.AsType[*sse.TooLargeError](err)
	switch {
	case s.attempt.caller.Err() != nil:
		return s.attempt.Failure(err)
	case errors.Is(context.Cause(s.attempt.own), ErrIdle):
		return s.attempt.wrap(fmt.Errorf("stream %w for %v", ErrIdle, s.idleTimeout))
	case tooLarge:
		return s.attempt.wrap(fmt.Errorf("%w: %w", ErrTooLarge, err))
	case errors.Is(err, io.EOF) && s.mayEnd:
		return io.EOF
	case errors.Is(err, io.EOF):
		return s.attempt.wrap(ErrTruncated)
	}
	return fmt.Errorf("%w: %w", ErrTruncated, s.attempt.Failure(err))
}

// All ranges over what a stream has left and closes it. After an error it ends; io.EOF is
// not reported.
func All[T any](stream interface {
	Next() (T, error)
	Close() error
},
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		defer func() { _ = stream.Close() }()
		for {
			item, err := stream.Next()
			if errors.Is(err, io.EOF) || !yield(item, err) || err != nil {
				return
			}
		}
	}
}
