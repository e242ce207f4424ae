package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/sse"
)

// BeebotAnswer is a robot's answer when it is whole: the JSON of POST
// /v1/beebot/{instanceId}/chat, and the data of its event:done.
type BeebotAnswer struct {
	RequestID   string           `json:"requestId"`
	SessionID   string           `json:"sessionId"`
	MessageID   string           `json:"messageId"`
	Text        string           `json:"text"`
	ContentType string           `json:"contentType"`
	Source      string           `json:"source"`
	End         bool             `json:"end"`
	Handover    *beebot.Handover `json:"handover"`
	// Clarify stands where the robot asks back.
	Clarify *BeebotClarify `json:"clarify,omitempty"`
}

// BeebotClarify is a question back to the visitor.
type BeebotClarify struct {
	Title   string   `json:"title"`
	Content string   `json:"content"`
	Options []string `json:"options"`
}

// Beebot relays conversations with robots.
type Beebot struct {
	Client *beebot.Client
	// Heartbeat is the longest silence of a stream; none if it is not positive.
	Heartbeat time.Duration
	// Disconnect says what becomes of a conversation whose client has left.
	Disconnect Disconnect
}

// Serve asks the robot for the request in hand, and answers with JSON or, if stream is
// set, with events: delta and replace with {"text"}, then done with the whole answer, or
// error with a problem. Robots tell no usage.
func (b *Beebot) Serve(w http.ResponseWriter, r *http.Request, req beebot.StreamRequest, stream bool, outcome *Outcome) error {
	ctx, cancel := b.Disconnect.context(r.Context())
	defer cancel()
	if stream {
		return b.stream(ctx, w, r, req, outcome)
	}
	answer, err := b.collect(ctx, r, req, outcome)
	if err != nil {
		return Refusal(r.Context(), err)
	}
	return httpapi.WriteJSON(w, http.StatusOK, answer)
}

// collect waits for the whole answer.
func (b *Beebot) collect(ctx context.Context, r *http.Request, req beebot.StreamRequest, outcome *Outcome) (BeebotAnswer, error) {
	var answer BeebotAnswer
	snapshots, err := b.Client.Stream(ctx, req)
	if err != nil {
		return answer, err
	}
	defer func() { _ = snapshots.Close() }()
	for {
		snapshot, err := snapshots.Next()
		if errors.Is(err, io.EOF) {
			return answer, nil
		}
		if err != nil {
			return answer, err
		}
		answer.take(r, snapshot)
		outcome.take(&answer, snapshot)
	}
}

func (b *Beebot) stream(ctx context.Context, w http.ResponseWriter, r *http.Request, req beebot.StreamRequest, outcome *Outcome) error {
	out := newOutput(w, b.Heartbeat)
	defer out.stop()
	snapshots, err := b.Client.Stream(ctx, req)
	if err == nil {
		defer func() { _ = snapshots.Close() }()
		err = b.pass(r, snapshots, out, outcome)
	}
	out.stop()
	outcome.First = out.first
	switch {
	case err == nil:
		return out.send()
	case errors.Is(err, context.Canceled), errors.Is(err, errLeft):
		return err
	}
	refusal := Refusal(r.Context(), err) //nolint:contextcheck // told of the client's request, not of the call upstream
	if !out.begun() {
		return refusal
	}
	call := httpapi.CallFrom(r.Context()) //nolint:contextcheck // told of the client's request, not of the call upstream
	if err := add(out, "error", httpapi.ProblemBody(call.ID, httpapi.AsError(refusal))); err == nil {
		_ = out.send() // the client may be gone; the log says what happened
	}
	return fmt.Errorf("%w: %w", httpapi.ErrStreamBegun, refusal)
}

// pass hands on what is new in each snapshot, until the robot has ended.
func (b *Beebot) pass(r *http.Request, snapshots *beebot.Stream, out *output, outcome *Outcome) error {
	var answer BeebotAnswer
	var gone error
	for {
		snapshot, err := snapshots.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(gone, add(out, "done", answer))
		}
		if err != nil {
			return errors.Join(gone, err)
		}
		answer.take(r, snapshot)
		outcome.take(&answer, snapshot)
		if err := addText(out, snapshot); err != nil {
			return err
		}
		if snapshot.End || snapshots.Buffered() {
			continue // more is there to go out with it
		}
		if gone = out.send(); gone != nil && b.Disconnect.Drain <= 0 {
			return gone
		}
	}
}

// take brings the answer up to a snapshot.
func (a *BeebotAnswer) take(r *http.Request, s beebot.Snapshot) {
	call := httpapi.CallFrom(r.Context())
	call.SetUpstreamID(s.RequestID)
	a.RequestID, a.SessionID, a.MessageID = call.ID, s.SessionID, s.MessageID
	a.Text, a.End = s.Text, s.End
	if s.ContentType != "" {
		a.ContentType = s.ContentType
	}
	if s.Source != "" {
		a.Source = s.Source
	}
	if s.Handover != nil {
		a.Handover = s.Handover
	}
	if s.Clarify != nil {
		a.Clarify = &BeebotClarify{Title: s.Clarify.Title, Content: s.Clarify.Content, Options: s.Clarify.Options}
	}
}

// take brings the outcome up to a snapshot.
func (o *Outcome) take(answer *BeebotAnswer, s beebot.Snapshot) {
	o.MessageID, o.SessionID, o.Text = answer.MessageID, answer.SessionID, answer.Text
	o.Source, o.Handover = answer.Source, answer.Handover
	o.NoAnswer = o.NoAnswer || s.NoAnswer || strings.EqualFold(s.Source, beebot.SourceNoAnswer)
	o.Sensitive = o.Sensitive || strings.EqualFold(s.Source, beebot.SourceSensitiveWord)
}

func addText(out *output, s beebot.Snapshot) error {
	kind := "delta"
	switch {
	case s.Replace:
		kind = "replace"
	case s.Delta == "":
		return nil
	}
	return add(out, kind, struct {
		Text string `json:"text"`
	}{s.Delta})
}

func add(out *output, kind string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", kind, err)
	}
	out.add(&sse.Event{Type: kind, Data: data})
	return nil
}
