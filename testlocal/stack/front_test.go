package stack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/beebot"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/stack"
)

// until polls a condition, for at most ten seconds.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("a minute has passed and it is not so that %s", what)
		}
	}
}

// line is the log line of a request.
type line struct {
	Level      string `json:"level"`
	RequestID  string `json:"request_id"`
	UpstreamID string `json:"upstream_request_id"`
	Error      string `json:"error"`
	Key        string `json:"key"`
	Incomplete *bool  `json:"usage_incomplete"`
	Output     int    `json:"output_tokens"`
	Status     int    `json:"status"`
	Message    string `json:"message"`
}

// logged waits for the log line of a request.
func (b *bundle) logged(requestID string) line {
	b.t.Helper()
	var found line
	until(b.t, "the request "+requestID+" is logged", func() bool {
		for text := range strings.SplitSeq(b.log.String(), "\n") {
			if !strings.Contains(text, requestID) {
				continue
			}
			var l line
			if json.Unmarshal([]byte(text), &l) == nil && l.RequestID == requestID && l.Message == "request" {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

// upstream waits until the emulator is done with as many requests of a user, and returns
// them.
func (b *bundle) upstream(user string, count int) []emulator.Request {
	b.t.Helper()
	var found []emulator.Request
	until(b.t, "upstream is done with "+strconv.Itoa(count)+" requests of "+user, func() bool {
		found = nil
		for _, request := range b.Emulator.Requests() {
			if request.Done && request.User == user {
				found = append(found, request)
			}
		}
		return len(found) >= count
	})
	return found
}

// wires carry the requests of a front and count what is open.
type wires struct {
	http.Transport
	once  sync.Once
	open  atomic.Int64 // answers that are not closed
	conns atomic.Int64 // connections
}

func (w *wires) RoundTrip(r *http.Request) (*http.Response, error) {
	w.once.Do(func() { w.DialContext = w.dial })
	w.open.Add(1)
	resp, err := w.Transport.RoundTrip(r)
	if err != nil {
		w.open.Add(-1)
		return nil, err
	}
	resp.Body = &countedBody{ReadCloser: resp.Body, done: func() { w.open.Add(-1) }}
	return resp, nil
}

func (w *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.conns.Add(1)
	return &countedConn{Conn: conn, done: func() { w.conns.Add(-1) }}, nil
}

type countedBody struct {
	io.ReadCloser
	once sync.Once
	done func()
}

func (b *countedBody) Close() error {
	defer b.once.Do(b.done)
	return b.ReadCloser.Close()
}

type countedConn struct {
	net.Conn
	once sync.Once
	done func()
}

func (c *countedConn) Close() error {
	defer c.once.Do(c.done)
	return c.Conn.Close()
}

// nothingOpen waits until a front has nothing under way upstream and no connection there but
// idle ones.
func (b *bundle) nothingOpen(w *wires) {
	b.t.Helper()
	until(b.t, "no answer of upstream's is open", func() bool { return w.open.Load() == 0 })
	until(b.t, "no connection to upstream is in use", func() bool {
		w.CloseIdleConnections()
		return w.conns.Load() == 0
	})
}

// limits of what upstream may do; those that are 0 are the defaults.
type limits struct {
	idle  time.Duration
	bytes int // of a document or a frame
}

// watched has the chat function call upstream over wires of its own, within limits that
// a test can reach. key is the key of the emulated Xingchen.
func watched(t *testing.T, w *wires, key string, limit limits) func(*stack.Stack, *chatapi.Config) {
	t.Helper()
	return func(s *stack.Stack, cfg *chatapi.Config) {
		var err error
		cfg.Xingchen, err = xingchen.New(xingchen.Config{
			BaseURL: s.EmulatorURL, APIKey: sign.NewSecret(key), Transport: w, IdleTimeout: limit.idle, Timeout: limit.idle, MaxResponseBytes: limit.bytes,
		})
		if err != nil {
			t.Error(err)
		}
		cfg.Beebot, err = beebot.New(beebot.Config{
			Endpoint: s.EmulatorURL, StreamURL: s.EmulatorURL, Transport: w, IdleTimeout: limit.idle, MaxResponseBytes: limit.bytes,
			AgentKey: sign.NewSecret(emulator.DefaultAgentKey),
			Credentials: beebot.StaticCredentials(beebot.Credentials{
				AccessKeyID: emulator.DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(emulator.DefaultAccessKeySecret),
			}),
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// event is one of a stream that a client reads.
type event struct{ kind, data string }

// events takes a stream apart by the rules of Server-Sent Events that clients rely on.
func events(body string) []event {
	var list []event
	var next event
	for text := range strings.SplitSeq(body, "\n") {
		switch field, value, _ := strings.Cut(text, ":"); {
		case text == "" && next != event{}:
			list, next = append(list, next), event{}
		case field == "event":
			next.kind = value
		case field == "data":
			next.data += value
		}
	}
	return list
}

// opened is a stream that a client reads as it comes.
type opened struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Reader
	leave func()
}

// line reads the next line that is not empty.
func (o *opened) line() string {
	o.t.Helper()
	for {
		text, err := o.lines.ReadString('\n')
		if err != nil {
			o.t.Fatalf("after %q: %v", text, err)
		}
		if text = strings.TrimSuffix(text, "\n"); text != "" {
			return text
		}
	}
}

// begin calls the front door and returns at once; the answer comes when it is whole. One
// with status 0 says that the call was given up.
func (b *bundle) begin(ctx context.Context, path, body string, header ...string) <-chan answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+stack.DefaultKey)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	answers := make(chan answer, 1)
	go func() {
		resp, err := b.client.Do(req)
		if err != nil {
			answers <- answer{}
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			answers <- answer{}
			return
		}
		answers <- answer{resp.StatusCode, resp.Header, string(text)}
	}()
	return answers
}

// open begins a stream and returns when its headers are there.
func (b *bundle) open(ctx context.Context, path, body string, header ...string) *opened {
	b.t.Helper()
	ctx, leave := context.WithCancel(ctx)
	b.t.Cleanup(leave)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+stack.DefaultKey)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	return &opened{t: b.t, resp: resp, lines: bufio.NewReader(resp.Body), leave: leave}
}
