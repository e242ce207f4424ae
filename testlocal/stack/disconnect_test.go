package stack_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/stack"
)

// TestClientLeaves holds that upstream stops when the client leaves in the middle of an
// answer, or in mode drain is heard to its end, and that the usage is told as far as it is
// known.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mode, name string
		surface    surface
		header     []string
		whole      bool // upstream is heard to its end, and tells its usage
	}{
		{"cancel", "xingchen", surfaces[0], surfaces[0].header, false},
		{"cancel", "beebot", surfaces[2], nil, false},
		{"drain", "xingchen", surfaces[0], surfaces[0].header, true},
		{"drain", "beebot", surfaces[2], nil, true},
	} {
		t.Run(tc.mode+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			w := new(wires)
			b := setupChat(t, map[string]string{"XINGHE_ON_DISCONNECT": tc.mode}, emulator.Config{}, watched(t, w, emulator.DefaultXingchenKey, limits{}))
			h := b.listen()
			rule := fault.Rule{Fault: fault.Stall, AtFrame: 10, User: "u", Route: tc.surface.route}
			if tc.whole {
				rule.Delay = 300 * time.Millisecond // and on it goes
			}
			if err := b.Emulator.Faults().Set(rule); err != nil {
				t.Fatal(err)
			}
			s := b.open(t.Context(), tc.surface.path, tc.surface.body("u"), append(tc.header, "X-Request-Id", "gone")...)
			s.line()
			s.leave()
			request := b.upstream("u", 1)[0]
			l := b.logged("gone")
			e := h.of("gone", 1)
			b.nothingOpen(w)
			if !tc.whole {
				failed := e[jobs.EventChatFailed].data
				if failed.Error == nil || failed.Error.Code != "canceled" || !failed.Usage.Incomplete || l.Level != "info" || l.Incomplete == nil || !*l.Incomplete {
					t.Errorf("event %+v, log %+v", e, l)
				}
				return
			}
			if len(e) != 1 || l.UpstreamID == "" {
				t.Errorf("event %+v, log %+v", e, l)
			}
			for _, e := range e {
				if xingchen := tc.name == "xingchen"; e.data.Usage.Incomplete == xingchen || (e.data.Usage.OutputTokens == 60) != xingchen || e.data.MessageID == "" {
					t.Errorf("usage %+v, after %d bytes of upstream", e.data.Usage, request.Bytes)
				}
			}
		})
	}
}

// TestClientLeavesBeforeTheAnswer holds that upstream stops as well when nothing has been
// answered yet.
func TestClientLeavesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	w := new(wires)
	g := newGate()
	b := setupChat(t, nil, emulator.Config{Replier: g, Model: g.model}, watched(t, w, emulator.DefaultXingchenKey, limits{}))
	for i, s := range surfaces {
		body := chat(xiaowan, "u", "等一下")
		if s.path == converse {
			body = strings.Replace(s.body("u"), "你有什么技能?", "等一下", 1)
		}
		ctx, leave := context.WithCancel(t.Context())
		left := b.begin(ctx, s.path, body, append(s.header, "X-Request-Id", "left-"+s.name[:6]+s.name[len(s.name)-5:])...)
		<-g.arrived
		leave()
		<-left
		b.upstream("u", i+1)
	}
	b.nothingOpen(w)
}

// TestHeartbeat holds that a silent upstream is covered by comments, that they stand
// between events, without an empty line, and that a reader of lines takes no notice.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	beat := func(_ *stack.Stack, cfg *chatapi.Config) { cfg.Heartbeat = 20 * time.Millisecond }
	for _, s := range []surface{surfaces[0], surfaces[2]} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := setupChat(t, nil, emulator.Config{}, beat)
			quiet := b.post(s.path, s.body("before"), s.header...)
			// Upstream falls silent inside of a frame.
			err := b.Emulator.Faults().Set(fault.Rule{Fault: fault.Stall, AtByte: 7000, Delay: 200 * time.Millisecond, Route: s.route})
			if err != nil {
				t.Fatal(err)
			}
			got := b.post(s.path, s.body("u"), s.header...)
			if n := strings.Count(got.body, "\n:\n"); n < 2 || strings.Contains(got.body, "\n:\n\n") {
				t.Errorf("%d heartbeats in %q", n, got.body)
			}
			rest := strings.ReplaceAll(got.body, "\n:\n", "\n")
			for strings.Contains(rest, "\n:\n") {
				rest = strings.ReplaceAll(rest, "\n:\n", "\n")
			}
			if strings.Contains(rest, "\n:") || sight(got) != sight(quiet) || textOf(s, got.body) != textOf(s, quiet.body) {
				t.Errorf("a heartbeat has changed the stream: %q, without heartbeats %q", got.body, quiet.body)
			}
			for frame := range strings.SplitSeq(strings.TrimSuffix(got.body, "\n\n"), "\n\n") {
				if at := strings.LastIndex(frame, ":\n"); at > 0 && frame[:at] != strings.Repeat(":\n", at/2) {
					t.Errorf("a heartbeat inside of a frame: %q", frame)
				}
			}
		})
	}
}
