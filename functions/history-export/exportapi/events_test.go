package exportapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"xinghe/shared/faas"
	"xinghe/shared/jobs"
	"xinghe/shared/sse"
)

// told is an event as a client sees it.
type told struct {
	Type, ID string
	State    jobs.State
	Done     int
}

// follower reads an event stream over a connection.
type follower struct {
	t      *testing.T
	resp   *http.Response
	events *sse.Reader
}

func (b *bundle) follow(id, last string) *follower {
	b.t.Helper()
	server := httptest.NewServer(b.handler)
	b.t.Cleanup(server.Close)
	return b.followAt(server.URL, id, last)
}

func (b *bundle) followAt(url, id, last string) *follower {
	b.t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	b.t.Cleanup(client.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	b.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/exports/"+id+"/events", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer k")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	return &follower{t: b.t, resp: resp, events: sse.NewReader(resp.Body, sse.ReaderConfig{})}
}

// next reads one event.
func (f *follower) next() told {
	f.t.Helper()
	event, err := f.events.Next()
	if err != nil {
		f.t.Fatal(err)
	}
	var e jobs.Export
	if err := json.Unmarshal(event.Data, &e); err != nil {
		f.t.Fatal(err)
	}
	return told{event.Type, event.ID, e.State, e.Progress.WindowsDone}
}

func (f *follower) over() {
	f.t.Helper()
	if event, err := f.events.Next(); err == nil {
		f.t.Errorf("the stream goes on: %+v", event)
	}
}

func TestEventsTellTheStatesUntilTheEnd(t *testing.T) {
	t.Parallel()
	for state, kind := range map[jobs.State]string{
		jobs.StateDone: "done", jobs.StatePartial: "done", jobs.StateFailed: "failed", jobs.StateCancelled: "failed",
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			e := b.started("nightly")
			f := b.follow(e.ID, "")
			if f.resp.StatusCode != http.StatusOK || !strings.HasPrefix(f.resp.Header.Get("Content-Type"), "text/event-stream") {
				t.Fatalf("%d %v", f.resp.StatusCode, f.resp.Header)
			}
			first := f.next()
			if first.Type != "progress" || first.State != jobs.StateQueued {
				t.Errorf("first %+v", first)
			}
			running := b.becomes(e.ID, func(e *jobs.Export) { e.State, e.Progress.WindowsDone = jobs.StateRunning, 1 })
			if diff := cmp.Diff(told{"progress", strconv.FormatUint(running, 10), jobs.StateRunning, 1}, f.next()); diff != "" {
				t.Error(diff)
			}
			end := b.ends(e.ID, state)
			if diff := cmp.Diff(told{kind, strconv.FormatUint(end, 10), state, 1}, f.next()); diff != "" {
				t.Error(diff)
			}
			f.over()
		})
	}
}

func TestEventsGoOnBehindTheLast(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.started("nightly")
	seen := b.becomes(e.ID, func(e *jobs.Export) { e.State = jobs.StateRunning })
	f := b.follow(e.ID, strconv.FormatUint(seen, 10))
	end := b.ends(e.ID, jobs.StateDone)
	if diff := cmp.Diff(told{"done", strconv.FormatUint(end, 10), jobs.StateDone, 0}, f.next()); diff != "" {
		t.Errorf("what was seen comes again:\n%s", diff)
	}
	f.over()
	// Who missed the end gets it, who has had it is sent away.
	if got := b.follow(e.ID, strconv.FormatUint(seen, 10)).next(); got.State != jobs.StateDone {
		t.Errorf("%+v", got)
	}
	if got := b.follow(e.ID, strconv.FormatUint(end, 10)).resp.StatusCode; got != http.StatusNoContent {
		t.Errorf("after the end: %d", got)
	}
	if got := b.follow(e.ID, "99999999").next(); got.State != jobs.StateDone {
		t.Errorf("an id of another bucket: %+v", got)
	}
	b.refused(http.StatusNotFound, "GET", "/v1/exports/exp_none/events", "", "exp_none")
	if w := do(b.handler, "GET", "/v1/exports/"+e.ID+"/events", "", "Last-Event-ID", "x"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "Last-Event-ID") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestEventsOutliveNATS(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.started("nightly")
	f := b.follow(e.ID, "")
	f.next()
	b.nats.Stop()
	b.nats.Start()
	b.ends(e.ID, jobs.StateDone)
	if got := f.next(); got.State != jobs.StateDone {
		t.Errorf("%+v", got)
	}
	f.over()
}

// timed is a context whose deadline passes when the test says so.
type timed struct {
	context.Context
	over chan struct{}
}

func (c timed) Done() <-chan struct{} { return c.over }

func (c timed) Err() error {
	select {
	case <-c.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// TestEventsEndWithTheFunction shows that a stream uses up neither the grace at the end of
// the function nor an error line, there and where the platform bounds answers.
func TestEventsEndWithTheFunction(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(stop, expire func()){
		"stopped":  func(stop, _ func()) { stop() },
		"deadline": func(_, expire func()) { expire() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			e := b.started("nightly")
			var log bytes.Buffer // read when the server has ended
			handler, over := serve(t, b.api, zerolog.New(&log)), make(chan struct{})
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() {
				ended <- faas.Serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					handler.ServeHTTP(w, r.WithContext(timed{r.Context(), over}))
				}), time.Hour)
			}()
			f := b.followAt("http://"+listener.Addr().String(), e.ID, "")
			f.next()
			end(stop, func() { close(over) })
			if event, err := f.events.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("the client reads %+v, %v", event, err)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if got := log.String(); !strings.Contains(got, `"level":"info"`) || strings.Contains(got, "error") {
				t.Errorf("log: %s", got)
			}
		})
	}
}

func TestHeartbeatsHaveNoBlankLine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.started("nightly")
	f := b.follow(e.ID, "")
	lines := bufio.NewScanner(f.resp.Body)
	previous, beats, events := "", 0, 0
	for beats < 3 && lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, ":"):
			if events > 0 {
				beats++
			}
		case line == "" && (previous == "" || strings.HasPrefix(previous, ":")):
			t.Error("a blank line after a heartbeat")
		case strings.HasPrefix(line, "event:"):
			events++
		}
		previous = lines.Text()
	}
	if beats < 3 || events != 1 {
		t.Errorf("%d heartbeats, %d events", beats, events)
	}
}
