package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// printed is what a command prints while it runs.
type printed struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func TestFunctionsAsOnAPlatform(t *testing.T) {
	vars := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0", "XINGHE_DATA": t.TempDir(),
	}
	ctx, interrupt := context.WithCancel(t.Context())
	var stdout, stderr printed
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--as", "lambda-url"}, func(name string) string { return vars[name] }, &stdout, &stderr)
	}()
	url := ""
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for url == "" { // it builds the functions first, however long that takes
		select {
		case <-again.C:
			if found := regexp.MustCompile(`curl (\S+)/_platform/history-export/invoke`).FindStringSubmatch(stdout.String()); found != nil {
				url = found[1]
			}
		case got := <-code:
			t.Fatalf("exit %d: %s", got, &stderr)
		}
	}
	for _, tc := range []struct{ method, path, body, want string }{
		{http.MethodGet, "/v1/exports", "", `{"exports":[]}`},
		{http.MethodPost, "/v2/api/character/search", `{"where":{"scope":"my"},"pageNum":1,"pageSize":10}`, `"success":true`},
		{http.MethodPost, "/v1/beebot/chatbot-cn-local/chat", `{"utterance":"你有什么技能?","stream":true}`, "event:done"},
		{http.MethodPost, "/v1/webhooks/orders", `{}`, `"status":401`},
		{http.MethodPost, "/_platform/chat/invoke", `{"method":"GET","path":"/healthz"}`, `{"status":200,`},
		{http.MethodPost, "/_platform/chat/timer", `{}`, "no source"},
		{http.MethodPost, "/_platform/nobody/invoke", `{}`, "no such function"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, url+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer local-dev")
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(body), tc.want) {
			t.Errorf("%s %s: %d %s %v", tc.method, tc.path, resp.StatusCode, body, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	interrupt()
	if got := <-code; got != 0 {
		t.Errorf("exit %d: %s", got, &stderr)
	}
}

func TestUnknownPlatform(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-as", "azure"}, none, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "fc-web, fc-event, lambda-url, lambda-event") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}
