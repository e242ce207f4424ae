package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/sse"
)

// clientOf calls a server, and waits for nothing between tries.
func clientOf(t *testing.T, handler http.HandlerFunc) *client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c := newClient()
	t.Cleanup(c.close)
	c.address, c.key, c.backoff = server.URL, canaryKey(), func(int) time.Duration { return 0 }
	return c
}

// TestFollowComesBack holds that a stream that breaks off, however it does, is taken up
// behind the last event, and that nothing is told twice.
func TestFollowComesBack(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var lasts []string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		call := calls.Add(1)
		lasts = append(lasts, r.Header.Get("Last-Event-ID"))
		switch call {
		case 1:
			_, _ = io.WriteString(w, ":\nid:5\ndata:a\n\nid:6\ndata:b\n\n")
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			_, _ = io.WriteString(w, "id:7\ndata:c\n\nid:8\ndata:ha")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, "id:8\ndata:end\n\n")
		}
	})
	var got []string
	err := c.follow(t.Context(), "/", func(event sse.Event) (bool, error) {
		got = append(got, string(event.Data))
		return string(event.Data) != "end", nil
	})
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "end"}, got); diff != "" {
		t.Errorf("events:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", "6", "6", "7"}, lasts); diff != "" {
		t.Errorf("Last-Event-ID:\n%s", diff)
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.WriteHeader(status)
		}
	}
	for _, tc := range []struct {
		status int
		calls  int64
		said   string
	}{
		{http.StatusNotFound, 1, "Not Found (404)"},
		{http.StatusBadGateway, maxTries, "Bad Gateway (502)"},
		{http.StatusNoContent, 1, ""},
	} {
		calls.Store(0)
		err := clientOf(t, answer(tc.status)).follow(t.Context(), "/", nil)
		if text := fmt.Sprint(err); calls.Load() != tc.calls || tc.said == "" != (err == nil) || !strings.Contains(text, tc.said) {
			t.Errorf("%d: %d calls, %v", tc.status, calls.Load(), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, ":\n")
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
	})
	if err := c.follow(ctx, "/", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	c.address = "http://127.0.0.1:1"
	if err := c.follow(t.Context(), "/", nil); err == nil {
		t.Error("nobody is there")
	}
}

func TestRefusalsAreReadable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, want string }{
		{"problem", `{"status":400,"code":"invalid_field","detail":"name: missing; from: missing","requestId":"req_1"}`, "name: missing; from: missing (400, invalid_field, request req_1)"},
		{"upstream's envelope", `{"success":false,"code":400,"errorMessage":"pageSize is too large","requestId":"up_1"}`, "pageSize is too large (400, request up_1)"},
		{"a proxy's page", "<html>no</html>\n", "<html>no</html> (400)"},
		{"nothing", "", "Bad Request (400)"},
		{"a long page", strings.Repeat("好", 5000), strings.Repeat("好", 66) + " (400)"},
	} {
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, tc.body)
		})
		if _, err := c.call(t.Context(), request{method: "GET", path: "/"}, nil); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestBar(t *testing.T) {
	t.Parallel()
	var screen strings.Builder
	b := &bar{out: &screen}
	reason := "1 of 3 histories are missing"
	e := jobs.Export{ID: "exp_1", State: jobs.StateRunning, Progress: jobs.Progress{Windows: 3, WindowsDone: 1, Rows: 1200, Bytes: 2_500_000, EtaMs: 61_000}}
	for _, change := range []func(){
		func() {},
		func() { e.Progress.WindowsDone = 2 },
		func() { e.Progress.WindowsDone = 3 },
		func() { e.State, e.Error, e.Manifest = jobs.StatePartial, &reason, "n/exp_1/manifest.json" },
	} {
		change()
		if err := b.show(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	b.close()
	for _, want := range []string{
		"running  1 of 3 windows  1200 rows  2.5 MB  1m1s left", "running  3 of 3 windows",
		"exp_1 partial: 3 of 3 windows, 1200 rows, 2.5 MB\n1 of 3 histories are missing\nmanifest n/exp_1/manifest.json\n",
	} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("no %q in %q", want, screen.String())
		}
	}
}

func TestBarOfAVerification(t *testing.T) {
	t.Parallel()
	var screen strings.Builder
	r := newBarReport(&screen, 10)
	for _, err := range []error{
		r.progress(5), r.finding(finding{Kind: findDouble, Part: "p", MessageID: "m", Detail: "twice"}), r.progress(10),
		r.conclude(summary{ID: "exp_1", Parts: 1, Windows: 1, Rows: 10, Findings: 1}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	for _, want := range []string{"double, part p, message m: twice\n", "exp_1: 10 rows in 1 parts of 1 windows: 1 findings; the export is not complete\n"} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("no %q in %q", want, screen.String())
		}
	}
}

func TestListIsPaged(t *testing.T) {
	t.Parallel()
	var asked []string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		next := ""
		if len(asked) < 3 {
			next = fmt.Sprintf(`,"nextCursor":"exp_%d"`, len(asked))
		}
		_, _ = io.WriteString(w, `{"exports":[{"id":"a"},{"id":"b"}]`+next+`}`)
	})
	for _, tc := range []struct {
		limit int
		lines int
		asked []string
	}{
		{0, 6, []string{"limit=200&state=done", "cursor=exp_1&limit=200&state=done", "cursor=exp_2&limit=200&state=done"}},
		{3, 4, []string{"limit=3&state=done", "cursor=exp_1&limit=1&state=done"}},
	} {
		asked = nil
		lines := 0
		err := c.list(t.Context(), "done", tc.limit, func([]byte) error {
			lines++
			return nil
		})
		if err != nil || lines != tc.lines || !slices.Equal(asked, tc.asked) {
			t.Errorf("limit %d: %d lines, asked %v, %v", tc.limit, lines, asked, err)
		}
	}
}

// TestHelpTellsThePatience holds the figures of the help against the constants.
func TestHelpTellsThePatience(t *testing.T) {
	t.Parallel()
	c := newClient()
	var pauses time.Duration
	for try := 1; try < maxTries; try++ {
		pauses += c.backoff(try)
	}
	silent, begun := pauses+maxTries*headTimeout, pauses+maxTries*idleTimeout
	if pauses.Round(time.Minute) != 2*time.Minute || silent.Round(time.Minute) != 9*time.Minute || begun.Round(time.Minute) != 17*time.Minute {
		t.Errorf("%s, %s, %s", pauses, silent, begun)
	}
	help := command(t, "", "", "export", "watch", "--help").stdout
	for _, told := range []string{strconv.Itoa(maxTries) + " tries", "about two minutes", "9 to 17\nminutes"} {
		if !strings.Contains(help, told) {
			t.Errorf("no %q in %s", told, help)
		}
	}
}
