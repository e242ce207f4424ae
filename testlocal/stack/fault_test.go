package stack_test

import (
	"net/http"
	"strings"
	"testing"

	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
)

// TestStreamsThatFail holds that a stream has ended well only when upstream said so, and
// that everything else reaches the client as an error in the surface's own form.
func TestStreamsThatFail(t *testing.T) {
	t.Parallel()
	const (
		xingchen = "/v2/api/chat/send"
		beebot   = "/v1/beebot/" + robot + "/chat"
		asked    = `{"utterance":"你有什么技能?","stream":true}`
	)
	for _, tc := range []struct {
		name   string
		rule   fault.Rule
		path   string
		status int
		// begins and ends are what the body must begin and what its last frame must hold.
		begins string
		ends   []string
	}{
		{"xingchen, cut", fault.Rule{Fault: fault.Cut}, xingchen, 200, "data:{", []string{"event:error\ndata:{", `"errorName":"upstream_truncated"`}},
		{"xingchen, cut at once", fault.Rule{Fault: fault.Cut, AtFrame: 1}, xingchen, 502, "{", []string{`"errorName":"upstream_truncated"`}},
		{"xingchen, reset", fault.Rule{Fault: fault.Reset, AtFrame: 2}, xingchen, 200, "data:{", []string{"event:error\ndata:{", `"errorName":"upstream_truncated"`}},
		{"xingchen, error of upstream's", fault.Rule{Fault: fault.ErrorEvent, AtFrame: 2}, xingchen, 200, "data:{", []string{"event:error\ndata:{", `"errorMessageKey":"aca.error.`}},
		{"xingchen, 500", fault.Rule{Fault: fault.InternalError}, xingchen, 502, "{", []string{`"success":false`}},
		{"xingchen, 429", fault.Rule{Fault: fault.Throttle}, xingchen, 429, "{", []string{`"success":false`}},
		{"xingchen, refused", fault.Rule{Fault: fault.Refuse}, xingchen, 502, "{", []string{`"errorName":"upstream_unavailable"`}},
		{"beebot, cut", fault.Rule{Route: "/sse/paas4Json", Fault: fault.Cut}, beebot, 200, "event:delta", []string{"event:error\ndata:{", `"code":"upstream_truncated"`}},
		{"beebot, reset", fault.Rule{Route: "/sse/paas4Json", Fault: fault.Reset, AtFrame: 8}, beebot, 200, "event:delta", []string{"event:error\ndata:{", `"code":"upstream_truncated"`}},
		{"beebot, 500", fault.Rule{Fault: fault.InternalError}, beebot, 502, "{", []string{`"status":502`}},
		{"beebot, token expired for ever", fault.Rule{Fault: fault.TokenExpired}, beebot, 502, "{", []string{`"status":502`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil, emulator.Config{})
			if err := b.Emulator.Faults().Set(tc.rule); err != nil {
				t.Fatal(err)
			}
			body := asked
			if tc.path == xingchen {
				body = chat(xiaowan, "u", "你今年多大")
			}
			got := b.post(tc.path, body, "X-AcA-SSE", "enable")
			frames := strings.Split(strings.TrimSuffix(got.body, "\n\n"), "\n\n")
			last := frames[len(frames)-1]
			if got.status != tc.status || !strings.HasPrefix(got.body, tc.begins) {
				t.Errorf("%d %s", got.status, got.body)
			}
			for _, want := range tc.ends {
				if !strings.Contains(last, want) {
					t.Errorf("no %s in the end: %s", want, last)
				}
			}
			if strings.Contains(got.body, "event:done") || strings.Contains(got.body, `"stop":true`) {
				t.Errorf("a broken stream looks whole: %s", got.body)
			}
			if got.status == http.StatusTooManyRequests && got.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

// TestTokenIsRenewedWhenRefused holds that a token that is refused early costs the caller
// nothing.
func TestTokenIsRenewedWhenRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	const path, body = "/v1/beebot/" + robot + "/chat", `{"utterance":"你有什么技能?"}`
	if got := b.post(path, body); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if err := b.Emulator.Faults().Set(fault.Rule{Fault: fault.TokenExpired, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if got := b.post(path, body); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}
