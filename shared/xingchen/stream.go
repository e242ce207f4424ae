package xingchen

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"xinghe/shared/upstream"
)

// Stream is an answer that arrives in frames. It is for one goroutine, but Close may be
// called from any.
type Stream struct {
	events *upstream.Stream
}

// Stream asks for an answer in frames. Whether a frame holds the whole text so far or only
// what is new is the caller's choice: [Parameters].IncrementalOutput. It follows Xingchen
// HTTP API, role chat, section "stream". The context bounds the whole stream; the caller
// must Close what it returns.
func (c *Client) Stream(ctx context.Context, req ChatRequest, opts ...CallOption) (*Stream, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("xingchen: encode request: %w", err)
	}
	call := &Call{Route: routeChat, Body: body}
	for _, opt := range opts {
		opt(call)
	}
	events, err := c.Open(ctx, call)
	if err != nil {
		return nil, err
	}
	return &Stream{events: events}, nil
}

// Next returns the next frame, and io.EOF after the one with Stop. Errors are an [*Error]
// where upstream sends one, [*upstream.DecodeError], and those of [upstream.Stream.Next].
func (s *Stream) Next() (*ChatResult, error) {
	event, err := s.events.Next()
	if err != nil {
		return nil, err
	}
	result := new(ChatResult)
	if err := json.Unmarshal(event.Data, result); err != nil {
		return nil, s.events.Fail(upstream.Malformed(name, "chat frame", event.Data, err))
	}
	return result, nil
}

// Frames is [upstream.All] of the frames.
func (s *Stream) Frames() iter.Seq2[*ChatResult, error] { return upstream.All(s) }

// Close ends the stream, cancelling upstream if it is still writing. It may be called more
// than once.
func (s *Stream) Close() error { return s.events.Close() }
