package beebot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"xinghe/shared/sign"
	"xinghe/shared/sse"
)

const (
	streamAction = "TongyiBeebotChat"
	streamPath   = "/sse/paas4Json/"
	// drainTimeout is how long a finished stream waits for the end of the body, which lets the
	// connection be used again.
	drainTimeout = 100 * time.Millisecond
)

// Stream is an answer that arrives in snapshots. It is for one goroutine, but Close may be
// called from any.
type Stream struct {
	// ID is the message id under which the question was sent.
	ID string

	client   *Client
	attempt  attempt
	secrets  []sign.Secret
	cancel   context.CancelCauseFunc
	body     io.ReadCloser
	reader   *sse.Reader
	decoder  Decoder
	idle     *time.Timer
	first    *Snapshot   // read while opening, not yet handed out
	ended    atomic.Bool // the last frame has come, nothing more is read but by Close
	closing  sync.Once
	closeErr error
	err      error
}

// Stream asks a robot and returns once the first frame has come, so that a refusal is an
// error of this call. It follows Beebot, SSE stream interface.
//
// The credentials come from a cache. Where upstream refuses them, by status 401 or 403, a
// web page, or a code that speaks of token or signature, they are renewed and the question
// is sent once more under the same message id. The context bounds the whole stream; the
// caller must Close what it returns.
func (c *Client) Stream(ctx context.Context, req StreamRequest) (*Stream, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if req.MessageID == "" {
		req.MessageID = c.cfg.NewID()
	}
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	for again := true; ; again = false {
		access, err := c.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		stream, err := c.open(ctx, access, body)
		if err == nil {
			stream.ID = req.MessageID
			return stream, nil
		}
		if !refused(err) {
			return nil, err
		}
		c.tokens.drop(access)
		if !again {
			return nil, err
		}
	}
}

// open makes one attempt, up to the first frame.
func (c *Client) open(ctx context.Context, access Access, body []byte) (*Stream, error) {
	callCtx, cancel := context.WithCancelCause(ctx)
	s := &Stream{
		client: c, attempt: newAttempt(ctx, callCtx, streamAction), cancel: cancel, body: http.NoBody,
		secrets: []sign.Secret{access.Token, access.ChannelID, access.Secret},
		idle:    time.AfterFunc(c.cfg.IdleTimeout, func() { cancel(ErrIdle) }),
	}
	if err := s.connect(callCtx, access, body); err != nil {
		return nil, s.fail(err)
	}
	first, err := s.Next()
	if err != nil {
		return nil, err
	}
	s.first = &first
	return s, nil
}

func (s *Stream) connect(ctx context.Context, access Access, body []byte) error {
	address := access.address(s.client.streamURL, s.client.cfg.Now())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return s.attempt.failure(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := s.client.cfg.Transport.RoundTrip(req) //nolint:bodyclose // closed by Close
	if err != nil {
		return s.attempt.failure(err)
	}
	s.body = resp.Body
	kind := mediaType(resp.Header)
	if resp.StatusCode == http.StatusOK && kind == "text/event-stream" {
		s.reader = sse.NewReader(resp.Body, sse.ReaderConfig{MaxEventBytes: s.client.cfg.MaxResponseBytes})
		return nil
	}
	answer, err := readAll(resp, s.client.cfg.MaxResponseBytes)
	if err != nil && !errors.Is(err, ErrTooLarge) {
		return s.attempt.failure(err)
	}
	refusal := newError(resp.StatusCode, resp.Header, answer, s.secrets...)
	refusal.html = kind == "text/html"
	return refusal
}

// Next returns the next snapshot. It returns io.EOF after the one with End, an [*Error]
// where upstream sends one, [ErrTruncated], [ErrIdle], [*DecodeError], the context's error,
// or the reader's *sse.TooLargeError. After an error it returns the same again.
func (s *Stream) Next() (Snapshot, error) {
	switch {
	case s.first != nil:
		first := *s.first
		s.first = nil
		return first, nil
	case s.err != nil:
		return Snapshot{}, s.err
	case s.ended.Load():
		return Snapshot{}, io.EOF
	}
	for {
		event, err := s.read(s.client.cfg.IdleTimeout)
		if err != nil {
			return Snapshot{}, s.fail(s.broken(err))
		}
		if len(event.Data) == 0 {
			continue
		}
		if event.Type == "error" {
			return Snapshot{}, s.fail(newError(http.StatusOK, nil, event.Data, s.secrets...))
		}
		snapshot, err := s.decoder.Decode(event.Data)
		if err != nil {
			return Snapshot{}, s.fail(s.censor(err))
		}
		s.ended.Store(snapshot.End)
		return snapshot, nil
	}
}

// Snapshots ranges over the snapshots and closes the stream. After an error it ends; io.EOF
// is not reported.
func (s *Stream) Snapshots() iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		defer func() { _ = s.Close() }()
		for {
			snapshot, err := s.Next()
			if errors.Is(err, io.EOF) && !errors.Is(err, ErrTruncated) {
				return
			}
			if !yield(snapshot, err) || err != nil {
				return
			}
		}
	}
}

// Buffered reports whether a whole further snapshot is in memory already, so that a relay
// may put off flushing.
func (s *Stream) Buffered() bool { return s.first != nil || !s.ended.Load() && s.reader.Buffered() }

// Close ends the stream, cancelling upstream if it is still writing, and frees the
// connection; a running Next returns. A stream that has come to its end waits for upstream
// to close it, at most 100 ms, because then the connection can be used again. Close may be
// called more than once.
func (s *Stream) Close() error {
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
func (s *Stream) read(limit time.Duration) (sse.Event, error) {
	if !s.reader.Buffered() {
		s.idle.Reset(limit)
		defer s.idle.Stop()
	}
	return s.reader.Next()
}

// broken says why there is no further event.
func (s *Stream) broken(err error) error {
	_, tooLarge := errors.AsType[*sse.TooLargeError](err)
	switch {
	case s.attempt.caller() != nil:
		return s.attempt.failure(err)
	case errors.Is(s.attempt.cause(), ErrIdle):
		return fmt.Errorf("%w after %v", ErrIdle, s.client.cfg.IdleTimeout)
	case tooLarge:
		return fmt.Errorf("beebot: stream: %w", err)
	case errors.Is(err, io.EOF):
		return ErrTruncated
	}
	return fmt.Errorf("%w: %w", ErrTruncated, s.attempt.failure(err))
}

// censor takes the credentials of this stream out of what upstream says.
func (s *Stream) censor(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Code, e.Message = redact(e.Code, s.secrets), redact(e.Message, s.secrets)
	}
	return err
}

// drain reads what stands after the last frame, usually nothing.
func (s *Stream) drain() {
	for {
		if _, err := s.read(drainTimeout); err != nil {
			return
		}
	}
}

// fail remembers the end and frees the connection.
func (s *Stream) fail(err error) error {
	s.err = err
	_ = s.Close()
	return err
}

// StreamAccess is what lets somebody else, such as a browser, open one stream after another
// with the service itself.
type StreamAccess struct {
	// URL gives access to the account's robots until ExpiresAt.
	URL       sign.Secret
	ExpiresAt time.Time
	// Body is ready to be posted but for the utterance, and needs a message id of its own for
	// each question.
	Body json.RawMessage
}

// StreamAccess fetches credentials of their own, which no cache keeps, and builds address
// and body from them. The utterance may be empty.
func (c *Client) StreamAccess(ctx context.Context, req StreamRequest) (StreamAccess, error) {
	if err := req.validate(false); err != nil {
		return StreamAccess{}, err
	}
	if req.MessageID == "" {
		req.MessageID = c.cfg.NewID()
	}
	body, err := req.body()
	if err != nil {
		return StreamAccess{}, err
	}
	access, err := c.ApplyForStreamAccessToken(ctx)
	if err != nil {
		return StreamAccess{}, err
	}
	return StreamAccess{
		URL:       sign.NewSecret(access.address(c.streamURL, c.cfg.Now())),
		ExpiresAt: access.ExpiresAt, Body: body,
	}, nil
}

func mediaType(h http.Header) string {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.ToLower(strings.TrimSpace(kind))
}
