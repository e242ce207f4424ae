package beebottest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/sign"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
)

func handsOutStreamCredentials(ctx context.Context, s *session) error {
	access, err := s.Client.ApplyForStreamAccessToken(ctx)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	var found findings
	found.expect(!access.Token.IsZero() && !access.ChannelID.IsZero() && !access.Secret.IsZero(), "AccessToken, ChannelId or StreamSecret is empty")
	found.expect(access.RequestID != "", "no RequestId")
	return found.err()
}

func (s *session) streamRequest(sender, utterance, sessionID string) beebot.StreamRequest {
	return beebot.StreamRequest{InstanceID: s.InstanceID, Utterance: utterance, SessionID: sessionID, SenderID: s.sender(sender)}
}

// streamsTwoTurnsOfOneSession carries the session of the first answer into the second
// question.
func streamsTwoTurnsOfOneSession(ctx context.Context, s *session) error {
	var found findings
	sessionID := ""
	for turn, utterance := range s.Questions {
		a := answer{what: fmt.Sprintf("turn %d", turn+1), found: &found}
		stream, err := s.Client.Stream(ctx, s.streamRequest("stream", utterance, sessionID))
		if err != nil {
			return errors.Join(found.err(), fmt.Errorf("%s: %w", a.what, err))
		}
		for snapshot, err := range stream.Snapshots() {
			if err != nil {
				return errors.Join(found.err(), fmt.Errorf("%s, after frame %d: %w", a.what, a.frames, err))
			}
			a.take(snapshot)
		}
		a.finish()
		found.expect(sessionID == "" || a.last.SessionID == sessionID, "%s: session %q, the request named %q", a.what, a.last.SessionID, sessionID)
		sessionID = a.last.SessionID
	}
	return found.err()
}

// answer follows the snapshots of one stream.
type answer struct {
	what   string
	found  *findings
	frames int
	joined string
	last   beebot.Snapshot
}

// take checks what holds from one frame to the next: text grows, or is said to be replaced.
func (a *answer) take(s beebot.Snapshot) {
	a.frames++
	at := fmt.Sprintf("%s, frame %d", a.what, a.frames)
	if a.frames > 1 {
		a.found.expect(!a.last.End, "%s: comes after the frame with StreamEnd", at)
		a.found.expect(s.SessionID == a.last.SessionID, "%s: session %q, before it was %q", at, s.SessionID, a.last.SessionID)
		a.found.expect(s.MessageID == a.last.MessageID, "%s: message %q, before it was %q", at, s.MessageID, a.last.MessageID)
	}
	a.found.expect(s.SessionID != "" && s.MessageID != "" && s.SequenceID != "", "%s: SessionId, MessageId or SequenceId is empty", at)
	a.found.expect(s.RequestID != "", "%s: no requestId", at)
	a.found.expect(s.Replace || strings.HasPrefix(s.Text, a.last.Text), "%s: text %q does not begin with the one before, %q", at, s.Text, a.last.Text)
	if s.Replace {
		a.joined = ""
	}
	a.joined += s.Delta
	a.found.expect(a.joined == s.Text, "%s: deltas join to %q, the text is %q", at, a.joined, s.Text)
	a.last = s
}

// finish checks what holds of an answer that has ended.
func (a *answer) finish() {
	a.found.expect(a.last.End, "%s: the last of %d frames lacks StreamEnd", a.what, a.frames)
	said := a.last.Text != "" || a.last.Handover != nil || a.last.Clarify != nil
	a.found.expect(said, "%s: the answer says nothing, asks nothing and hands over to nobody", a.what)
}

// streamsToAPlainPost does what a browser would do with the address and body that it is
// given, and reads the frames as they are on the wire.
func streamsToAPlainPost(ctx context.Context, s *session) error {
	request := s.streamRequest("post", s.Questions[0], "")
	request.MessageID = s.sender("message")
	access, err := s.Client.StreamAccess(ctx, request)
	if err != nil {
		return fmt.Errorf("stream access: %w", err)
	}
	var found findings
	found.expect(access.ExpiresAt.After(time.Now()), "stream access: expires at %v", access.ExpiresAt)
	resp, err := s.post(ctx, access)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		return fmt.Errorf("post: status %d with media type %q, want a stream", resp.StatusCode, kind)
	}
	a := answer{what: "post", found: &found}
	var decoder beebot.Decoder
	for event, err := range sse.NewReader(resp.Body, sse.ReaderConfig{}).Events() {
		if err != nil {
			return errors.Join(found.err(), fmt.Errorf("post, after frame %d: %w", a.frames, err))
		}
		snapshot, err := decoder.Decode(event.Data)
		if err != nil {
			return errors.Join(found.err(), fmt.Errorf("post, after frame %d: %w", a.frames, err))
		}
		a.take(snapshot)
		found.envelope(event.Data, request.MessageID, a.frames)
		if snapshot.End { // the connection may stay open
			break
		}
	}
	a.finish()
	return found.err()
}

// post keeps the address, which gives access, out of errors.
func (s *session) post(ctx context.Context, access beebot.StreamAccess) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, access.URL.Reveal(), bytes.NewReader(access.Body))
	if err != nil {
		return nil, errors.New("stream access: the address is none")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.Transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("post: %w", sign.RedactError(err))
	}
	return resp, nil
}

// envelope checks what stands around the value of a frame.
func (f *findings) envelope(data []byte, messageID string, frame int) {
	var envelope struct {
		Success   bool   `json:"success"`
		MessageID string `json:"messageId"`
		Data      []struct {
			Type string `json:"type"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		f.expect(false, "post, frame %d: envelope: %w", frame, err)
		return
	}
	f.expect(envelope.Success, "post, frame %d: success is not true", frame)
	f.expect(envelope.MessageID == messageID, "post, frame %d: messageId %q, the request's was %q", frame, envelope.MessageID, messageID)
	f.expect(len(envelope.Data) > 0 && envelope.Data[0].Type == "JSON_TEXT", "post, frame %d: data does not begin with a JSON_TEXT", frame)
}

// refusesAnUnknownRobot takes both answers that the documents name: not found, and a
// parameter that is not valid.
func refusesAnUnknownRobot(ctx context.Context, s *session) error {
	request := s.streamRequest("lost", s.Questions[0], "")
	request.InstanceID = s.unknownRobot()
	stream, err := s.Client.Stream(ctx, request)
	if err == nil {
		for _, frameErr := range stream.Snapshots() {
			err = frameErr
		}
	}
	var found findings
	found.refusal(err, "stream of an unknown robot", upstream.KindNotFound, upstream.KindInvalid)
	return found.err()
}

func refusesAWrongSecret(ctx context.Context, s *session) error {
	if s.WrongSecret == nil {
		return skipped("the target has no client with a wrong secret")
	}
	var found findings
	_, err := s.WrongSecret.ApplyForStreamAccessToken(ctx)
	found.refusal(err, "apply with a wrong secret", upstream.KindUnauthorized)
	return found.err()
}

// stopsALongUtteranceAtHome counts characters, not bytes.
func stopsALongUtteranceAtHome(ctx context.Context, s *session) error {
	fits := strings.Repeat("问", beebot.MaxUtterance)
	long := fits + "?"
	var found findings
	stream, err := s.Client.Stream(ctx, s.streamRequest("long", long, ""))
	if err == nil {
		_ = stream.Close()
	}
	found.local(err, "utterance", "stream")
	_, err = s.Client.StreamAccess(ctx, s.streamRequest("long", long, ""))
	found.local(err, "utterance", "stream access")
	_, err = s.Client.Chat(ctx, beebot.ChatRequest{InstanceID: s.InstanceID, Utterance: long})
	found.local(err, "utterance", "chat")
	err = s.streamRequest("long", fits, "").Validate()
	found.expect(err == nil, "an utterance of %d characters: %w", beebot.MaxUtterance, orNone(err))
	return found.err()
}
