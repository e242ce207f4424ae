package chatapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/events"
	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator/fault"
)

// heard are the chat events of a front, by the answer's request id and the kind.
type heard struct {
	mu     sync.Mutex
	events map[string]jobs.ChatEvent
}

// PublishEvent implements events.Queue.
func (h *heard) PublishEvent(_ context.Context, subject, _ string, data []byte) error {
	var e jobs.Event
	var chat jobs.ChatEvent
	if err := errors.Join(json.Unmarshal(data, &e), json.Unmarshal(e.Data, &chat)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events[chat.RequestID+" "+strings.TrimPrefix(subject, jobs.EventPrefix)] = chat
	return nil
}

func (h *heard) of(t *testing.T, got reply, kind string) (event jobs.ChatEvent) {
	t.Helper()
	name := got.header.Get("X-Request-Id") + " " + kind
	until(t, "the event "+name+" is heard", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		var ok bool
		event, ok = h.events[name]
		return ok
	})
	return event
}

// TestCompletionEvents holds that conversations of OpenAI's clients are told like all others.
func TestCompletionEvents(t *testing.T) {
	t.Parallel()
	h := &heard{events: map[string]jobs.ChatEvent{}}
	publisher, err := events.New(events.Config{Queue: h, Source: "/xinghe/chat"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	f := setup(t, options{
		vars:      map[string]string{"BEEBOT_INSTANCES": robot + "=tongyi"},
		configure: func(_ string, cfg *chatapi.Config) { cfg.Events, cfg.EventText = publisher, true },
	})
	if err := f.emu.Faults().Set(fault.Rule{Fault: fault.Reset, AtFrame: 2, User: "broken"}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		model, user, text string
		stream            bool
		kind              string
		want              jobs.ChatEvent
		answer            string
	}{
		{
			"character:" + xiaowan, "u1", "写10字", false, jobs.EventChatCompleted,
			jobs.ChatEvent{Bot: "character:" + xiaowan, UserID: "u1", Usage: jobs.ChatUsage{OutputTokens: 10, UserTokens: 4}},
			"那天风很轻",
		},
		{
			"character:" + xiaowan, "u2", "写10字", true, jobs.EventChatCompleted,
			jobs.ChatEvent{Bot: "character:" + xiaowan, UserID: "u2", Stream: true, Usage: jobs.ChatUsage{OutputTokens: 10, UserTokens: 4}},
			"那天风很轻",
		},
		{
			"xingchen-plus", "", "写10字", true, jobs.EventChatCompleted,
			jobs.ChatEvent{Bot: "model:xingchen-plus", Anonymous: true, Stream: true, Usage: jobs.ChatUsage{OutputTokens: 10, UserTokens: 4}},
			"",
		},
		{
			"beebot:" + robot, "u3", "人工客服", true, jobs.EventHandoverRequested,
			jobs.ChatEvent{Bot: "beebot:" + robot, UserID: "u3", Stream: true, Handover: &jobs.ChatHandover{SkillGroup: "12"}},
			"正在为您转接人工客服",
		},
		{
			"beebot:" + robot, "u4", "公积金贷款", false, jobs.EventAnswerMissing,
			jobs.ChatEvent{Bot: "beebot:" + robot, UserID: "u4"},
			"我还没有学会这个问题",
		},
		{
			"character:" + xiaowan, "broken", "写10字", true, jobs.EventChatFailed,
			jobs.ChatEvent{Bot: "character:" + xiaowan, UserID: "broken", Stream: true, Usage: jobs.ChatUsage{Incomplete: true}, Error: &jobs.ChatError{Code: "upstream_truncated", Status: 502}},
			"那",
		},
	} {
		messages := `{"role":"user","content":` + fmt.Sprintf("%q", tc.text) + `}`
		if strings.HasPrefix(tc.model, "xingchen") {
			messages = `{"role":"system","content":"导游"},` + messages
		}
		got := f.complete(fmt.Sprintf(`{"model":%q,"user":%q,"stream":%t,"messages":[%s]}`, tc.model, tc.user, tc.stream, messages))
		e := h.of(t, got, tc.kind)
		if e.MessageID == "" || !strings.Contains(got.body, e.MessageID) || e.UpstreamRequestID == "" || e.Key == "" {
			t.Errorf("%+v, of %s", e, got.body)
		}
		if e.Usage.InputTokens == 0 && tc.kind == jobs.EventChatCompleted || e.Anonymous != strings.HasPrefix(e.UserID, "user_") {
			t.Errorf("%+v", e)
		}
		if e.Question != tc.text || !strings.HasPrefix(e.Text, tc.answer) {
			t.Errorf("asked %q, answered %q", e.Question, e.Text)
		}
		tc.want.Surface = jobs.SurfaceOpenAI
		if e.Anonymous {
			tc.want.UserID = e.UserID
		}
		ignored := cmpopts.IgnoreFields(jobs.ChatEvent{}, "RequestID", "MessageID", "SessionID", "UpstreamRequestID", "Key", "DurMs", "FirstMs", "ThrottledMs", "Source", "Question", "Text", "Usage.InputTokens")
		if diff := cmp.Diff(tc.want, e, ignored); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.kind, diff)
		}
	}
}
