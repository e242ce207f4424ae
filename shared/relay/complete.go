package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// errRewritten ends a stream whose client cannot be told what upstream now says instead.
var errRewritten = &httpapi.Error{
	Status: http.StatusBadGateway, Code: CodeRewritten,
	Detail: "upstream took back what it had said, which a stream cannot tell; ask again without stream",
}

// Complete makes the role chat for the request in hand and answers as OpenAI does. A call
// whose answer is to be streamed must ask upstream for increments.
func (x *Xingchen) Complete(w http.ResponseWriter, r *http.Request, call *xingchen.Call, c Completion, outcome *Outcome) error {
	if !c.Stream {
		reply, err := x.Ask(r, call, outcome)
		if err != nil {
			return err
		}
		return c.Tell(w, r, reply)
	}
	adopt(r, call)
	ctx, cancel := x.Disconnect.context(r.Context())
	defer cancel()
	out := newOutput(w, x.Heartbeat)
	defer out.stop()
	chunks := newChunks(out, c)
	err := x.tell(ctx, r, call, chunks, outcome)
	out.stop()
	outcome.First = out.first
	return chunks.end(r, x.refusal(r.Context(), err))
}

// reply waits for the whole answer.
func (x *Xingchen) reply(ctx context.Context, r *http.Request, call *xingchen.Call, outcome *Outcome) (Reply, error) {
	answer, err := x.Client.Do(ctx, call)
	if err != nil {
		return Reply{}, err
	}
	note(r, answer.Body)
	outcome.glance(answer.Body)
	var whole struct {
		Data xingchen.ChatResult `json:"data"`
	}
	err = json.Unmarshal(answer.Body, &whole)
	if err == nil && len(whole.Data.Choices) == 0 {
		err = errors.New("no choices")
	}
	if err != nil {
		return Reply{}, upstream.Malformed("xingchen", "chat answer", answer.Body, err)
	}
	reply := Reply{MessageID: outcome.MessageID, Usage: outcome.Usage}
	for _, choice := range whole.Data.Choices {
		one := xingchen.ChatResult{Choices: []xingchen.Choice{choice}}
		reply.Choices = append(reply.Choices, ReplyChoice{one.Text(), one.FinishReason()})
	}
	outcome.Text = whole.Data.Text()
	return reply, nil
}

// tell streams what upstream says, until it has ended.
func (x *Xingchen) tell(ctx context.Context, r *http.Request, call *xingchen.Call, chunks *chunks, outcome *Outcome) error {
	stream, err := x.Client.Open(ctx, call)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	var (
		gone  error
		last  []byte
		texts = increments{cumulative: x.Output == AlwaysCumulative}
	)
	for {
		event, err := stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return errors.Join(gone, finishWith(chunks, last, outcome))
		case err != nil:
			return errors.Join(gone, err)
		}
		if last == nil {
			note(r, event.Data)
			outcome.glance(event.Data)
			if err := chunks.begin(r, outcome.MessageID, ""); err != nil {
				return err
			}
		}
		last = event.Data
		text, err := texts.of(event.Data)
		if err != nil {
			return errors.Join(gone, err)
		}
		chunks.say(text)
		if x.Text {
			outcome.Text += spelled(text)
		}
		if stream.Buffered() || bytes.Contains(last, []byte(`"stop":true`)) {
			continue // more is there, or the end, to go out with it
		}
		if gone = chunks.out.send(); gone != nil && x.Disconnect.Drain <= 0 {
			return gone
		}
	}
}

// finishWith tells what stands in the last frame of a stream beside its text.
func finishWith(chunks *chunks, last []byte, outcome *Outcome) error {
	outcome.glance(last)
	var frame xingchen.ChatResult
	if err := json.Unmarshal(last, &frame); err != nil {
		return upstream.Malformed("xingchen", "chat frame", last, err)
	}
	return chunks.finish(frame.FinishReason(), outcome.Usage)
}

// increments find what is new in each frame of a stream.
type increments struct {
	cumulative bool   // frames repeat what was said before
	said       string // before
}

// of returns the new text of a frame as a JSON string. It is cut out of the frame if it
// stands there in that form, and else decoded.
func (i *increments) of(frame []byte) ([]byte, error) {
	if text, ok := quoted(frame); ok && !i.cumulative {
		return text, nil
	}
	var result xingchen.ChatResult
	if err := json.Unmarshal(frame, &result); err != nil {
		return nil, upstream.Malformed("xingchen", "chat frame", frame, err)
	}
	text := result.Text()
	if i.cumulative {
		extends := false
		before := i.said
		i.said = text
		if text, extends = strings.CutPrefix(text, before); !extends {
			return nil, errRewritten
		}
	}
	return encodeText(text)
}

// quoted returns the only text of a frame with its quotation marks. It is not ok if that
// could not stand in another document as it is.
func quoted(frame []byte) (text []byte, ok bool) {
	at := bytes.Index(frame, contentField)
	if at < 0 {
		return nil, false
	}
	start := at + len(contentField) - 1
	end := endOfString(frame, start)
	if end < 0 || bytes.Contains(frame[end:], contentField) {
		return nil, false
	}
	text = frame[start:end]
	return text, sound(text)
}

// sound reports whether a JSON string is one.
func sound(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return utf8.Valid(text) && json.Valid(text)
		}
	}
	return utf8.Valid(text)
}

// spelled is what a JSON string says.
func spelled(text []byte) string {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return ""
	}
	return s
}

// Complete asks a robot for the request in hand and answers as OpenAI does. What it offers
// to choose from follows its text, a line each.
func (b *Beebot) Complete(w http.ResponseWriter, r *http.Request, robot beebot.Robot, req beebot.StreamRequest, c Completion, outcome *Outcome) error {
	if !c.Stream || robot.Classic {
		reply, err := b.Ask(r, robot, req, outcome)
		if err != nil {
			return err
		}
		return c.Tell(w, r, reply)
	}
	req.InstanceID = robot.ID
	ctx, cancel := b.Disconnect.context(r.Context())
	defer cancel()
	out := newOutput(w, b.Heartbeat)
	defer out.stop()
	chunks := newChunks(out, c)
	err := b.tell(ctx, r, req, chunks, outcome)
	out.stop()
	outcome.First = out.first
	return chunks.end(r, Refusal(r.Context(), err))
}

// tell streams what is new in each snapshot, until the robot has ended.
func (b *Beebot) tell(ctx context.Context, r *http.Request, req beebot.StreamRequest, chunks *chunks, outcome *Outcome) error {
	snapshots, err := b.Client.Stream(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = snapshots.Close() }()
	var (
		answer BeebotAnswer
		gone   error
	)
	for {
		snapshot, err := snapshots.Next()
		switch {
		case errors.Is(err, io.EOF):
			err := chunks.sayText(answer.Clarify.lines(answer.Text))
			return errors.Join(gone, err, chunks.finish("", outcome.Usage))
		case err != nil:
			return errors.Join(gone, err)
		}
		answer.take(r, snapshot)
		outcome.take(&answer, snapshot)
		if snapshot.Replace {
			return errors.Join(gone, errRewritten)
		}
		if err := errors.Join(chunks.begin(r, answer.MessageID, answer.SessionID), chunks.sayText(snapshot.Delta)); err != nil {
			return err
		}
		if snapshot.End || snapshots.Buffered() {
			continue // more is there to go out with it
		}
		if gone = chunks.out.send(); gone != nil && b.Disconnect.Drain <= 0 {
			return gone
		}
	}
}

// lines are the options, each on a line of its own, below a text.
func (c *BeebotClarify) lines(above string) string {
	if c == nil {
		return ""
	}
	return OptionLines(above, c.Options)
}

// OptionLines lists what a robot offers to choose from, each on a line of its own, to stand
// below a text that may be empty.
func OptionLines(above string, options []string) string {
	lines := "- " + strings.Join(options, "\n- ")
	switch {
	case len(options) == 0:
		return ""
	case above != "":
		return "\n" + lines
	}
	return lines
}
