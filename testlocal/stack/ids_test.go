package stack_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"xinghe/testlocal/emulator"
)

// TestUpstreamRequestIDs: whoever complains upstream is asked for its request id, which
// answers and log lines therefore tell.
func TestUpstreamRequestIDs(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	streamed := []string{"X-AcA-SSE", "enable"}
	for _, tc := range []struct {
		name, path, body string
		header           []string
		status           int
	}{
		{"chat", send, chat(xiaowan, "u1", "你好"), nil, http.StatusOK},
		{"chat, streamed", send, chat(xiaowan, "u2", "你好"), streamed, http.StatusOK},
		{"chat, refused", send, chat("nobody", "u3", "你好"), nil, http.StatusNotFound},
		{"chat, refused before its stream", send, chat("nobody", "u4", "你好"), streamed, http.StatusNotFound},
		{"robot", "/v1/beebot/" + robot + "/chat", `{"utterance":"你好","stream":false}`, nil, http.StatusOK},
		{"robot, streamed", "/v1/beebot/" + robot + "/chat", `{"utterance":"你好","stream":true}`, nil, http.StatusOK},
		{"robot, classic", "/v1/beebot/" + robot + "/ask", `{"utterance":"你好"}`, nil, http.StatusOK},
		{"characters", "/v2/api/character/search", `{"where":{"scope":"my"}}`, nil, http.StatusOK},
		{"refused by us", "/v2/api/character/search", `{"pageSize":0}`, nil, http.StatusBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.of(t)
			got := b.post(tc.path, tc.body, tc.header...)
			if got.status != tc.status {
				t.Fatalf("%d %s", got.status, got.body)
			}
			id, logged := got.header.Get("X-Upstream-Request-Id"), b.logged(got.header.Get("X-Request-Id")).UpstreamID
			if id != logged || (id == "") != (tc.status == http.StatusBadRequest) {
				t.Errorf("the answer tells %q, the log line %q", id, logged)
			}
		})
	}
	t.Run("the id is upstream's own", func(t *testing.T) {
		b := b.of(t)
		got := b.post(send, chat(xiaowan, "u5", "你好"))
		var envelope struct {
			RequestID string `json:"requestId"`
		}
		if err := json.Unmarshal([]byte(got.body), &envelope); err != nil || got.header.Get("X-Upstream-Request-Id") != envelope.RequestID {
			t.Errorf("header %q, body %s", got.header.Get("X-Upstream-Request-Id"), got.body)
		}
	})
}
