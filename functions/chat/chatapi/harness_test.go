package chatapi_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/testlocal/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key     = "local-key"
	xiaowan = "c39797a35ad243f1a85baaa6e1ec37e0" // the documentation's example of a platform character
	robot   = emulator.DefaultInstanceID
)

// front is the surface before an emulator of its own.
type front struct {
	t      *testing.T
	url    string
	emu    *emulator.Emulator
	client *http.Client
}

// options say how a front differs from the usual one.
type options struct {
	vars      map[string]string
	emulator  emulator.Config
	configure func(upstream string, cfg *chatapi.Config)
}

func setup(t *testing.T, opts options) *front {
	t.Helper()
	if opts.emulator.Pace == 0 {
		opts.emulator.Pace = emulator.NoPace
	}
	emu, err := emulator.New(opts.emulator)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emu.Close(); err != nil {
			t.Error(err)
		}
	})
	upstream := httptest.NewServer(emu)
	t.Cleanup(upstream.Close)
	set := map[string]string{
		"XINGHE_API_KEYS": key, "XINGCHEN_BASE_URL": upstream.URL, "XINGCHEN_API_KEY": emulator.DefaultXingchenKey,
		"BEEBOT_ENDPOINT": upstream.URL, "BEEBOT_STREAM_URL": upstream.URL, "BEEBOT_AGENT_KEY": emulator.DefaultAgentKey,
		"ALIBABA_CLOUD_ACCESS_KEY_ID": emulator.DefaultAccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": emulator.DefaultAccessKeySecret,
		"BEEBOT_INSTANCES": robot + "=tongyi",
	}
	maps.Copy(set, opts.vars)
	vars := env.New(func(name string) string { return set[name] })
	cfg := chatapi.FromEnv(vars)
	gate := httpapi.FromEnv(vars, httpapi.Config{}.Logger)
	if err := vars.Err(); err != nil {
		t.Fatal(err)
	}
	if opts.configure != nil {
		opts.configure(upstream.URL, &cfg)
	}
	handler, err := httpapi.New(gate, chatapi.Routes(cfg)...)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &front{t: t, url: server.URL, emu: emu, client: &http.Client{Transport: transport}}
}

// of is the same front in another test.
func (f *front) of(t *testing.T) *front {
	t.Helper()
	same := *f
	same.t = t
	return &same
}

// reply is a response read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

func (f *front) call(method, path, body string) reply {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v after %q", method, path, err, text)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func (f *front) complete(body string) reply {
	f.t.Helper()
	return f.call(http.MethodPost, "/v1/chat/completions", body)
}

// upstream returns the requests of a route, the oldest first.
func (f *front) upstream(route string) []emulator.Request {
	f.t.Helper()
	all := f.emu.Requests()
	return slices.DeleteFunc(all, func(r emulator.Request) bool { return r.Route != route && !strings.HasPrefix(r.URL, route) })
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// completion is what a client reads of an answer that is whole, or of a chunk.
type completion struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
	SessionID   string `json:"session_id"`
	Choices     []struct {
		Index        int                       `json:"index"`
		Message      struct{ Content string }  `json:"message"`
		Delta        struct{ Content *string } `json:"delta"`
		FinishReason *string                   `json:"finish_reason"`
	} `json:"choices"`
	Usage *usage   `json:"usage"`
	Error *failure `json:"error"`
}

type usage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	TotalTokens      int64 `json:"total_tokens"`
	Incomplete       bool  `json:"incomplete"`
}

// failure is OpenAI's error object.
type failure struct {
	Message   string `json:"message"`
	Type      string `json:"type"`
	Param     string `json:"param"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
}

// streamed is what a client makes of a stream.
type streamed struct {
	first  completion
	text   string
	finish string
	usage  *usage
	end    string // [DONE], the code of an error, or nothing
}

func readStream(t *testing.T, got reply) streamed {
	t.Helper()
	var s streamed
	if kind := got.header.Get("Content-Type"); got.status != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("%d %s %s", got.status, kind, got.body)
	}
	for line := range strings.SplitSeq(got.body, "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		switch {
		case line == "" || strings.HasPrefix(line, ":"):
			continue
		case !ok || s.end != "":
			t.Errorf("line %q after %q", line, s.end)
			continue
		case data == "[DONE]":
			s.end = data
			continue
		}
		chunk := decode[completion](t, data)
		if chunk.Error != nil {
			s.end = chunk.Error.Code
			continue
		}
		if s.first.ID == "" {
			s.first = chunk
		}
		if chunk.ID != s.first.ID || chunk.Object != "chat.completion.chunk" || chunk.Model != s.first.Model || chunk.Created != s.first.Created {
			t.Errorf("the chunks differ: %s", data)
		}
		if chunk.Usage != nil {
			s.usage = chunk.Usage
		}
		for _, choice := range chunk.Choices {
			if choice.Delta.Content != nil {
				s.text += *choice.Delta.Content
			}
			if choice.FinishReason != nil {
				s.finish += *choice.FinishReason
			}
		}
	}
	return s
}

// until polls a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
