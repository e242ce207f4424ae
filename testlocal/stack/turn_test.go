package stack_test

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/xingchen"
)

// gate holds back what is asked with the word 等 until it is let through, and counts how
// many such questions are under way at once.
type gate struct {
	arrived chan struct{}
	through chan struct{}

	mu            sync.Mutex
	running, most int
}

func newGate() *gate { return &gate{arrived: make(chan struct{}, 16), through: make(chan struct{})} }

func (g *gate) wait(ctx context.Context, question string) {
	if !strings.Contains(question, "等") {
		return
	}
	g.count(1)
	defer g.count(-1)
	g.arrived <- struct{}{}
	select {
	case <-g.through:
	case <-ctx.Done():
	}
}

func (g *gate) count(change int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running += change
	g.most = max(g.most, g.running)
}

// Reply makes it a character's words.
func (g *gate) Reply(ctx context.Context, prompt xingchen.Prompt) (string, error) {
	g.wait(ctx, prompt.Messages[len(prompt.Messages)-1].Content)
	return "好的", nil
}

func (g *gate) model(ctx context.Context, ask beebot.Ask) (string, error) {
	g.wait(ctx, ask.Utterance)
	return "好的", nil
}

// turned is the answer to a call that has an id.
type turned struct {
	id string
	answer
}

// TestTurns holds that a user's calls wait for one another, in a line of bounded length, and
// that upstream never sees two of them at once.
func TestTurns(t *testing.T) {
	t.Parallel()
	xingchenBody := func(user, text string) string { return chat(xiaowan, user, text) }
	beebotBody := func(user, text string) string {
		return `{"utterance":"` + text + `","senderId":"` + user + `"}`
	}
	stream := []string{"X-AcA-SSE", "enable", "Accept", "text/event-stream"}
	for _, tc := range []struct {
		name, path string
		body       func(user, text string) string
		header     []string
		refusal    []string
	}{
		{"xingchen streamed", send, xingchenBody, stream, []string{`"success":false`, `"code":409`, `"errorName":"conflict"`}},
		{"xingchen whole", send, xingchenBody, nil, []string{`"success":false`, `"code":409`, `"errorName":"conflict"`}},
		{"beebot streamed", converse, beebotBody, stream, []string{`"status":409`, `"code":"conflict"`}},
		{"beebot whole", converse, beebotBody, nil, []string{`"status":409`, `"code":"conflict"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGate()
			b := setup(t, nil, emulator.Config{Replier: g, Model: g.model})
			ended := make(chan turned, 8)
			begin := func(ctx context.Context, id string) {
				call := b.begin(ctx, tc.path, tc.body("u", "等一下"), append(slices.Clone(tc.header), "X-Request-Id", id)...)
				go func() { ended <- turned{id, <-call} }()
			}
			begin(t.Context(), "first")
			<-g.arrived
			// Four may wait: one of five is refused, whichever comes last.
			leave := map[string]context.CancelFunc{}
			for _, id := range []string{"a", "b", "c", "d", "e"} {
				ctx, cancel := context.WithCancel(t.Context())
				leave[id] = cancel
				begin(ctx, id)
			}
			refused := <-ended
			if refused.status != http.StatusConflict || refused.header.Get("Retry-After") == "" {
				t.Errorf("%d %v %s", refused.status, refused.header, refused.body)
			}
			for _, want := range tc.refusal {
				if !strings.Contains(refused.body, want) {
					t.Errorf("no %s in %s", want, refused.body)
				}
			}
			if other := b.post(tc.path, tc.body("v", "你好"), tc.header...); other.status != http.StatusOK {
				t.Errorf("another user: %d %s", other.status, other.body)
			}
			delete(leave, refused.id)
			for id, cancel := range leave {
				cancel()
				if left := <-ended; left.id != id || left.status != 0 {
					t.Errorf("who left: %+v", left)
				}
				if l := b.logged(id); l.Level != "info" {
					t.Errorf("who left is logged: %+v", l)
				}
				break
			}
			begin(t.Context(), "in-the-free-place")
			close(g.through)
			for range 5 {
				if got := <-ended; got.status != http.StatusOK || !strings.Contains(got.body, "好的") {
					t.Errorf("%s: %d %s", got.id, got.status, got.body)
				}
			}
			if g.most != 1 {
				t.Errorf("%d conversations of one user at once", g.most)
			}
			for _, request := range b.Emulator.Requests() {
				if request.Status != http.StatusOK && request.Status != 0 {
					t.Errorf("upstream refused: %+v", request)
				}
			}
		})
	}
}

// TestUpstreamsConflict holds that upstream's own refusal of a second conversation, which
// another instance or somebody else holds, is a conflict and passes through.
func TestUpstreamsConflict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, key, configured string
		status                int
	}{
		{"the usual key", "", "", http.StatusConflict},
		{"a key that is configured", "aca.error.user.busy", "aca.error.x, aca.error.user.busy", http.StatusConflict},
		{"a name that is configured", "aca.error.user.busy", "Parallel Chat", http.StatusConflict},
		{"a key that nobody knows", "aca.error.user.busy", "", http.StatusTooManyRequests},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGate()
			b := setup(t, map[string]string{"XINGCHEN_PARALLEL_KEYS": tc.configured}, emulator.Config{
				Replier: g, Assume: emulator.Assumptions{Xingchen: xingchen.Assumptions{ParallelKey: tc.key}},
			})
			// Around the front door, with the key that it has itself.
			held := make(chan answer, 1)
			go func() {
				held <- b.call(http.MethodPost, b.EmulatorURL+send, emulator.DefaultXingchenKey, chat(xiaowan, "u", "等一下"),
					"x-fag-appcode", "aca", "x-fag-servicename", "aca-chat-send")
			}()
			<-g.arrived
			for _, header := range [][]string{nil, {"X-AcA-SSE", "enable"}} {
				got := b.post(send, chat(xiaowan, "u", "你好"), header...)
				if got.status != tc.status || !strings.Contains(got.body, `"errorMessageKey":"`+cmp.Or(tc.key, "aca.error.chat.parallel")+`"`) {
					t.Errorf("%d %s", got.status, got.body)
				}
				if conflict := tc.status == http.StatusConflict; conflict != (got.header.Get("Retry-After") == "1") {
					t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
				}
			}
			close(g.through)
			if got := <-held; got.status != http.StatusOK {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}
