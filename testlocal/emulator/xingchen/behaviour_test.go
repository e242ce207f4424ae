package xingchen_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
)

// history reads rows of a user with a character, the oldest first; more is JSON for where.
func TestResultCount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.chat(chatBody(wan, "u", "随便说点什么吧", `"resultCount":3`))
	if len(got.Choices) != 3 || got.Choices[0].Messages[0].Content == got.Choices[1].Messages[0].Content {
		t.Errorf("choices: %+v", got.Choices)
	}
}

func TestMaxLength(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := strings.TrimSuffix(chatBody(wan, "u", "写500字"), "}")
	for parameters, want := range map[string]int{`{}`: 100, `{"maxLength":7}`: 7, `{"maxLength":900}`: 500} {
		got := b.chat(body + `,"parameters":` + parameters + `}`)
		reason := map[bool]string{true: "stop", false: "length"}[want == 500]
		if n := len([]rune(got.text())); n != want || got.Choices[0].StopReason != reason {
			t.Errorf("%s: %d characters, %s", parameters, n, got.Choices[0].StopReason)
		}
	}
}

func TestOneConversationAUser(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.faults.Set(fault.Rule{Fault: fault.Stall, AtFrame: 2, User: "u", Times: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	resp, err := b.client.Do(b.streamRequest(ctx, chatBody(wan, "u", "你今年多大")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := resp.Body.Read(make([]byte, 10)); n == 0 {
		t.Fatalf("no first frame: %v", err)
	}
	refusedWith(t, b.post("lm-local", "/v2/api/chat/send", chatBody(deskmate, "u", "hi")), 429, "aca.error.chat.parallel", "")
	if got := b.post("lm-local", "/v2/api/chat/send", chatBody(wan, "other", "hi")); got.Status != http.StatusOK {
		t.Errorf("another user: %s", got.Raw)
	}
	if got := b.post("lm-other", "/v2/api/chat/send", chatBody(teller, "u", "hi")); got.Status != http.StatusOK {
		t.Errorf("the same name in another account: %s", got.Raw)
	}
	leave()
	until(t, "the turn ends when the client leaves", func() bool {
		return b.post("lm-local", "/v2/api/chat/send", chatBody(wan, "u", "hi")).Status == http.StatusOK
	})
	if got := b.history(wan, "u", "").List[2].Content; got != "我今年17岁了,很快就要" && got != "我今年" {
		t.Errorf("stored %q of a broken answer", got)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *xingchen.Config) { cfg.Pace = 20 * time.Millisecond })
	long := strings.TrimSuffix(chatBody(wan, "u", "写5000字"), "}") + `,"parameters":{"maxLength":5000}}`
	resp, err := b.client.Do(b.streamRequest(t.Context(), long))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	start := make([]byte, 2048)
	n, err := resp.Body.Read(start)
	if err != nil {
		t.Fatal(err)
	}
	id := string(start[:n])
	id = id[strings.Index(id, `"sessionId":"`)+len(`"sessionId":"`):][:32]
	if got := b.post("lm-other", "/v2/api/chat/stop", `{"sessionId":"`+id+`"}`); string(got.Data) != "false" {
		t.Errorf("another account stops: %s", got.Raw)
	}
	if got := b.post("lm-local", "/v2/api/chat/stop", `{"sessionId":"`+id+`","content":"从前"}`); string(got.Data) != "true" {
		t.Errorf("stop: %s", got.Raw)
	}
	frames, err := readFrames(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if last := frames[len(frames)-1].result(t); !last.Stop || len([]rune(last.text())) > 2000 {
		t.Errorf("last frame: %+v", last)
	}
	if h := b.history(wan, "u", ""); h.List[2].Content != "从前" {
		t.Errorf("stored: %q", h.List[2].Content)
	}
	if got := b.post("lm-local", "/v2/api/chat/stop", `{"sessionId":"`+id+`"}`); string(got.Data) != "false" {
		t.Errorf("stop again: %s", got.Raw)
	}
}

func TestStreamWishes(t *testing.T) {
	t.Parallel()
	rows := []struct {
		service, header string
		strict, stream  bool
		refused         bool
	}{
		{"aca-chat-send-sse", "X-AcA-SSE", false, true, false},
		{"aca-chat-send-sse", "X-DashScope-SSE", false, true, false},
		{"aca-chat-send-sse", "", false, true, false},
		{"aca-chat-send", "X-AcA-SSE", false, true, false},
		{"aca-chat-send", "", false, false, false},
		{"aca-chat-send-sse", "X-AcA-SSE", true, true, false},
		{"aca-chat-send-sse", "", true, false, true},
		{"aca-chat-send", "X-DashScope-SSE", true, false, true},
		{"aca-chat-send", "", true, false, false},
	}
	for _, row := range rows {
		b := setup(t, assume(func(a *xingchen.Assumptions) { a.Strict = row.strict }))
		req := b.request(t.Context(), http.MethodPost, "/v2/api/chat/send", row.service, []byte(chatBody(wan, "u", "hi")))
		if row.header != "" {
			req.Header.Set(row.header, "enable")
		}
		got := b.do(req)
		if streamed := strings.HasPrefix(got.ContentType, "text/event-stream"); streamed != row.stream || (got.Status != 200) != row.refused {
			t.Errorf("%+v: status %d, %s", row, got.Status, got.ContentType)
		}
	}
}

func TestStreamSwitches(t *testing.T) {
	t.Parallel()
	incremental := strings.TrimSuffix(chatBody(wan, "u", "你今年多大"), "}") + `,"parameters":{"incrementalOutput":true}}`
	raw := func(body string, change func(*xingchen.Assumptions)) string {
		b := setup(t, assume(change))
		return string(b.do(b.streamRequest(t.Context(), body)).Raw)
	}
	for name, row := range map[string]struct {
		change func(*xingchen.Assumptions)
		want   string
	}{
		"Space":     {func(a *xingchen.Assumptions) { a.SpaceAfterData = true }, "data: {\"requestId\""},
		"Events":    {func(a *xingchen.Assumptions) { a.EventLines = true }, "event:success\ndata:{"},
		"Heartbeat": {func(a *xingchen.Assumptions) { a.Heartbeat = true }, ": heartbeat\ndata:{"},
		"Closing":   {func(a *xingchen.Assumptions) { a.EmptyClosingFrame = true }, `"content":"","finishReason":"stop"`},
		"Usage":     {func(a *xingchen.Assumptions) { a.UsageEverywhere = true }, `"stopReason":"null"}],"usage":{`},
	} {
		if got := raw(incremental, row.change); !strings.Contains(got, row.want) {
			t.Errorf("%s: no %q in\n%s", name, row.want, got)
		}
	}
	if got := raw(chatBody(wan, "u", "你今年多大"), func(a *xingchen.Assumptions) { a.IncrementalByDefault = true }); strings.Contains(got, "我今年17岁") {
		t.Errorf("increments by default:\n%s", got)
	}
}

func TestGroupChat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := func(setting, question string) string {
		return `{"input":{"messages":[{"role":"user","name":"小明","content":"大家好"},{"role":"user","name":"小红","content":"` + question + `"}],
			"aca":{"botProfiles":[{"name":"甲","content":"你是甲"},{"name":"乙","content":"你是乙"}],"replySetting":{` + setting + `},
			"userProfile":{"userId":"u"},"groupInfo":{"name":"群","description":""}}}}`
	}
	for _, row := range []struct{ setting, question, want string }{
		{``, "你是谁", "我是甲。"}, {``, "乙,你是谁", "我是乙。"}, {`"botName":"乙"`, "甲,你是谁", "我是乙。"},
	} {
		got := decodeData[chatData](t, b.post("lm-local", "/v2/api/groupchat/send", body(row.setting, row.question)))
		if got.text() != row.want || got.Context.IsSave {
			t.Errorf("%q: %q", row.question, got.text())
		}
	}
	refusedWith(t, b.post("lm-local", "/v2/api/groupchat/send", body(`"botName":"丙"`, "a")), 404, "aca.error.notfound", "丙")
	refusedWith(t, b.post("lm-local", "/v2/api/groupchat/send", `{"input":{"aca":{}}}`), 400, "aca.error.invalid.param", "botProfiles")
	refusedWith(t, b.post("lm-local", "/v2/api/groupchat/send", `{"input":{"aca":{"botProfiles":[{}]}}}`), 400, "aca.error.invalid.param", "messages")
}

// echo is a Replier of somebody else's.
type echo struct{ err error }

func (e echo) Reply(_ context.Context, p xingchen.Prompt) (string, error) {
	return "回声:" + p.Messages[len(p.Messages)-1].Content, e.err
}

func TestReplier(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *xingchen.Config) { cfg.Replier = echo{} })
	if got := b.chat(chatBody(wan, "u", "a|b")).text(); got != "回声:a|b" {
		t.Errorf("got %q", got)
	}
	broken := setup(t, func(cfg *xingchen.Config) { cfg.Replier = echo{err: errors.New("down")} })
	if got := broken.post("lm-local", "/v2/api/chat/send", chatBody(wan, "u", "a")); got.Status != 500 || strings.Contains(string(got.Raw), "down") {
		t.Errorf("status %d: %s", got.Status, got.Raw)
	}
}
