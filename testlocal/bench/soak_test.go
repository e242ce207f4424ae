package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
)

// TestShortSoak is the soak in small, for every run of the tests.
func TestShortSoak(t *testing.T) {
	soak{streams: 50, length: 2 * time.Second, pace: 10 * time.Millisecond}.run(t)
}

// TestSoak holds 2,000 streams open through the front door for two minutes, or for as long as
// XINGHE_SOAK_TIME says, while upstream has faults and clients leave. It needs some 8,200
// file descriptors.
func TestSoak(t *testing.T) {
	if getenv("XINGHE_SOAK") == "" {
		t.Skip("takes two minutes: set XINGHE_SOAK=1 to run it")
	}
	long := soak{streams: 2000, length: 2 * time.Minute, pace: 200 * time.Millisecond}
	if text := getenv("XINGHE_SOAK_TIME"); text != "" {
		var err error
		if long.length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("XINGHE_SOAK_TIME: %v", err)
		}
	}
	long.run(t)
}

// soak is many clients that ask one stream after another.
type soak struct {
	streams int
	length  time.Duration
	pace    time.Duration // of upstream's frames
}

// soakFaults strike 5 % of all requests, each of them as often as the others.
func soakFaults() []fault.Rule {
	rules := []fault.Rule{
		{Fault: fault.Cut, AtFrame: 3},
		{Fault: fault.Reset, AtFrame: 3},
		{Fault: fault.ErrorEvent, AtFrame: 3},
		{Fault: fault.Stall, AtFrame: 2, Delay: 300 * time.Millisecond},
		{Fault: fault.Split},
		{Fault: fault.Throttle},
		{Fault: fault.InternalError},
	}
	for i := range rules {
		rules[i].Share = 0.05 / float64(len(rules))
	}
	return rules
}

func (s soak) run(t *testing.T) {
	t.Helper()
	emu, err := emulator.New(emulator.Config{Pace: s.pace, RequestLog: -1, Faults: fault.Set{Rules: soakFaults()}})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: s.streams, DisableCompression: true}
	addr := serve(t, soakFront(t, serve(t, emu), transport))
	warm := &client{addr: addr, request: chatRequest("first", "你好", true), reader: &soakReader{leaveAfter: -1}}
	if err := warm.do(); err != nil {
		t.Fatal(err)
	}
	warm.close()
	before := settled(transport.CloseIdleConnections)

	var all sync.WaitGroup
	var total tally
	end := time.Now().Add(s.length)
	for i := range s.streams {
		all.Go(func() {
			<-time.After(s.length / 20 * time.Duration(i) / time.Duration(s.streams))
			total.add(talk(t, addr, i, end))
		})
	}
	all.Wait()
	t.Logf("%d streams ended well, %d with an error that was told, %d were left", total.well, total.told, total.left)
	if total.well == 0 || total.told == 0 || total.left == 0 {
		t.Error("one of them never happened: too little was seen to prove anything")
	}
	// Both servers still run: what they keep for a client that has gone shows here.
	before.await(t, transport.CloseIdleConnections)
}

func soakFront(t *testing.T, upstream string, transport http.RoundTripper) http.Handler {
	t.Helper()
	client, err := xingchen.New(xingchen.Config{
		BaseURL: "http://" + upstream, APIKey: sign.NewSecret(emulator.DefaultXingchenKey), Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := httpapi.ParseKeys(frontKey)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys, Logger: zerolog.New(io.Discard)}, chatapi.Routes(chatapi.Config{Xingchen: client})...)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func serve(t *testing.T, handler http.Handler) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- faas.Serve(ctx, listener, handler, 0) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// tally counts how streams ended.
type tally struct {
	mu               sync.Mutex
	well, told, left int
}

func (t *tally) add(well, told, left int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.well, t.told, t.left = t.well+well, t.told+told, t.left+left
}

// talk asks one stream after another, and leaves each tenth in its midst. Whoever has left
// comes back as another user: upstream may still believe the former one to be there.
func talk(t *testing.T, addr string, index int, end time.Time) (well, told, left int) {
	t.Helper()
	r := &soakReader{}
	c := &client{addr: addr, reader: r}
	defer c.close()
	for n := index; time.Now().Before(end); n++ {
		*r = soakReader{leaveAfter: -1}
		if n%10 == 9 {
			r.leaveAfter = 2 + n%3
		}
		c.request = chatRequest(fmt.Sprintf("user-%d-%d", index, left), "写60字", true)
		err := c.do()
		refused, isRefusal := errors.AsType[*statusError](err)
		switch {
		case err == nil && r.told, isRefusal && strings.Contains(refused.body, `"success":false`):
			told++
		case err == nil:
			well++
		case errors.Is(err, errLeft):
			left++
		default:
			t.Errorf("client %d: %v", index, err)
		}
	}
	return well, told, left
}

var errLeft = errors.New("the client has left")

// soakReader tells a stream that ended well from one that was said to have failed.
type soakReader struct {
	leaveAfter int // events; negative is never
	events     int
	well, told bool
}

func (r *soakReader) line(text []byte) error {
	if r.events == r.leaveAfter {
		return errLeft
	}
	switch {
	case r.well:
		return fmt.Errorf("after the last frame: %s", text)
	case string(text) == "event:error":
		r.told = true
	case bytes.HasPrefix(text, data):
		r.events++
		r.well = bytes.Contains(text, final)
	}
	return nil
}

func (r *soakReader) end() (int, error) {
	if r.well == r.told {
		return 0, fmt.Errorf("after %d events: ended well: %t, an error was told: %t", r.events, r.well, r.told)
	}
	return r.events, nil
}

// used are things that leak.
type used struct{ goroutines, files int }

// countUsed counts those of this process; files are -1 where they cannot be counted.
func countUsed() used {
	u := used{goroutines: runtime.NumGoroutine(), files: -1}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(open)
	}
	return u
}

// settled is what is in use once that has not changed for half a second.
func settled(letGo func()) used {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := countUsed()
	for same := 0; same < 25; <-tick.C {
		letGo()
		now := countUsed()
		same++
		if now != last {
			last, same = now, 0
		}
	}
	return last
}

// await waits until no more is in use than before.
func (u used) await(t *testing.T, letGo func()) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		letGo()
		now := countUsed()
		if now.goroutines <= u.goroutines && now.files <= u.files {
			t.Logf("in use afterwards: %+v, before: %+v", now, u)
			return
		}
		if time.Now().After(deadline) {
			var where strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&where, 1)
			t.Fatalf("still in use: %+v, before: %+v\n%.8000s", now, u, where.String())
		}
	}
}
