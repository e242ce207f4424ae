package beebot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"xinghe/shared/sign"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
)

const (
	streamAction = "TongyiBeebotChat"
	streamPath   = "/sse/paas4Json/"
)

// Stream is an answer that arrives in snapshots. It is for one goroutine, but Close may be
// called from any.
type Stream struct {
	// ID is the message id under which the question was sent.
	ID string

	frames  *upstream.Stream
	secrets []sign.Secret
	decoder Decoder
	current Snapshot // of the last frame
	opening bool     // it was read while opening and has not been handed out
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
	s := &Stream{secrets: []sign.Secret{access.Token, access.ChannelID, access.Secret}, opening: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, access.address(c.streamURL, c.cfg.Now()), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("beebot: %s: %w", streamAction, sign.RedactError(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	if s.frames, err = c.service.Open(req, streamAction, s.refused, s.inspect); err != nil {
		return nil, err
	}
	if _, err := s.frames.Next(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Stream) refused(status int, header http.Header, body []byte) error {
	e := newError(status, header, body, s.secrets...)
	e.html = upstream.MediaType(header) == "text/html"
	return e
}

// inspect decodes a frame.
func (s *Stream) inspect(_ http.Header, event sse.Event) (upstream.Verdict, error) {
	if len(event.Data) == 0 {
		return upstream.Skip, nil
	}
	if event.Type == "error" {
		return upstream.Skip, newError(http.StatusOK, nil, event.Data, s.secrets...)
	}
	var err error
	s.current, err = s.decoder.Decode(event.Data)
	switch {
	case err != nil:
		return upstream.Skip, s.censor(err)
	case s.current.End:
		return upstream.Last, nil
	}
	return upstream.Keep, nil
}

// Next returns the next snapshot, and io.EOF after the one with End. Errors are an [*Error]
// where upstream sends one, [*upstream.DecodeError], and those of [upstream.Stream.Next].
// After an error it returns the same again.
func (s *Stream) Next() (Snapshot, error) {
	if s.opening {
		s.opening = false
		return s.current, nil
	}
	if _, err := s.frames.Next(); err != nil {
		return Snapshot{}, err
	}
	return s.current, nil
}

// Snapshots is [upstream.All] of the snapshots.
func (s *Stream) Snapshots() iter.Seq2[Snapshot, error] { return upstream.All(s) }

// Buffered reports whether a whole further snapshot is in memory already, so that a relay
// may put off flushing.
func (s *Stream) Buffered() bool { return s.opening || s.frames.Buffered() }

// Close is that of [upstream.Stream].
func (s *Stream) Close() error { return s.frames.Close() }

// censor takes the credentials of this stream out of what upstream says.
func (s *Stream) censor(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Code, e.Message = redact(e.Code, s.secrets), redact(e.Message, s.secrets)
	}
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
