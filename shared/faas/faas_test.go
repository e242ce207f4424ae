package faas_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/shared/env"
	"xinghe/shared/faas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, handler http.Handler, grace time.Duration) (address string, stop context.CancelFunc, done <-chan error) {
	t.Helper()
	listener, err := faas.Listen(t.Context(), "127.0.0.1:0", "XINGHE_ADDR")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- faas.Serve(ctx, listener, handler, grace) }()
	return "http://" + listener.Addr().String(), cancel, result
}

func TestServeEndsRequestsInFlight(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	address, stop, done := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		if r.Context().Err() != nil {
			t.Error("the request was cancelled within the grace")
		}
		_, _ = io.WriteString(w, "whole")
	}), time.Minute)
	answer := make(chan string, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(address)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	stop()
	close(leave)
	if got := <-answer; got != "whole" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeCutsWhatOutlivesTheGrace(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	address, stop, done := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}), time.Millisecond)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if resp, err := client.Get(address); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	stop()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "were cut") {
		t.Errorf("Serve: %v", err)
	}
}

func TestListenNamesTheVariable(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for _, addr := range []string{taken.Addr().String(), "127.0.0.1:notaport"} {
		if _, err := faas.Listen(t.Context(), addr, "XINGHE_ADDR"); err == nil || !strings.Contains(err.Error(), "XINGHE_ADDR") {
			t.Errorf("Listen(%s): %v", addr, err)
		}
	}
}

func TestUnknownEntry(t *testing.T) {
	t.Parallel()
	vars := env.New(func(name string) string { return map[string]string{"XINGHE_ENTRY": "fc-event"}[name] })
	if _ = faas.FromEnv(vars); vars.Err() == nil || !strings.Contains(vars.Err().Error(), "XINGHE_ENTRY") {
		t.Errorf("FromEnv: %v", vars.Err())
	}
	if err := faas.Run(t.Context(), faas.Config{Entry: "fc-event"}, faas.Function{}); err == nil {
		t.Error("Run takes an entry that it has not")
	}
}

func TestBoundGarbageFollowsTheHeap(t *testing.T) { // not parallel: it is the process's setting
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	faas.BoundGarbage(8 << 20)
	percent := func() int {
		runtime.GC()
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	deadline := time.After(10 * time.Second)
	wait := func(what string, fits func(int) bool) {
		t.Helper()
		for !fits(percent()) {
			select {
			case <-deadline:
				t.Fatalf("%s: the percentage is %d", what, percent())
			default:
				runtime.Gosched()
			}
		}
	}
	wait("a small heap", func(p int) bool { return p == 400 })
	live := make([]byte, 64<<20)
	wait("a large heap", func(p int) bool { return p == 25 })
	runtime.KeepAlive(live)
}
