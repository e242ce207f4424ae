package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/sign"
	"xinghe/shared/sse"
	"xinghe/shared/xingchen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is in every credential that goes upstream; nothing that the client or the log sees
// may contain it.
const canary = "canary-7f3a"

// gateway is the relay behind a real server, as a function has it.
type gateway struct {
	url    string
	client *http.Client
	over   chan served
}

// served is what one request left behind.
type served struct {
	ops []string // writes and flushes, in their order
	log map[string]any
}

func newGateway(t *testing.T, shape httpapi.Shape, handler httpapi.HandlerFunc) *gateway {
	t.Helper()
	keys, err := httpapi.ParseKeys("local")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer // written by the one request in hand
	front, err := httpapi.New(httpapi.Config{Keys: keys, Logger: zerolog.New(&log)},
		httpapi.Route{Pattern: "POST /", Scope: httpapi.ScopeChat, Shape: shape, Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{over: make(chan served, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Reset()
		out := &recorder{ResponseWriter: w}
		front.ServeHTTP(out, r)
		line := map[string]any{}
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Errorf("log %s: %v", log.String(), err)
		}
		if strings.Contains(log.String(), canary) {
			t.Errorf("a credential shows in the log: %s", log.String())
		}
		g.over <- served{ops: out.ops, log: line}
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	g.url, g.client = server.URL, &http.Client{Transport: transport}
	return g
}

// recorder notes how an answer is written.
type recorder struct {
	http.ResponseWriter
	ops []string
}

func (r *recorder) Write(p []byte) (int, error) {
	r.ops = append(r.ops, string(p))
	return r.ResponseWriter.Write(p)
}

func (r *recorder) FlushError() error {
	r.ops = append(r.ops, "flush")
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// open begins a request and returns the body of its answer. The headers come in pairs.
func (g *gateway) open(ctx context.Context, t *testing.T, headers ...string) *bufio.Reader {
	t.Helper()
	resp, err := g.client.Do(g.request(ctx, t, headers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

// abandon begins a request whose context ends before there is an answer.
func (g *gateway) abandon(ctx context.Context, t *testing.T) {
	t.Helper()
	resp, err := g.client.Do(g.request(ctx, t, "X-AcA-SSE", "enable"))
	if err == nil {
		_ = resp.Body.Close()
		t.Error("there was an answer")
	}
}

func (g *gateway) request(ctx context.Context, t *testing.T, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, strings.NewReader(`{"input":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer local")
	req.Header.Set("X-Request-Id", "ours")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// answer is what the client saw, and what the request left behind.
type answer struct {
	served
	status int
	header http.Header
	body   string
}

// ask makes a request and waits for all of it.
func (g *gateway) ask(t *testing.T, headers ...string) answer {
	t.Helper()
	resp, err := g.client.Do(g.request(t.Context(), t, headers...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), canary) {
		t.Errorf("a credential shows in the answer: %s", body)
	}
	return answer{served: waitFor(t, "the request to be over", g.over), status: resp.StatusCode, header: resp.Header, body: string(body)}
}

// stream makes a request that asks Xingchen for a stream.
func (g *gateway) stream(t *testing.T) answer {
	t.Helper()
	return g.ask(t, "X-AcA-SSE", "enable")
}

// xingchenGateway relays to a Xingchen whose answers the handler gives.
func xingchenGateway(t *testing.T, handler http.HandlerFunc, edit ...func(*xingchen.Config)) *gateway {
	t.Helper()
	address, transport := listen(t, handler)
	cfg := xingchen.Config{BaseURL: address, APIKey: sign.NewSecret(canary), Transport: transport}
	for _, f := range edit {
		f(&cfg)
	}
	client, err := xingchen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return newGateway(t, httpapi.Envelope, serveXingchen(t, client))
}

func serveXingchen(tb testing.TB, client *xingchen.Client) httpapi.HandlerFunc {
	tb.Helper()
	return func(w http.ResponseWriter, r *http.Request) error {
		body, err := httpapi.ReadBody(r)
		if err != nil {
			return err
		}
		x := &relay.Xingchen{Client: client}
		return x.Serve(w, r, chatCall(tb, body), relay.ModeOf(r.Header, false), relay.NewOutcome())
	}
}

// listen starts an upstream, and makes a transport with connections of its own.
func listen(t *testing.T, handler http.HandlerFunc) (string, http.RoundTripper) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // before that the server cannot see a client leave
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return server.URL, transport
}

func answerJSON(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// answerSSE writes each part at once, and then does what comes after.
func answerSSE(after http.HandlerFunc, parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream;charset=UTF-8")
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
		if after != nil {
			after(w, r)
		}
	}
}

// The ways in which a stream does not end.
func cut(http.ResponseWriter, *http.Request)         { panic(http.ErrAbortHandler) }
func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// frames reads a stream as a client does: its events as "type data".
func frames(t *testing.T, body string) []string {
	t.Helper()
	var all []string
	for event, err := range sse.NewReader(strings.NewReader(body), sse.ReaderConfig{}).Events() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(event.Type+" "+string(event.Data)))
	}
	return all
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func waitFor[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("waited in vain for: %s", what)
	}
	panic("unreachable")
}
