package runtimes

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"xinghe/shared/faas"
)

// entries are all five, in the order of the table's columns.
var entries = []string{faas.EntryFCWeb, faas.EntryFCEvent, faas.EntryLambdaURL, faas.EntryLambdaEvent, faas.EntryHTTP}

// host is a program behind one of the entries.
type host struct {
	*testing.T
	entry  string
	url    string
	client *http.Client
	fn     *Function // nil for the entry http, which has no platform
	plain  *process  // of the entry http

	mu      sync.Mutex
	reports []Report
	output  bytes.Buffer
	probed  *gate // of a probe
}

// newHost runs a program behind an entry until the test ends.
func newHost(t *testing.T, entry, path string, adapt func(*Config), env ...string) *host {
	t.Helper()
	h := &host{T: t, entry: entry, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		if t.Failed() {
			h.mu.Lock()
			defer h.mu.Unlock()
			t.Logf("%s printed:\n%s", entry, &h.output)
		}
	})
	env = append(env, "LOG_LEVEL=warn")
	if entry == faas.EntryHTTP {
		h.startPlain(path, env)
		return h
	}
	cfg := Config{Entry: entry, Name: "probe", Program: path, Env: env, PreStop: true, Output: h, Report: h.note}
	if adapt != nil {
		adapt(&cfg)
	}
	var err error
	if h.fn, err = Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.fn.Close)
	front := httptest.NewServer(h.fn)
	h.url = front.URL
	t.Cleanup(front.Close)
	return h
}

// startPlain starts the program as a plain server.
func (h *host) startPlain(path string, env []string) {
	h.Helper()
	port, err := freePort(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	h.url = "http://" + addr
	if h.plain, err = launch(h.Context(), path, append(env, "XINGHE_ENTRY=http", "XINGHE_ADDR="+addr), h); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { h.plain.stop(patience) })
	if err := listens(h.Context(), h.plain, addr); err != nil {
		h.Fatal(err)
	}
}

// Write takes what the program prints.
func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.output.Write(p)
}

func (h *host) note(r Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, r)
}

// failures are the error types that the platform has noted.
func (h *host) failures() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var types []string
	for _, r := range h.reports {
		if r.ErrorType != "" {
			types = append(types, r.ErrorType)
		}
	}
	return strings.Join(types, ",")
}

// processes are the programs that run.
func (h *host) processes() []*process {
	if h.fn == nil {
		return []*process{h.plain}
	}
	return h.fn.programs()
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
	length int64 // that was announced; -1 for none
	cut    bool  // it broke off
}

// get makes a request.
func (h *host) get(path string) reply {
	h.Helper()
	return h.do(h.request(http.MethodGet, path, nil))
}

func (h *host) request(method, path string, body []byte) *http.Request {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), method, h.url+path, bytes.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	return r
}

func (h *host) do(r *http.Request) reply {
	h.Helper()
	got, err := h.try(r)
	if err != nil {
		h.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return got
}

// try is do for requests that may get no answer at all, and for other goroutines.
func (h *host) try(r *http.Request) (reply, error) {
	resp, err := h.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), resp.ContentLength, err != nil}, nil
}

// until waits for a condition.
func until(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-again.C {
		if time.Now().After(deadline) {
			tb.Fatalf("it did not come to this: %s", what)
		}
	}
}
