package stack_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"xinghe/shared/trace"
	"xinghe/testlocal/emulator"
)

// The trace of a request reaches what comes of it: events of chats, jobs and what they
// publish, and the webhooks that tell of both.
func TestTraceIsCarried(t *testing.T) {
	t.Parallel()
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	var mu sync.Mutex
	traces := map[string]string{} // by type of event
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parent, _ := trace.Parse(r.Header.Get(trace.Header))
		body := make([]byte, 512)
		n, _ := r.Body.Read(body)
		_, kind, _ := strings.Cut(string(body[:n]), `"type":"xinghe.`)
		kind, _, _ = strings.Cut(kind, `"`)
		mu.Lock()
		defer mu.Unlock()
		traces[kind] = parent.TraceID()
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(target.Close)
	b := setup(t, map[string]string{
		"XINGHE_WEBHOOKS":    `[{"name":"all","url":"` + target.URL + `","types":["chat.*","rating.*"],"secrets":["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"]}]`,
		"XINGHE_ALLOW_HOSTS": "127.0.0.1",
	}, emulator.Config{})
	post := func(path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, b.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+b.Key)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(trace.Header, "00-"+traceID+"-b7ad6b7169203331-01")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s: %s", path, resp.Status)
		}
	}
	seen := func(kind string) bool {
		mu.Lock()
		defer mu.Unlock()
		return traces[kind] == traceID
	}
	// Again and again: chats are told of at best effort, and targets of what happens once they
	// are known.
	for kind, ask := range map[string]func(){
		"chat.completed": func() { post("/v1/beebot/chatbot-cn-local/chat", `{"utterance":"你好"}`) },
		"rating.applied": func() { post("/v1/ratings", `[{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":5}]`) },
	} {
		until(t, kind+" is told of as a part of the trace", func() bool {
			if seen(kind) {
				return true
			}
			ask()
			return false
		})
	}
}
