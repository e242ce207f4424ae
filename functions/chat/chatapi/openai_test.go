package chatapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/turn"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
)

// TestCompletion holds that a character, a persona that the client brings along, and robots
// of both editions answer, whole and streamed, with the same words.
func TestCompletion(t *testing.T) {
	t.Parallel()
	classic := setup(t, options{vars: map[string]string{"BEEBOT_INSTANCES": robot + "=classic"}})
	f := setup(t, options{})
	for name, tc := range map[string]struct {
		f               *front
		model, messages string
		text            string
		session         bool
		usage           usage
	}{
		"a character": {f: f, model: "character:" + xiaowan, messages: `[{"role":"user","content":"写10字"}]`, usage: usage{CompletionTokens: 10}},
		"a persona": {
			f: f, model: "xingchen-plus", messages: `[{"role":"system","content":"你是一位热情的导游"},{"role":"user","content":"你是谁"}]`,
			text: "我是assistant。", usage: usage{CompletionTokens: 12},
		},
		"a robot": {
			f: f, model: "beebot:" + robot, messages: `[{"role":"user","content":"谢谢你"}]`, text: "能为您服务是我的荣幸~", session: true, usage: usage{Incomplete: true},
		},
		"a robot that generates": {
			f: f, model: "beebot:" + robot, messages: `[{"role":"user","content":"你有什么技能?"}]`, session: true, usage: usage{Incomplete: true},
		},
		"a classic robot": {
			f: classic, model: "beebot:" + robot, messages: `[{"role":"user","content":"谢谢你"}]`, text: "能为您服务是我的荣幸~", session: true, usage: usage{Incomplete: true},
		},
		"a classic robot that lets choose": {
			f: classic, model: "beebot:" + robot, messages: `[{"role":"user","content":"公积金"}]`,
			text: "请问你说的是公积金查询,还是公积金提取\n- 公积金查询\n- 公积金提取", session: true, usage: usage{Incomplete: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tc.f.of(t)
			body := fmt.Sprintf(`{"model":%q,"messages":%s`, tc.model, tc.messages)
			got := f.complete(body + `}`)
			if got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			whole := decode[completion](t, got.body)
			if whole.Object != "chat.completion" || whole.Model != tc.model || whole.Fingerprint == "" || time.Since(time.Unix(whole.Created, 0)) > time.Hour {
				t.Errorf("%s", got.body)
			}
			if !strings.HasPrefix(whole.ID, "chatcmpl-") || (whole.SessionID != "") != tc.session || got.header.Get("X-Session-Id") != whole.SessionID {
				t.Errorf("%v %s", got.header, got.body)
			}
			if len(whole.Choices) != 1 || *whole.Choices[0].FinishReason != "stop" {
				t.Fatalf("%s", got.body)
			}
			text := whole.Choices[0].Message.Content
			if text == "" || tc.text != "" && text != tc.text {
				t.Errorf("said %q", text)
			}
			checkUsage(t, whole.Usage, tc.usage)

			s := readStream(t, f.complete(body+`,"stream":true,"stream_options":{"include_usage":true}}`))
			if s.text != text || s.finish != "stop" || s.end != "[DONE]" || (s.first.SessionID != "") != tc.session {
				t.Errorf("streamed %+v, whole %q", s, text)
			}
			checkUsage(t, s.usage, tc.usage)
			if s := readStream(t, f.complete(body+`,"stream":true}`)); s.usage != nil {
				t.Errorf("a usage that nobody asked for: %+v", s.usage)
			}
		})
	}
}

func checkUsage(t *testing.T, got *usage, want usage) {
	t.Helper()
	if got == nil {
		t.Error("no usage")
		return
	}
	if got.CompletionTokens != want.CompletionTokens || got.Incomplete != want.Incomplete || got.TotalTokens != got.PromptTokens+got.CompletionTokens || got.PromptTokens == 0 != want.Incomplete {
		t.Errorf("usage %+v, want %+v", *got, want)
	}
}

// TestCompletionReachesUpstream holds what is made of each parameter.
func TestCompletionReachesUpstream(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	character := `"model":"character:` + xiaowan + `"`
	for name, tc := range map[string]struct {
		body, want string
		stream     bool
	}{
		"the least": {
			body: character + `,"messages":[{"role":"user","content":"你好"}]`,
			want: `{"input":{"messages":[{"role":"user","content":"你好"}],"aca":{"botProfile":{"characterId":"` + xiaowan +
				`"},"userProfile":{"userId":"?","basicInfo":""},"context":{"useChatHistory":false}}},"parameters":{"incrementalOutput":false}}`,
		},
		"everything": {
			body: character + `,"messages":[{"role":"system","content":"在海边"},{"role":"developer","content":[{"type":"text","text":"有风"}]},
				{"role":"user","name":"小明","content":"早"},{"role":"assistant","content":"早呀","refusal":null,"tool_calls":[]},{"role":"user","name":"小明","content":[{"type":"text","text":"去哪"},{"type":"text","text":"玩"}]}],
				"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},"seed":7,"temperature":0.95,"top_p":0.5,"max_tokens":20,"max_completion_tokens":20,"n":1,
				"metadata":{"use_history":"true","session_id":"mine","other":"x"}`,
			want: `{"input":{"messages":[{"name":"小明","role":"user","content":"早"},{"role":"assistant","content":"早呀"},{"name":"小明","role":"user","content":"去哪\n玩"}],
				"aca":{"botProfile":{"characterId":"` + xiaowan + `"},"userProfile":{"userId":"?","userName":"小明","basicInfo":""},"scenario":{"description":"在海边\n\n有风"},
				"context":{"useChatHistory":false}}},"parameters":{"incrementalOutput":true,"seed":7,"temperature":0.95,"topP":0.5,"maxLength":20}}`,
			stream: true,
		},
		"the platform's history": {
			body: character + `,"messages":[{"role":"system","content":"s"},{"role":"user","content":"你好"}],"metadata":{"use_history":"true"},"max_completion_tokens":9,"top_p":1,"n":3`,
			want: `{"input":{"messages":[{"role":"user","content":"你好"}],"aca":{"botProfile":{"characterId":"` + xiaowan +
				`"},"userProfile":{"userId":"?","basicInfo":""},"scenario":{"description":"s"},"context":{"useChatHistory":true,"resultCount":3}}},"parameters":{"incrementalOutput":false,"maxLength":9}}`,
		},
		"one speaker, several messages": {
			body: character + `,"messages":[{"role":"assistant","content":""},{"role":"user","content":"a"},{"role":"user","content":"b"}],"metadata":{"use_history":"true"}`,
			want: `{"input":{"messages":[{"role":"assistant","content":""},{"role":"user","content":"a\nb"}],"aca":{"botProfile":{"characterId":"` + xiaowan +
				`"},"userProfile":{"userId":"?","basicInfo":""},"context":{"useChatHistory":false}}},"parameters":{"incrementalOutput":false}}`,
		},
		"a persona": {
			body: `"model":"xingchen-plus-v2","messages":[{"role":"system","name":"海梦","content":"爱笑的海梦"},{"role":"user","content":"你好"}]`,
			want: `{"input":{"messages":[{"role":"user","content":"你好"}],"aca":{"botProfile":{"name":"海梦","content":"爱笑的海梦"},
				"userProfile":{"userId":"?","basicInfo":""},"context":{"useChatHistory":false}}},"model":"xingchen-plus-v2","parameters":{"incrementalOutput":false}}`,
		},
		"what asks for nothing": {
			body: character + `,"messages":[{"role":"user","content":"你好"}],"frequency_penalty":0,"presence_penalty":0.0,"logit_bias":{},"logprobs":false,"top_logprobs":null,
				"modalities":["text"],"response_format":{"type":"text"},"service_tier":"auto","stop":null,"store":false,"tools":[],"tool_choice":"none","functions":[],
				"parallel_tool_calls":true,"prompt_cache_key":"k","safety_identifier":"s","reasoning_effort":null,"seed":null,"stream":null,"stream_options":null,"metadata":null,"n":null`,
			want: `{"input":{"messages":[{"role":"user","content":"你好"}],"aca":{"botProfile":{"characterId":"` + xiaowan +
				`"},"userProfile":{"userId":"?","basicInfo":""},"context":{"useChatHistory":false}}},"parameters":{"incrementalOutput":false}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := f.of(t).complete(`{` + tc.body + `,"user":` + fmt.Sprintf("%q", name) + `}`)
			if got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			var sent *emulator.Request
			until(t, "the request is noted", func() bool {
				for _, r := range f.upstream("/v2/api/chat/send") {
					if r.User == name && r.Done {
						sent = &r
					}
				}
				return sent != nil
			})
			want := decode[any](t, strings.Replace(tc.want, `"?"`, fmt.Sprintf("%q", name), 1))
			if diff := cmp.Diff(want, decode[any](t, sent.Body)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if streams := sent.Headers["X-Fag-Servicename"] == "aca-chat-send-sse"; streams != tc.stream {
				t.Errorf("service %s", sent.Headers["X-Fag-Servicename"])
			}
		})
	}
}

// Several answers to one question.
func TestSeveralChoices(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	got := f.complete(`{"model":"character:` + xiaowan + `","messages":[{"role":"user","content":"今天吃什么"}],"n":3}`)
	answer := decode[completion](t, got.body)
	if len(answer.Choices) != 3 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for i, choice := range answer.Choices {
		if choice.Index != i || choice.Message.Content == "" || *choice.FinishReason != "stop" {
			t.Errorf("choice %d: %+v", i, choice)
		}
	}
	got = f.complete(`{"model":"character:` + xiaowan + `","messages":[{"role":"user","content":"写50字"}],"max_tokens":5}`)
	if answer := decode[completion](t, got.body); len([]rune(answer.Choices[0].Message.Content)) != 5 || *answer.Choices[0].FinishReason != "length" {
		t.Errorf("%s", got.body)
	}
	s := readStream(t, f.complete(`{"model":"character:`+xiaowan+`","messages":[{"role":"user","content":"写50字"}],"max_completion_tokens":5,"stream":true}`))
	if len([]rune(s.text)) != 5 || s.finish != "length" {
		t.Errorf("%+v", s)
	}
}

// The id of an answer is that by which upstream rates it.
func TestAnswersCanBeRated(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	body := `{"model":"character:` + xiaowan + `","messages":[{"role":"user","content":"你好"}],"user":"u"`
	whole := decode[completion](t, f.complete(body+`}`).body)
	for _, id := range []string{whole.ID, readStream(t, f.complete(body+`,"stream":true}`)).first.ID} {
		rating := fmt.Sprintf(`{"messageId":%q,"rating":5}`, strings.TrimPrefix(id, "chatcmpl-"))
		if got := f.call(http.MethodPost, "/v2/api/chat/rating", rating); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", id, got.status, got.body)
		}
	}
}

// The platform remembers what was said only where that is asked for.
func TestHistory(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	ask := func(text, more string) string {
		t.Helper()
		got := f.complete(fmt.Sprintf(`{"model":"character:%s","user":"u","messages":[{"role":"user","content":%q}]%s}`, xiaowan, text, more))
		if got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
		return decode[completion](t, got.body).Choices[0].Message.Content
	}
	ask("我叫阿明", "")
	if said := ask("我叫什么名字", `,"metadata":{"use_history":"true"}`); !strings.Contains(said, "阿明") {
		t.Errorf("said %q with history", said)
	}
	if said := ask("我叫什么名字", ""); strings.Contains(said, "阿明") {
		t.Errorf("said %q without history", said)
	}
}

// A robot's session goes on where the client says so.
func TestRobotSession(t *testing.T) {
	t.Parallel()
	for _, edition := range []string{"tongyi", "classic"} {
		f := setup(t, options{vars: map[string]string{"BEEBOT_INSTANCES": robot + "=" + edition}})
		ask := func(text, session string, stream bool) (said, next string) {
			t.Helper()
			got := f.complete(fmt.Sprintf(`{"model":"beebot:%s","user":"u","messages":[{"role":"user","content":"早"},{"role":"assistant","content":"早"},{"role":"user","content":%q}],
				"metadata":{"session_id":%q},"stream":%t,"temperature":1,"top_p":1,"n":1}`, robot, text, session, stream))
			if !stream {
				answer := decode[completion](t, got.body)
				return answer.Choices[0].Message.Content, answer.SessionID
			}
			s := readStream(t, got)
			if s.first.SessionID != got.header.Get("X-Session-Id") {
				t.Errorf("%v %s", got.header, got.body)
			}
			return s.text, s.first.SessionID
		}
		for _, stream := range []bool{false, true} {
			_, session := ask("查天气", "", stream)
			said, next := ask("北京", session, stream)
			other, fresh := ask("北京", "", stream)
			if session == "" || next != session || fresh == session || said == other {
				t.Errorf("%s, stream %t: %q in session %q, %q in session %q, first %q", edition, stream, said, next, other, fresh, session)
			}
		}
	}
}

// A user holds one conversation at a time; those without a name are strangers to one another.
func TestCompletionTurns(t *testing.T) {
	t.Parallel()
	f := setup(t, options{configure: func(_ string, cfg *chatapi.Config) { cfg.Turns = turn.New(turn.Config{Waiting: -1}) }})
	if err := f.emu.Faults().Set(fault.Rule{Fault: fault.Stall, AtFrame: 3, User: "busy"}); err != nil {
		t.Fatal(err)
	}
	ask := func(model, user string) reply {
		body, err := json.Marshal(map[string]any{"model": model, "user": user, "messages": []any{map[string]string{"role": "user", "content": "写60字"}}})
		if err != nil {
			t.Fatal(err)
		}
		return f.complete(string(body))
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	body := `{"model":"character:` + xiaowan + `","user":"busy","stream":true,"messages":[{"role":"user","content":"写60字"}]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got := ask("character:"+xiaowan, "busy")
	if refused := decode[completion](t, got.body).Error; got.status != http.StatusConflict || refused.Code != "conflict" || got.header.Get("Retry-After") == "" {
		t.Errorf("the second conversation: %d %s", got.status, got.body)
	}
	for user, model := range map[string]string{"": "character:" + xiaowan, "other": "character:" + xiaowan} {
		if got := ask(model, user); got.status != http.StatusOK {
			t.Errorf("user %q: %d %s", user, got.status, got.body)
		}
	}
	seen := map[string]bool{}
	for _, r := range f.upstream("/v2/api/chat/send") {
		seen[r.User] = true
	}
	ask("character:"+xiaowan, "")
	for _, r := range f.upstream("/v2/api/chat/send") {
		if strings.HasPrefix(r.User, "user_") && !seen[r.User] {
			return
		}
	}
	t.Errorf("no fresh user of %v", seen)
}

// TestRefusalsOfUpstream holds what becomes of them here; the rest is tested in shared/relay.
func TestRefusalsOfUpstream(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	strange := setup(t, options{vars: map[string]string{"XINGCHEN_API_KEY": "lm-nobody", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"}})
	for name, tc := range map[string]struct {
		f      *front
		model  string
		status int
		want   failure
	}{
		"unknown character": {f, "character:0", 404, failure{Type: "invalid_request_error", Code: "not_found", Param: "model"}},
		"closed character":  {f, "character:9e8d7c6b5a4f4e3d8c2b1a0f9e8d7c6b", 403, failure{Type: "permission_error", Code: "forbidden"}},
		"our Xingchen key":  {strange, "character:" + xiaowan, 502, failure{Type: "api_error", Code: "upstream_error"}},
		"our access key":    {strange, "beebot:" + robot, 502, failure{Type: "api_error", Code: "upstream_error"}},
		"unknown robot":     {f, "beebot:nobody", 404, failure{Type: "invalid_request_error", Code: "not_found", Param: "model"}},
	} {
		for _, stream := range []bool{false, true} {
			got := tc.f.of(t).complete(fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":"你好"}]}`, tc.model, stream))
			told := decode[completion](t, got.body).Error
			if told == nil || told.Message == "" || told.RequestID != got.header.Get("X-Request-Id") {
				t.Errorf("%s: %d %s", name, got.status, got.body)
				continue
			}
			told.Message, told.RequestID = "", ""
			if got.status != tc.status || *told != tc.want {
				t.Errorf("%s, stream %t: %d %s", name, stream, got.status, got.body)
			}
		}
	}
}
