package xingchentest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"xinghe/shared/xingchen"
)

// question asks for an answer that is long enough to come in several frames.
const question = "请写60字介绍一下你自己。"

// form is how an answer is asked for.
type form int

const (
	whole form = iota
	cumulative
	incremental
)

// request is a chat with the platform character. Each call has a seed of its own, as
// xingchen-plus-v2 wants it, unless the check gives one.
func (s *session) request(user, text string, f form) xingchen.ChatRequest {
	return xingchen.ChatRequest{
		Input: xingchen.ChatInput{
			Messages: []xingchen.Message{{Role: "user", Content: text}},
			ACA: xingchen.ACA{
				BotProfile:  xingchen.BotProfile{CharacterID: s.CharacterID},
				UserProfile: xingchen.UserProfile{UserID: s.user(user), UserName: "小明"},
			},
		},
		Model:      s.Model,
		Parameters: &xingchen.Parameters{IncrementalOutput: f == incremental},
	}
}

func (s *session) customRequest(user string) xingchen.ChatRequest {
	req := s.request(user, question, cumulative)
	req.Input.ACA.BotProfile = xingchen.BotProfile{Name: "海梦", Content: "你是海梦,一个开朗的高中生,喜欢拍照和缝纫。"}
	return req
}

// said is an answer put together, whatever form it came in.
type said struct {
	text   string
	result *xingchen.ChatResult // the whole answer, or the last frame
}

// ask chats in the given form and checks what must hold of every answer in it.
func (s *session) ask(ctx context.Context, req xingchen.ChatRequest, f form) (said, error) {
	if f == whole {
		return s.askWhole(ctx, req)
	}
	stream, err := s.Client.Stream(ctx, req)
	if err != nil {
		return said{}, fmt.Errorf("stream: %w", err)
	}
	var (
		found  findings
		answer said
		frame  int
	)
	for result, err := range stream.Frames() {
		frame++
		if err != nil {
			return said{}, fmt.Errorf("frame %d: %w", frame, err)
		}
		text := result.Text()
		if f == incremental {
			text = answer.text + text
		}
		found.expect(strings.HasPrefix(text, answer.text), "frame %d: text %q does not begin with the one before, %q", frame, text, answer.text)
		found.expect(result.RequestID != "", "frame %d: no request id", frame)
		answer = said{text: text, result: result}
	}
	if answer.result == nil {
		return said{}, fmt.Errorf("stream: no frame")
	}
	found.expect(answer.result.Stop, "last frame: stop is false")
	found.complete(answer)
	return answer, found.err()
}

func (s *session) askWhole(ctx context.Context, req xingchen.ChatRequest) (said, error) {
	result, err := s.Client.Chat(ctx, req)
	if err != nil {
		return said{}, fmt.Errorf("chat: %w", err)
	}
	var found findings
	answer := said{text: result.Text(), result: result}
	found.expect(result.Stop, "whole answer: stop is false")
	found.expect(result.RequestID != "", "whole answer: no request id")
	found.expect(result.Usage != nil && result.Usage.OutputTokens > 0 && result.Usage.InputTokens > 0, "whole answer: usage %+v lacks tokens", result.Usage)
	for _, choice := range result.Choices {
		for _, message := range choice.Messages {
			found.expect(message.Role == "assistant", "whole answer: role %q, want assistant", message.Role)
		}
	}
	found.complete(answer)
	return answer, found.err()
}

// complete checks what holds of an answer that has ended.
func (f *findings) complete(answer said) {
	f.expect(answer.text != "", "the answer has no text")
	reason := answer.result.FinishReason()
	f.expect(reason == "stop" || reason == "length", "finish reason %q, want stop or length", reason)
	f.expect(answer.result.Context.Answer() != "", "the context has neither answerId nor messageId")
}

func answersInTheEnvelope(ctx context.Context, s *session) error {
	route, _ := xingchen.RouteFor(http.MethodPost, "/v2/api/character/search")
	answer, err := s.Client.Do(ctx, &xingchen.Call{Route: route, Body: []byte(`{"where":{"scope":"my"},"orderBy":["gmtModified desc"],"pageNum":1,"pageSize":10}`)})
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	var envelope struct {
		RequestID string          `json:"requestId"`
		Code      int             `json:"code"`
		Data      json.RawMessage `json:"data"`
		Success   bool            `json:"success"`
	}
	if err := json.Unmarshal(answer.Body, &envelope); err != nil {
		return fmt.Errorf("decode envelope: %w", err)
	}
	var found findings
	found.expect(answer.Status == http.StatusOK, "status %d, want 200", answer.Status)
	found.expect(envelope.RequestID != "", "envelope: no requestId")
	found.expect(envelope.Code == 200 && envelope.Success, "envelope: code %d and success %v, want 200 and true", envelope.Code, envelope.Success)
	found.expect(len(envelope.Data) > 0, "envelope: no data")
	return found.err()
}

func answersWhole(ctx context.Context, s *session) error {
	_, err := s.ask(ctx, s.request("whole", question, whole), whole)
	return err
}

func streamsTheWholeTextSoFar(ctx context.Context, s *session) error {
	_, err := s.ask(ctx, s.request("cumulative", question, cumulative), cumulative)
	return err
}

func streamsIncrements(ctx context.Context, s *session) error {
	_, err := s.ask(ctx, s.request("incremental", question, incremental), incremental)
	return err
}

func saysTheSameInEveryForm(ctx context.Context, s *session) error {
	if !s.Reproducible {
		return skipped("the words of this target are not reproducible; KeepsTheConversation compares each form with the history")
	}
	seed := int64(20240520)
	texts := make(map[form]string)
	for _, f := range []form{whole, cumulative, incremental} {
		req := s.request(fmt.Sprintf("same-%d", f), question, f)
		req.Parameters.Seed = &seed
		answer, err := s.ask(ctx, req, f)
		if err != nil {
			return err
		}
		texts[f] = answer.text
	}
	var found findings
	found.expect(texts[cumulative] == texts[whole], "cumulative stream ended with %q, the whole answer is %q", texts[cumulative], texts[whole])
	found.expect(texts[incremental] == texts[whole], "increments join to %q, the whole answer is %q", texts[incremental], texts[whole])
	return found.err()
}

func playsACustomCharacter(ctx context.Context, s *session) error {
	_, err := s.ask(ctx, s.customRequest("custom"), whole)
	return err
}

func streamsACustomCharacter(ctx context.Context, s *session) error {
	_, err := s.ask(ctx, s.customRequest("custom-stream"), cumulative)
	return err
}
