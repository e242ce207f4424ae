package stack_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/natstest"
	"xinghe/testlocal/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// buffer is a log that many goroutines write.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

type bundle struct {
	*stack.Stack
	t      *testing.T
	client *http.Client
	log    *buffer
}

// setup starts a stack on free ports, in a folder of its own; vars overrides variables.
func setup(t *testing.T, vars map[string]string, emu emulator.Config) *bundle {
	t.Helper()
	return setupChat(t, vars, emu, nil)
}

// setupChat is setup with a chat function that is configured otherwise.
func setupChat(t *testing.T, vars map[string]string, emu emulator.Config, configure func(*stack.Stack, *chatapi.Config)) *bundle {
	t.Helper()
	set := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0",
		"XINGHE_DATA": t.TempDir(),
	}
	maps.Copy(set, vars)
	if emu.Pace == 0 {
		emu.Pace = emulator.NoPace
	}
	log := new(buffer)
	s, err := stack.Start(t.Context(), stack.Config{Getenv: func(name string) string { return set[name] }, Log: log, Emulator: emu, Chat: configure})
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{Stack: s, t: t, client: &http.Client{Transport: &recorder{
		Transport: &http.Transport{}, t: t, contract: newContract(t, s.Routes()), front: s.URL,
	}}, log: log}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// of is the same stack in another test, which is to fail.
func (b *bundle) of(t *testing.T) *bundle {
	t.Helper()
	same := *b
	same.t = t
	return &same
}

// answer is a response read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *bundle) call(method, address, key, body string, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v after %q", method, address, err, text)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// post calls the front door with the default key.
func (b *bundle) post(path, body string, header ...string) answer {
	b.t.Helper()
	return b.call(http.MethodPost, b.URL+path, stack.DefaultKey, body, header...)
}

// chat is the shortest body of a role chat.
func chat(character, user, text string) string {
	body, err := json.Marshal(map[string]any{"input": map[string]any{
		"messages": []any{map[string]string{"role": "user", "content": text}},
		"aca":      map[string]any{"botProfile": map[string]string{"characterId": character}, "userProfile": map[string]string{"userId": user}},
	}})
	if err != nil {
		panic(err)
	}
	return string(body)
}

const (
	xiaowan = "c39797a35ad243f1a85baaa6e1ec37e0" // the documentation's example of a platform character
	robot   = emulator.DefaultInstanceID
)

func TestReady(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	if got := b.call(http.MethodGet, b.URL+"/healthz", "", ""); got.status != http.StatusOK {
		t.Errorf("healthz: %d", got.status)
	}
}

func TestPortTakenNamesTheVariable(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, variable := range []string{"XINGHE_ADDR", "XINGHE_EMULATOR_ADDR", "XINGHE_NATS_ADDR"} {
		set := map[string]string{
			"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0", "XINGHE_DATA": t.TempDir(),
		}
		set[variable] = taken.Addr().String()
		s, err := stack.Start(t.Context(), stack.Config{Getenv: func(name string) string { return set[name] }, Log: io.Discard})
		if err == nil {
			err = s.Close()
			t.Errorf("%s: the stack has started on a taken port (%v)", variable, err)
			continue
		}
		if !strings.Contains(err.Error(), "set "+variable) {
			t.Errorf("%s: %v", variable, err)
		}
	}
}

func TestXingchenChat(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	t.Run("whole", func(t *testing.T) {
		got := b.post("/v2/api/chat/send", chat(xiaowan, "whole", "你今年多大"))
		var body struct {
			Success bool
			Data    struct {
				Choices []struct{ Messages []struct{ Content string } }
				Stop    bool
			}
		}
		if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.status != 200 || !body.Success || !body.Data.Stop || body.Data.Choices[0].Messages[0].Content == "" {
			t.Errorf("%d %s %v", got.status, got.body, err)
		}
	})
	for name, header := range map[string][]string{
		"the switch":          {"X-AcA-SSE", "enable"},
		"the other spelling":  {"X-DashScope-SSE", "enable"},
		"the name of service": {"x-fag-servicename", "aca-chat-send-sse"},
	} {
		t.Run("streamed by "+name, func(t *testing.T) {
			got := b.post("/v2/api/chat/send", chat(xiaowan, name, "你今年多大"), header...)
			if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") || got.header.Get("X-Accel-Buffering") != "no" {
				t.Errorf("%d %v", got.status, got.header)
			}
			frames := strings.Split(strings.TrimSuffix(got.body, "\n\n"), "\n\n")
			if len(frames) < 3 || !strings.HasPrefix(frames[0], "data:{") || !strings.Contains(frames[len(frames)-1], `"stop":true`) {
				t.Errorf("%d frames: %s", len(frames), got.body)
			}
		})
	}
}

func TestBeebotChat(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	type whole struct {
		RequestID, SessionID, MessageID, Text, ContentType, Source string
		End                                                        bool
		Handover                                                   *struct{ SkillGroup, Ext string }
	}
	var plain whole
	got := b.post("/v1/beebot/"+robot+"/chat", `{"utterance":"你有什么技能?"}`)
	if err := json.Unmarshal([]byte(got.body), &plain); err != nil || got.status != 200 || plain.Text == "" || !plain.End || plain.SessionID == "" {
		t.Fatalf("%d %s %v", got.status, got.body, err)
	}
	if plain.RequestID != got.header.Get("X-Request-Id") {
		t.Errorf("requestId %q, X-Request-Id %q", plain.RequestID, got.header.Get("X-Request-Id"))
	}
	got = b.post("/v1/beebot/"+robot+"/chat", `{"utterance":"你有什么技能?","stream":true,"sessionId":"`+plain.SessionID+`"}`)
	var text string
	var done whole
	for frame := range strings.SplitSeq(strings.TrimSuffix(got.body, "\n\n"), "\n\n") {
		kind, data, _ := strings.Cut(frame, "\ndata:")
		var part whole
		if err := json.Unmarshal([]byte(data), &part); err != nil {
			t.Fatalf("%q: %v", frame, err)
		}
		switch kind {
		case "event:delta":
			text += part.Text
		case "event:replace":
			text = part.Text
		case "event:done":
			done = part
		default:
			t.Errorf("frame %q", frame)
		}
	}
	if text != plain.Text || done.Text != plain.Text || !done.End {
		t.Errorf("deltas give %q, done says %q, whole is %q", text, done.Text, plain.Text)
	}
	if done.SessionID != plain.SessionID {
		t.Errorf("the session is not carried on: %q, then %q", plain.SessionID, done.SessionID)
	}
	var handed whole
	got = b.post("/v1/beebot/"+robot+"/chat", `{"utterance":"转人工"}`)
	if err := json.Unmarshal([]byte(got.body), &handed); err != nil || handed.Handover == nil || handed.Handover.SkillGroup == "" {
		t.Errorf("hand-over: %s %v", got.body, err)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	const (
		send   = "/v2/api/chat/send"
		beebot = "/v1/beebot/" + robot + "/chat"
	)
	big := `{"x":"` + strings.Repeat("x", 7<<20) + `"}`
	for _, tc := range []struct {
		name, path, key, body string
		status                int
		want                  []string
	}{
		{"xingchen: wrong key", send, "nope", "{}", 401, []string{`"success":false`, `"aca.error.invalid.token"`}},
		{"beebot: wrong key", beebot, "nope", "{}", 401, []string{`"code":"unauthorized"`}},
		{"export: no key", "/v1/exports", "", "{}", 401, []string{`"code":"unauthorized"`}},
		{"xingchen: no user", send, stack.DefaultKey, `{"input":{"messages":[{"role":"user","content":"x"}],"aca":{"botProfile":{"characterId":"c"}}}}`, 400, []string{`userProfile.userId`, `"aca.error.invalid.param"`}},
		{"xingchen: a user that is a number", send, stack.DefaultKey, `{"input":{"messages":[{"content":"x"}],"aca":{"botProfile":{"characterId":"c"},"userProfile":{"userId":7}}}}`, 400, []string{`input.aca.userProfile.userId: want a text`}},
		{"xingchen: a role that is a number", send, stack.DefaultKey, `{"input":{"messages":[{"role":5,"content":"x"}]}}`, 400, []string{`input.messages[0].role: want a text`}},
		{"xingchen: two users", send, stack.DefaultKey, `{"input":{"messages":[{"content":"x"}],"aca":{"botProfile":{"characterId":"c"},"userProfile":{"userId":"a","UserID":"b"}}}}`, 400, []string{`input.aca.userProfile.UserID: stands more than once`}},
		{"xingchen: not UTF-8", send, stack.DefaultKey, "{\"input\":{\"messages\":[{\"content\":\"\xff\"}]}}", 400, []string{`not valid UTF-8 at byte 34`}},
		{"xingchen: nothing", send, stack.DefaultKey, `{"input":{}}`, 400, []string{`input.messages`, `botProfile.characterId`, `userProfile.userId`}},
		{"xingchen: wrong type", send, stack.DefaultKey, `{"input":{"messages":"x"}}`, 400, []string{`input.messages`}},
		{"xingchen: not JSON", send, stack.DefaultKey, `{oops`, 400, []string{`"aca.error.invalid.request.params.unreadable"`}},
		{"xingchen: comments", send, stack.DefaultKey, "{\n//no\n}", 400, []string{`byte 3`}},
		{"xingchen: too long", send, stack.DefaultKey, big, 413, []string{`"success":false`}},
		{"xingchen: unknown character", send, stack.DefaultKey, chat("nope", "u", "x"), 404, []string{`"code":404`, `"aca.error.notfound"`}},
		{"xingchen: unknown route", "/v2/api/nope", stack.DefaultKey, `{}`, 404, []string{`"aca.error.notfound"`}},
		{"beebot: too long utterance", beebot, stack.DefaultKey, `{"utterance":"` + strings.Repeat("好", 129) + `"}`, 400, []string{`"field":"utterance"`, `longer than 128 characters`}},
		{"beebot: no utterance", beebot, stack.DefaultKey, `{}`, 400, []string{`"field":"utterance"`}},
		{"beebot: unknown field", beebot, stack.DefaultKey, `{"utterance":"x","session":"y"}`, 400, []string{`"field":"session"`}},
		{"beebot: not JSON", beebot, stack.DefaultKey, `hello`, 400, []string{`"code":"invalid_json"`}},
		{"beebot: too long", beebot, stack.DefaultKey, big, 413, []string{`"code":"body_too_large"`}},
		{"beebot: unknown robot", "/v1/beebot/nope/chat", stack.DefaultKey, `{"utterance":"x"}`, 404, []string{`"code":"not_found"`}},
		{"export: nothing", "/v1/exports", stack.DefaultKey, `{}`, 400, []string{`"field":"name"`, `"field":"characters"`, `"field":"users"`, `"field":"from"`}},
		{"export: bad time", "/v1/exports", stack.DefaultKey, `{"from":"yesterday"}`, 400, []string{`want a time such as`}},
		{"export: too long", "/v1/exports", stack.DefaultKey, big, 413, []string{`"code":"body_too_large"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := b.call(http.MethodPost, b.URL+tc.path, tc.key, tc.body)
			if got.status != tc.status {
				t.Errorf("status %d, want %d", got.status, tc.status)
			}
			for _, want := range append(tc.want, `"requestId":"`) {
				if !strings.Contains(got.body, want) {
					t.Errorf("no %s in %s", want, got.body)
				}
			}
			if got.header.Get("X-Request-Id") == "" || !json.Valid([]byte(got.body)) {
				t.Errorf("%v %s", got.header, got.body)
			}
		})
	}
	if got := b.call(http.MethodGet, b.URL+"/v1/exports/exp_nope", stack.DefaultKey, ""); got.status != http.StatusNotFound {
		t.Errorf("unknown export: %d %s", got.status, got.body)
	}
}

func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	b := setup(t, map[string]string{
		"XINGCHEN_BASE_URL": address, "XINGCHEN_API_KEY": "k", "BEEBOT_ENDPOINT": address, "BEEBOT_STREAM_URL": address,
		"ALIBABA_CLOUD_ACCESS_KEY_ID": "a", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b",
	}, emulator.Config{})
	b.client.Timeout = 3 * time.Second // what is promised; the call fails the test if it hangs
	for _, got := range []answer{
		b.post("/v2/api/chat/send", chat(xiaowan, "u", "x")),
		b.post("/v2/api/chat/send", chat(xiaowan, "u", "x"), "X-AcA-SSE", "enable"),
		b.post("/v1/beebot/"+robot+"/chat", `{"utterance":"x"}`),
	} {
		if got.status != http.StatusBadGateway || !strings.Contains(got.body, "upstream_unavailable") {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	for _, user := range []string{"export-1", "export-2"} {
		if got := b.post("/v2/api/chat/send", chat(xiaowan, user, "你好")); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	e := b.export(jobs.ExportSpec{
		Name: "nightly", Characters: []string{xiaowan}, Users: []string{"export-1", "export-2"},
		From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Second),
	})
	// Each user has the opening line, the question and the answer.
	if e.State != jobs.StateDone || e.Progress.Rows != 6 || e.Manifest != "nightly/"+e.ID+"/manifest.json" {
		t.Errorf("%+v", e)
	}
}

// export starts an export and waits for its end.
func (b *bundle) export(spec jobs.ExportSpec) jobs.Export {
	b.t.Helper()
	body, err := json.Marshal(spec)
	if err != nil {
		b.t.Fatal(err)
	}
	got := b.post("/v1/exports", string(body))
	var e jobs.Export
	if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != http.StatusAccepted || got.header.Get("Location") != "/v1/exports/"+e.ID || e.State != jobs.StateQueued {
		b.t.Fatalf("%d %v %s %v", got.status, got.header, got.body, err)
	}
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !e.State.Ended() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("the export does not end: %+v", e)
		}
		got := b.call(http.MethodGet, b.URL+"/v1/exports/"+e.ID, stack.DefaultKey, "")
		if err := json.Unmarshal([]byte(got.body), &e); err != nil {
			b.t.Fatalf("%s: %v", got.body, err)
		}
	}
	return e
}
