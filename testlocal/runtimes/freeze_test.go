package runtimes

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"xinghe/testlocal/natstest"
)

// freezes are the expected words of [TestFreeze] by entry; the entry http stands for a machine
// that was suspended.
var freezes = same("the next call finds its way")

// TestFreeze holds that a function that was frozen for so long that its connections are gone
// serves the next call. A program's clock cannot be moved from outside: instead of an hour
// the instance is stopped for a moment (SIGSTOP), and its connections end meanwhile.
func TestFreeze(t *testing.T) {
	t.Parallel()
	for i, entry := range entries {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			if got := freeze(t, entry, (*wire).cut, 0); got != freezes[i] {
				t.Errorf("%s, want %s", got, freezes[i])
			}
		})
	}
}

// lost are the expected words of [TestSoakFreeze]. A plain server is not one that is frozen:
// it trusts its connections until NATS has not answered for a while.
var lost = [5]string{freezes[0], freezes[1], freezes[2], freezes[3], "503 after"}

// TestSoakFreeze holds the same where nobody has heard that the connections are gone, which
// functions on platforms expect after a pause of some length.
func TestSoakFreeze(t *testing.T) {
	if getenv("XINGHE_SOAK") == "" {
		t.Skip("takes half a minute; run it by XINGHE_SOAK=1")
	}
	t.Parallel()
	for i, entry := range entries {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			if got := freeze(t, entry, (*wire).lose, 25*time.Second); got != lost[i] {
				t.Errorf("%s, want %s", got, lost[i])
			}
		})
	}
}

// freeze freezes the history-export function between two calls, has its connections fail
// meanwhile, and says what becomes of the second call.
func freeze(t *testing.T, entry string, fail func(*wire) int, pause time.Duration) string {
	t.Helper()
	broker := natstest.Listen(t, "", "")
	w := newWire(t, strings.TrimPrefix(broker.URL(), "nats://"))
	ensure(t, broker)
	h := newHost(t, entry, program(t, "history-export"), nil,
		"NATS_URL=nats://"+w.addr, "XINGHE_API_KEYS=k", "XINGHE_SINK=folder:"+t.TempDir())
	if got := h.export("before"); got != http.StatusAccepted {
		return fmt.Sprintf("%d before", got)
	}
	before := h.processes()
	if h.fn == nil {
		h.plain.freeze()
	}
	until(t, "the instance is frozen", func() bool { return frozen(before[0]) })
	if fail(w) == 0 {
		return "no connection before"
	}
	<-time.After(pause)
	if h.fn == nil {
		h.plain.thaw()
	}
	if got := h.export("after"); got != http.StatusAccepted {
		return fmt.Sprintf("%d after", got)
	}
	if after := h.processes(); len(after) != 1 || after[0] != before[0] {
		return "another instance"
	}
	return "the next call finds its way"
}

func frozen(p *process) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}

// export starts an export and returns the status of the answer.
func (h *host) export(name string) int {
	h.Helper()
	got := h.do(h.exportRequest(name))
	if got.status != http.StatusAccepted {
		h.Logf("%s: %d %s", name, got.status, got.body)
	}
	return got.status
}

func (h *host) exportRequest(name string) *http.Request {
	h.Helper()
	r := h.request(http.MethodPost, "/v1/exports", fmt.Appendf(nil,
		`{"name":%q,"characters":["c"],"users":["u"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`, name))
	r.Header.Set("Authorization", "Bearer k")
	r.Header.Set("Content-Type", "application/json")
	return r
}
