package runtimes

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"xinghe/shared/faas"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/natstest"
)

// sendPath is upstream's and ours alike.
const sendPath = "/v2/api/chat/send"

// stalled is an upstream whose streams go silent after two events. It tells when one has
// begun.
func stalled(t *testing.T) (url string, begun <-chan struct{}) {
	t.Helper()
	emu, err := emulator.New(emulator.Config{
		Pace: emulator.NoPace, Faults: fault.Set{Rules: []fault.Rule{{Route: sendPath, Fault: fault.Stall, AtFrame: 3}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan struct{}, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == sendPath {
			calls <- struct{}{}
		}
		emu.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := emu.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.URL, calls
}

// chatHost runs the chat function.
func chatHost(t *testing.T, entry, upstream string, adapt func(*Config)) *host {
	t.Helper()
	return newHost(t, entry, program(t, "chat"), adapt,
		"XINGHE_API_KEYS=k", "XINGCHEN_BASE_URL="+upstream, "XINGCHEN_API_KEY="+emulator.DefaultXingchenKey)
}

// chat asks for a streamed answer.
func (h *host) chat() *http.Request {
	h.Helper()
	r := h.request(http.MethodPost, sendPath, []byte(
		`{"input":{"messages":[{"role":"user","content":"你今年多大"}],"aca":{"botProfile":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0"},"userProfile":{"userId":"1234567"}}}}`))
	r.Header.Set("Authorization", "Bearer k")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-AcA-SSE", "enable")
	return r
}

// graces are how long the platforms leave a program that was told to end. Function Compute
// documents none, and has its pre-stop hook; a plain server's is that of whatever runs it.
var graces = map[string]time.Duration{faas.EntryLambdaURL: 500 * time.Millisecond, faas.EntryLambdaEvent: 500 * time.Millisecond}

// terminations are the expected words of [TestTermination] by entry.
var terminations = same("error event, exit 0")

// TestTermination holds that a program that is told to end while it streams tells its client
// that the answer is not whole, and ends by itself within the platform's grace.
func TestTermination(t *testing.T) {
	t.Parallel()
	for i, entry := range entries {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			// What a busy machine takes away is not the program's: one of a few must do.
			var got string
			var took time.Duration
			for range tries(entry) {
				got, took = terminate(t, entry)
				if got == terminations[i] && (graces[entry] == 0 || took < graces[entry]) {
					return
				}
			}
			t.Errorf("%s after %s, want %s; the platform leaves it %s", got, took, terminations[i], graces[entry])
		})
	}
}

// tries is more where the platform leaves little time, of which a try takes no more either.
func tries(entry string) int {
	if graces[entry] == 0 {
		return 2
	}
	return 12
}

func terminate(t *testing.T, entry string) (what string, took time.Duration) {
	t.Helper()
	upstream, begun := stalled(t)
	h := chatHost(t, entry, upstream, func(c *Config) { c.NoFreeze = true }) // a frozen one would end with the next call
	answer := make(chan string, 1)
	go func() {
		got, err := h.try(h.chat())
		switch {
		case err != nil:
			answer <- err.Error()
		case got.cut:
			answer <- fmt.Sprintf("%d, cut", got.status)
		case strings.Contains(got.body, "event:error"):
			answer <- "error event"
		default:
			answer <- fmt.Sprintf("%d %s", got.status, got.body)
		}
	}()
	<-begun
	program := h.processes()[0]
	start := time.Now()
	if err := program.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-program.exited:
	case <-time.After(patience):
		t.Fatal("the program does not end")
	}
	took = time.Since(start)
	return fmt.Sprintf("%s, exit %d", <-answer, program.cmd.ProcessState.ExitCode()), took
}

// TestTerminationKeepsJobs holds that what was accepted is stored, whatever becomes of the
// program that accepted it.
func TestTerminationKeepsJobs(t *testing.T) {
	t.Parallel()
	for _, entry := range entries {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			broker := natstest.Listen(t, "", "")
			ensure(t, broker)
			h := newHost(t, entry, program(t, "history-export"), func(c *Config) { c.NoFreeze = true },
				"NATS_URL="+broker.URL(), "XINGHE_API_KEYS=k", "XINGHE_SINK=folder:"+t.TempDir())
			var accepted atomic.Int64
			some := make(chan struct{}, 64)
			ctx, leave := context.WithCancel(t.Context())
			callers := make(chan struct{})
			go func() {
				defer close(callers)
				for i := 0; ctx.Err() == nil; i++ {
					got, err := h.try(h.exportRequest(fmt.Sprintf("job-%d", i)))
					if err != nil {
						return // it has ended
					}
					if got.status == http.StatusAccepted {
						accepted.Add(1)
						select {
						case some <- struct{}{}:
						default:
						}
					}
				}
			}()
			for range 3 {
				<-some
			}
			program := h.processes()[0]
			if err := program.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			until(t, "the program ends", func() bool { return !program.alive() })
			leave()
			<-callers
			if code := program.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit %d", code)
			}
			if kept := stored(t, broker); kept < int(accepted.Load()) {
				t.Errorf("%d jobs were accepted, %d are there", accepted.Load(), kept)
			}
		})
	}
}
