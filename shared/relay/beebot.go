package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

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
}

// Serve asks the robot for the request in hand, and answers with JSON or, if stream is
// set, with events: delta and replace with {"text"}, then done with the whole answer, or
// error with a problem.
func (b Beebot) Serve(w http.ResponseWriter, r *http.Request, req beebot.StreamRequest, stream bool) error {
	snapshots, err := b.Client.Stream(r.Context(), req)
	if err != nil {
		return Refusal(r.Context(), err)
	}
	defer func() { _ = snapshots.Close() }()
	if stream {
		return b.stream(w, r, snapshots)
	}
	var answer BeebotAnswer
	for {
		snapshot, err := snapshots.Next()
		if errors.Is(err, io.EOF) {
			return httpapi.WriteJSON(w, http.StatusOK, answer)
		}
		if err != nil {
			return Refusal(r.Context(), err)
		}
		answer.take(r, snapshot)
	}
}

func (b Beebot) stream(w http.ResponseWriter, r *http.Request, snapshots *beebot.Stream) error {
	out := eventWriter{w: w, frame: buffers.Get().(*[]byte)}
	defer buffers.Put(out.frame)
	out.flush = httpapi.BeginStream(w)
	var answer BeebotAnswer
	for {
		snapshot, err := snapshots.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(out.send("done", answer), out.flush())
		}
		if err != nil {
			refusal := Refusal(r.Context(), err)
			call := httpapi.CallFrom(r.Context())
			if out.send("error", httpapi.ProblemBody(call.ID, httpapi.AsError(refusal))) == nil {
				_ = out.flush() // the client may be gone; the log says what happened
			}
			return fmt.Errorf("%w: %w", httpapi.ErrStreamBegun, refusal)
		}
		answer.take(r, snapshot)
		if err := out.text(snapshot); err != nil {
			return err
		}
		if snapshots.Buffered() {
			continue
		}
		if err := out.flush(); err != nil {
			return err
		}
	}
}

// take brings the answer up to a snapshot.
func (a *BeebotAnswer) take(r *http.Request, s beebot.Snapshot) {
	call := httpapi.CallFrom(r.Context())
	call.UpstreamID = s.RequestID
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

// eventWriter writes named events, one write each.
type eventWriter struct {
	w     http.ResponseWriter
	frame *[]byte
	flush func() error
}

func (e eventWriter) text(s beebot.Snapshot) error {
	kind := "delta"
	switch {
	case s.Replace:
		kind = "replace"
	case s.Delta == "":
		return nil
	}
	return e.send(kind, struct {
		Text string `json:"text"`
	}{s.Delta})
}

func (e eventWriter) send(kind string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", kind, err)
	}
	*e.frame = sse.AppendEvent((*e.frame)[:0], sse.Event{Type: kind, Data: data})
	if _, err := e.w.Write(*e.frame); err != nil {
		return fmt.Errorf("write event %s: %w", kind, err)
	}
	return nil
}
