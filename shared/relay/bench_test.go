package relay_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
)

// paced is an upstream without a network, whose streams have n frames and bring one a read,
// as a model does that takes its time.
type paced int

func (n paced) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Request: r,
		Body: io.NopCloser(&pacedBody{left: int(n)}),
	}, nil
}

type pacedBody struct{ left int }

func (b *pacedBody) Read(p []byte) (int, error) {
	b.left--
	switch {
	case b.left > 0:
		return copy(p, frame1), nil
	case b.left == 0:
		return copy(p, frame2), nil
	}
	return 0, io.EOF
}

// nowhere is a client that takes everything.
type nowhere struct {
	header  http.Header
	writes  int
	flushes int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(p []byte) (int, error) { n.writes++; return len(p), nil }
func (n *nowhere) FlushError() error           { n.flushes++; return nil }

// relayFrames returns a function that relays a stream of so many frames, keys and log line
// included.
func relayFrames(tb testing.TB, frames int) func() {
	tb.Helper()
	return streamFrames(tb, frames, serveXingchen(tb, pacedClient(tb, frames)))
}

// completeFrames is relayFrames for a client of OpenAI's.
func completeFrames(tb testing.TB, frames int) func() {
	tb.Helper()
	x := relay.Xingchen{Client: pacedClient(tb, frames)}
	return streamFrames(tb, frames, func(w http.ResponseWriter, r *http.Request) error {
		body, err := httpapi.ReadBody(r)
		if err != nil {
			return err
		}
		return x.Complete(w, r, chatCall(tb, body), relay.Completion{Stream: true}, relay.NewOutcome())
	})
}

func pacedClient(tb testing.TB, frames int) *xingchen.Client {
	tb.Helper()
	client, err := xingchen.New(xingchen.Config{APIKey: sign.NewSecret("lm"), Transport: paced(frames)})
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

func streamFrames(tb testing.TB, frames int, serve httpapi.HandlerFunc) func() {
	tb.Helper()
	keys, err := httpapi.ParseKeys("local")
	if err != nil {
		tb.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys},
		httpapi.Route{Pattern: "POST /", Scope: httpapi.ScopeChat, Shape: httpapi.Envelope, Handler: serve})
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
		req.Header.Set("Authorization", "Bearer local")
		req.Header.Set("X-AcA-SSE", "enable")
		out := &nowhere{header: http.Header{}}
		handler.ServeHTTP(out, req)
		if out.writes != frames || out.flushes < frames {
			tb.Fatalf("%d frames, %d flushes, want %d", out.writes, out.flushes, frames)
		}
	}
}

func BenchmarkXingchenStream(b *testing.B) { benchmark(b, relayFrames) }

func BenchmarkCompletionStream(b *testing.B) { benchmark(b, completeFrames) }

func benchmark(b *testing.B, stream func(testing.TB, int) func()) {
	b.Helper()
	const frames = 1000
	run := stream(b, frames)
	b.SetBytes(int64(len(frame1)) * frames)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.N)*frames/b.Elapsed().Seconds(), "frames/s")
}
