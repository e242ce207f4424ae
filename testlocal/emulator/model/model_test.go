package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/shared/env"
	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var question = []model.Message{{Role: "user", Content: "你好"}}

// endpoint is a client of a fake endpoint.
func endpoint(t *testing.T, answer http.HandlerFunc) *model.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := model.New(model.Config{URL: server.URL + "/v1/", Key: sign.NewSecret("canary"), Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func chunk(w http.ResponseWriter, text string) {
	_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text)
	_ = http.NewResponseController(w).Flush()
}

func TestStream(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{})
	c := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Model    string
			Messages []model.Message
			Stream   bool
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &asked); err != nil || asked.Model != "m" || !asked.Stream || !cmp.Equal(asked.Messages, question) ||
			r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer canary" {
			t.Errorf("%s %s %s %v", r.URL, r.Header, body, err)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": comment\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n")
		chunk(w, "你")
		<-heard // so the first piece has come before the second is made
		chunk(w, "好")
		_, _ = io.WriteString(w, "data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n")
	})
	var got []string
	for piece, err := range c.Stream(t.Context(), question) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, piece); len(got) == 1 {
			close(heard)
		}
	}
	if diff := cmp.Diff([]string{"你", "好"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWholeAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ kind, body, want string }{
		"a stream that names its end":      {"text/event-stream", `data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}` + "\n\n", "a"},
		"an endpoint that knows no stream": {"application/json; charset=utf-8", `{"choices":[{"message":{"content":"a"}}]}`, "a"},
	} {
		c := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.kind)
			_, _ = io.WriteString(w, tc.body)
		})
		if got, err := c.Reply(t.Context(), question); got != tc.want || err != nil {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	const events = "text/event-stream"
	for name, tc := range map[string]struct {
		status           int
		kind, body, want string
	}{
		"refused":            {401, "application/json", `{"error":{"message":"no such key"}}`, "the model refuses with 401: no such key"},
		"refused in words":   {502, "text/html", `bad gateway`, "the model refuses with 502: bad gateway"},
		"fails in between":   {200, events, `data: {"choices":[{"delta":{"content":"a"}}]}` + "\n\n" + `data: {"error":{"message":"out of memory"}}` + "\n\n", "502: out of memory"},
		"breaks off":         {200, events, `data: {"choices":[{"delta":{"content":"a"}}]}` + "\n\n", model.ErrTruncated.Error()},
		"says nothing":       {200, events, "", model.ErrTruncated.Error()},
		"speaks no JSON":     {200, events, "data: hello\n\n", "decode the model's answer"},
		"whole, no JSON":     {200, "application/json", "hello", "decode the model's answer"},
		"whole, no choice":   {200, "application/json", "{}", model.ErrTruncated.Error()},
		"whole, but refused": {200, "application/json", `{"error":{"message":"no"}}`, "502: no"},
	} {
		c := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.kind)
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		if got, err := c.Reply(t.Context(), question); got != "" || err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %q %v; want %q", name, got, err, tc.want)
		}
	}
	c := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := c.Reply(t.Context(), question)
	var refused *model.Error
	if !errors.As(err, &refused) || !refused.Throttled() || refused.RetryAfter != 7*time.Second {
		t.Errorf("%v", err)
	}
}

func TestLeavingEndsTheQuestion(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	c := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		chunk(w, "a")
		<-r.Context().Done()
		close(left)
	})
	for piece, err := range c.Stream(t.Context(), question) {
		if piece != "a" || err != nil {
			t.Errorf("%q %v", piece, err)
		}
		break
	}
	select {
	case <-left:
	case <-time.After(time.Minute):
		t.Fatal("the endpoint goes on")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Reply(ctx, question); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		vars  map[string]string
		some  bool
		fault string
	}{
		"none":       {},
		"all":        {vars: map[string]string{"XINGHE_EMULATOR_MODEL_URL": "http://127.0.0.1:1/v1", "XINGHE_EMULATOR_MODEL": "m"}, some: true},
		"no model":   {vars: map[string]string{"XINGHE_EMULATOR_MODEL_URL": "http://127.0.0.1:1/v1"}, fault: "XINGHE_EMULATOR_MODEL: missing"},
		"no address": {vars: map[string]string{"XINGHE_EMULATOR_MODEL_URL": "here", "XINGHE_EMULATOR_MODEL": "m"}, fault: "XINGHE_EMULATOR_MODEL_URL"},
	} {
		vars := env.New(func(name string) string { return tc.vars[name] })
		c := model.FromEnv(vars)
		err := vars.Err()
		if (c != nil) != tc.some && tc.fault == "" || (err != nil) != (tc.fault != "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%s: %v %v", name, c, err)
		}
	}
}

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		chunk(w, "你好,")
		chunk(w, "我是小婉。")
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}))
	defer server.Close()

	m, err := model.New(model.Config{URL: server.URL, Model: "qwen3"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	for piece, err := range m.Stream(context.Background(), []model.Message{{Role: "user", Content: "你是谁"}}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(piece)
	}
	// Output:
	// 你好,
	// 我是小婉。
}
