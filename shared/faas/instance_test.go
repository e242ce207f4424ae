package faas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestThawAfterAFreeze(t *testing.T) {
	t.Parallel()
	var thawed, flushed, background atomic.Int32
	b := setup(t, Config{Entry: EntryFCWeb}, Function{
		Thaw:       func() { thawed.Add(1) },
		Flush:      func(context.Context) error { flushed.Add(1); return nil },
		Background: func(ctx context.Context) { background.Add(1); <-ctx.Done() },
	})
	call := func(pause time.Duration) {
		b.clock.forward(pause)
		end := b.begin(b.t.Context())
		b.clock.forward(time.Hour) // a long call is no freeze
		end()
	}
	counts := func() [2]int32 { return [2]int32{thawed.Load(), flushed.Load()} }
	call(time.Hour)
	if diff := cmp.Diff([2]int32{0, 1}, counts()); diff != "" {
		t.Errorf("the first call: thawed, flushed\n%s", diff)
	}
	call(time.Second)
	call(frozenAfter)
	if diff := cmp.Diff([2]int32{0, 3}, counts()); diff != "" {
		t.Errorf("calls after short pauses: thawed, flushed\n%s", diff)
	}
	call(time.Hour)
	if diff := cmp.Diff([2]int32{1, 4}, counts()); diff != "" {
		t.Errorf("a call after a freeze: thawed, flushed\n%s", diff)
	}
	// While one call is under way, the instance is not frozen.
	first := b.begin(b.t.Context())
	b.clock.forward(time.Hour)
	b.begin(b.t.Context())()
	first()
	if got := thawed.Load(); got != 1 {
		t.Errorf("thawed %d times while a call was under way", got)
	}
	_ = b.stop()
	if got := background.Load(); got != 1 {
		t.Errorf("the background ran %d times", got)
	}
}

func TestNothingStartsBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	var started, closed atomic.Bool
	b := setup(t, Config{Entry: EntryLambdaURL}, Function{
		Background: func(context.Context) { started.Store(true) },
		Close:      func() { closed.Store(true) },
	})
	_ = b.stop()
	if started.Load() || !closed.Load() {
		t.Errorf("started %v, closed %v", started.Load(), closed.Load())
	}
}

func TestFlushIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Entry: EntryFCWeb}, Function{Flush: func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > flushWithin {
			t.Errorf("deadline %v %v", deadline, ok)
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	b.begin(b.t.Context())()
	if !strings.Contains(b.log.String(), "not flushed in time") {
		t.Errorf("log: %s", b.log)
	}
}

func TestStopLetsCallsEnd(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	b := setup(t, Config{Entry: EntryFCEvent, Grace: time.Hour}, Function{Close: func() { close(closed) }})
	end := b.begin(b.t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- b.stop() }()
	select {
	case <-Leaving(b.base):
	case <-time.After(patience):
		t.Error("the call is not told of the end")
	}
	select {
	case <-closed:
		t.Error("closed while a call was under way")
	default:
	}
	if err := b.base.Err(); err != nil {
		t.Errorf("cut within the grace: %v", err)
	}
	end()
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	<-closed
}

func TestStopCutsByADeadline(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Entry: EntryFCEvent, Grace: 2 * time.Minute}, Function{})
	b.cfg.Grace = 2 * time.Millisecond
	end := b.begin(b.t.Context())
	defer end()
	ctx, cancel := context.WithCancel(b.base)
	defer cancel()
	err := b.stop()
	if err == nil || !strings.Contains(err.Error(), "were cut after 2ms") {
		t.Errorf("stop: %v", err)
	}
	if again := b.stop(); !errors.Is(again, err) {
		t.Errorf("stop again: %v", again)
	}
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatal("the call's context goes on")
	}
	// A client that is still there is told of a deadline, not of one who has left.
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call's context: %v", err)
	}
}

// pipes is a network without one, so that time can be the bubble's.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	over  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.over) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

func TestServeSaysWhyBeforeItCuts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{conns: make(chan net.Conn), over: make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		entered, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- Serve(ctx, network, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(entered)
				<-Leaving(r.Context())
				leaving := time.Now()
				<-r.Context().Done()
				_, _ = fmt.Fprintf(w, "%v, %s later", r.Context().Err(), time.Since(leaving))
			}), 0)
		}()
		answer := make(chan string, 1)
		go func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: network.dial}}
			resp, err := client.Get("http://pipe/")
			if err != nil {
				answer <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			answer <- string(body)
		}()
		<-entered
		began := time.Now()
		stop()
		if got := <-answer; got != "context deadline exceeded, 9s later" {
			t.Errorf("the client got %q", got)
		}
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("the request was cut after %s, a second before the grace of 10 s is over", took)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestBeforeLeavesTimeToSpeak(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]time.Duration{time.Hour: time.Hour - 2*time.Second, 10 * time.Second: 8 * time.Second, 3 * time.Second: 2400 * time.Millisecond} {
		ctx, cancel := before(t.Context(), left)
		deadline, _ := ctx.Deadline()
		cancel()
		if got := time.Until(deadline); got > want || got < want-patience {
			t.Errorf("%s left: %s, want %s", left, got, want)
		}
	}
}

func TestHandleSurvives(t *testing.T) {
	t.Parallel()
	var r recorder
	b := setup(t, Config{Entry: EntryLambdaEvent}, Function{Event: r.event})
	for payload, want := range map[string]string{`"fail"`: "timer nightly: told to, Bearer ", `"panic"`: "timer nightly: panic: told to"} {
		_, err := b.handle(t.Context(), Event{Kind: KindTimer, Name: "nightly", Payload: []byte(payload)})
		if failed, ok := errors.AsType[*EventError](err); !ok || failed.Event.Name != "nightly" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", payload, err)
		}
	}
	if log := b.log.String(); strings.Contains(log, "sk-secret") || !strings.Contains(log, `"trigger":"nightly"`) || !strings.Contains(log, `"stack":`) {
		t.Errorf("log: %s", log)
	}
	none := setup(t, Config{Entry: EntryLambdaEvent}, Function{})
	if _, err := none.handle(t.Context(), Event{Kind: KindInvoke}); !errors.Is(err, errNoEvents) {
		t.Errorf("a function without events: %v", err)
	}
}
