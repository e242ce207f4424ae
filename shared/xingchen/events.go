package xingchen

import (
	"bytes"
	"context"
	"encoding/json"
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

// EventStream is a stream as it came, frame by frame. It is for one goroutine, but Close may
// be called from any.
type EventStream struct {
	// Header is that of the answer.
	Header http.Header

	client   *Client
	attempt  attempt
	bare     bool
	cancel   context.CancelCauseFunc
	body     io.ReadCloser
	reader   *sse.Reader
	idle     *time.Timer
	mayEnd   bool        // a bare stream has given its finish reason
	ended    atomic.Bool // the last frame has come, nothing more is read but by Close
	closing  sync.Once
	closeErr error
	err      error
}

// Open makes a call that streams. It returns once upstream has answered with a stream,
// else an error as [Client.Do] does. The context bounds the whole stream. The caller must
// Close what it returns.
func (c *Client) Open(ctx context.Context, call Call) (*EventStream, error) {
	callCtx, cancel := context.WithCancelCause(ctx)
	s := &EventStream{
		client: c, attempt: newAttempt(ctx, callCtx, call.op()), bare: call.Route.Bare, cancel: cancel, body: http.NoBody,
		idle: time.AfterFunc(c.idleTimeout, func() { cancel(ErrIdle) }),
	}
	if err := s.connect(callCtx, call); err != nil {
		return nil, s.fail(err)
	}
	s.idle.Stop()
	return s, nil
}

func (s *EventStream) connect(ctx context.Context, call Call) error {
	req, err := s.client.request(ctx, call, true)
	if err != nil {
		return err
	}
	resp, err := s.client.transport.RoundTrip(req) //nolint:bodyclose // closed by Close
	if err != nil {
		return s.attempt.failure(err)
	}
	s.body, s.Header = resp.Body, resp.Header
	if resp.StatusCode == http.StatusOK && mediaType(resp.Header) == "text/event-stream" {
		s.reader = sse.NewReader(resp.Body, sse.ReaderConfig{MaxEventBytes: s.client.maxBytes})
		return nil
	}
	body, err := s.client.read(resp)
	if err != nil && !errors.Is(err, ErrTooLarge) {
		return s.attempt.failure(err)
	}
	return s.client.newError(resp.StatusCode, resp.Header, body)
}

// Next returns the next frame; its data is valid until the call after. It returns io.EOF
// after the frame that upstream marks as the last, an [*Error] where upstream sends one,
// [ErrTruncated], [ErrIdle], the context's error, or the reader's *sse.TooLargeError. After
// an error it returns the same again.
func (s *EventStream) Next() (sse.Event, error) {
	if s.err != nil {
		return sse.Event{}, s.err
	}
	if s.ended.Load() {
		return sse.Event{}, io.EOF
	}
	for {
		event, err := s.read(s.client.idleTimeout)
		if err != nil {
			return sse.Event{}, s.fail(s.broken(err))
		}
		keep, err := s.inspect(event)
		if err != nil {
			return sse.Event{}, s.fail(err)
		}
		if keep {
			return event, nil
		}
	}
}

// Events ranges over the frames and closes the stream. After an error it ends; io.EOF is not
// reported.
func (s *EventStream) Events() iter.Seq2[sse.Event, error] {
	return func(yield func(sse.Event, error) bool) {
		defer func() { _ = s.Close() }()
		for {
			event, err := s.Next()
			if errors.Is(err, io.EOF) && !errors.Is(err, ErrTruncated) {
				return
			}
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Buffered reports whether a whole further frame is in memory already, so that a relay may
// put off flushing.
func (s *EventStream) Buffered() bool { return !s.ended.Load() && s.reader.Buffered() }

// Close ends the stream, cancelling upstream if it is still writing, and frees the
// connection; a running Next returns. A stream that has come to its end waits for upstream
// to close it, at most 100 ms, because then the connection can be used again. Close may be
// called more than once.
func (s *EventStream) Close() error {
	s.closing.Do(func() {
		if s.ended.Load() {
			s.drain()
		}
		s.idle.Stop()
		s.cancel(context.Canceled)
		s.closeErr = s.body.Close()
	})
	return s.closeErr
}

// read waits for an event, at most so long. The timer is not armed for what is here already.
func (s *EventStream) read(limit time.Duration) (sse.Event, error) {
	if !s.reader.Buffered() {
		s.idle.Reset(limit)
		defer s.idle.Stop()
	}
	return s.reader.Next()
}

// inspect looks for errors and for the last frame, and says whether the frame is to be
// handed on.
func (s *EventStream) inspect(event sse.Event) (bool, error) {
	switch event.Type {
	case "error":
		return false, s.frameError(event.Data)
	case "", "message", "success", "stop", "length":
	default:
		return false, nil
	}
	if s.bare {
		s.ended.Store(string(event.Data) == "[DONE]")
		s.mayEnd = s.mayEnd || bytes.Contains(event.Data, []byte(`"finish_reason":"`))
		return true, nil
	}
	if bytes.Contains(event.Data, []byte(`"errorCode"`)) || bytes.Contains(event.Data, []byte(`"success"`)) {
		var r refusal
		if json.Unmarshal(event.Data, &r) == nil && r.failed() {
			return false, s.frameError(event.Data)
		}
	}
	s.ended.Store(lastFrame(event.Data))
	return len(event.Data) > 0, nil
}

// lastFrame looks for stop:true at the top of a frame. Inside a text the quotation marks
// would be escaped, so only a frame that seems to be the last is decoded, and one whose
// spelling is not the usual.
func lastFrame(data []byte) bool {
	if !bytes.Contains(data, []byte(`"stop":true`)) && bytes.Contains(data, []byte(`"stop":false`)) {
		return false
	}
	var frame struct {
		Stop bool `json:"stop"`
	}
	return json.Unmarshal(data, &frame) == nil && frame.Stop
}

func (s *EventStream) frameError(data []byte) *Error {
	e := s.client.newError(http.StatusOK, http.Header{}, data)
	var r refusal
	if json.Unmarshal(data, &r) == nil && r.HTTPStatusCode != 0 {
		e.HTTPStatus = int(r.HTTPStatusCode)
	}
	if e.RequestID == "" {
		e.RequestID = s.Header.Get("X-Request-Id")
	}
	return e
}

// broken says why there is no further event.
func (s *EventStream) broken(err error) error {
	_, tooLarge := errors.AsType[*sse.TooLargeError](err)
	switch {
	case s.attempt.caller() != nil:
		return s.attempt.failure(err)
	case errors.Is(s.attempt.cause(), ErrIdle):
		return fmt.Errorf("%w after %v", ErrIdle, s.client.idleTimeout)
	case tooLarge:
		return fmt.Errorf("xingchen: stream: %w", err)
	case errors.Is(err, io.EOF) && s.mayEnd:
		return io.EOF
	case errors.Is(err, io.EOF):
		return ErrTruncated
	}
	return fmt.Errorf("%w: %w", ErrTruncated, s.attempt.failure(err))
}

// drain reads what stands after the last frame, usually nothing.
func (s *EventStream) drain() {
	for {
		if _, err := s.read(drainTimeout); err != nil {
			return
		}
	}
}

// fail remembers the end and frees the connection.
func (s *EventStream) fail(err error) error {
	s.err = err
	_ = s.Close()
	return err
}
