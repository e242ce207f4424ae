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
	entered, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	address, stop, done := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
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

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		vars  map[string]string
		entry string
		addr  string
		fault string
	}{
		{"nothing set", nil, "http", "127.0.0.1:8787", ""},
		{"plain HTTP", map[string]string{"XINGHE_ENTRY": "http", "XINGHE_ADDR": "127.0.0.1:0"}, "http", "127.0.0.1:0", ""},
		{"FC web", map[string]string{"XINGHE_ENTRY": "fc-web", "XINGHE_ADDR": "127.0.0.1:0"}, "fc-web", "0.0.0.0:9000", ""},
		{"FC web's port", map[string]string{"XINGHE_ENTRY": "fc-web", "FC_CUSTOM_LISTEN_PORT": "9001"}, "fc-web", "0.0.0.0:9001", ""},
		{"FC web's port of old", map[string]string{"XINGHE_ENTRY": "fc-web", "FC_SERVER_PORT": "9002"}, "fc-web", "0.0.0.0:9002", ""},
		{"FC web told by its port", map[string]string{"FC_CUSTOM_LISTEN_PORT": "9000", "FC_RUNTIME_API": "127.0.0.1:1"}, "fc-web", "0.0.0.0:9000", ""},
		{"no port", map[string]string{"XINGHE_ENTRY": "fc-web", "FC_CUSTOM_LISTEN_PORT": "x"}, "fc-web", "0.0.0.0:9000", "FC_CUSTOM_LISTEN_PORT"},
		{"FC event", map[string]string{"XINGHE_ENTRY": "fc-event", "FC_RUNTIME_API": "127.0.0.1:1"}, "fc-event", "", ""},
		{"FC event told by its API", map[string]string{"FC_RUNTIME_API": "127.0.0.1:1"}, "fc-event", "", ""},
		{"FC event elsewhere", map[string]string{"XINGHE_ENTRY": "fc-event"}, "fc-event", "", "FC_RUNTIME_API"},
		{"Lambda", map[string]string{"XINGHE_ENTRY": "lambda-url", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}, "lambda-url", "", ""},
		{"Lambda elsewhere", map[string]string{"XINGHE_ENTRY": "lambda-event"}, "lambda-event", "", "AWS_LAMBDA_RUNTIME_API"},
		{"Lambda without a word", map[string]string{"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}, "http", "127.0.0.1:8787", "XINGHE_ENTRY: missing on Lambda: set it to lambda-url"},
		{"unknown", map[string]string{"XINGHE_ENTRY": "azure"}, "http", "127.0.0.1:8787", `XINGHE_ENTRY: "azure" is none of: http, fc-web, fc-event, lambda-url, lambda-event`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			vars := env.New(func(name string) string { return tc.vars[name] })
			got := faas.FromEnv(vars)
			if got.Entry != tc.entry || got.Addr != tc.addr {
				t.Errorf("entry %q at %q, want %q at %q", got.Entry, got.Addr, tc.entry, tc.addr)
			}
			if err := vars.Err(); (err == nil) != (tc.fault == "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("fault %v, want %q", err, tc.fault)
			}
		})
	}
	if err := faas.Run(t.Context(), faas.Config{Entry: "azure"}, faas.Function{}); err == nil || !strings.Contains(err.Error(), "XINGHE_ENTRY") {
		t.Errorf("Run: %v", err)
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
