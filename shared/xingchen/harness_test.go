package xingchen_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
)

// canary is the API key of all tests; no text that leaves the package may contain it.
const canary = "lm-canary-5b1e=="

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup starts an upstream and returns a client of it with connections of its own.
func setup(t *testing.T, handler http.HandlerFunc, edit ...func(*xingchen.Config)) *xingchen.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	cfg := xingchen.Config{BaseURL: server.URL, APIKey: sign.NewSecret(canary), Transport: transport}
	for _, f := range edit {
		f(&cfg)
	}
	client, err := xingchen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func decode[T any](tb testing.TB, data []byte) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

func answerJSON(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_, _ = io.WriteString(w, body)
	}
}

func answerSSE(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream;charset=UTF-8")
		_, _ = io.WriteString(w, body)
	}
}

// roundTrip lets a function be a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// pipeStream is a transport whose one answer is a stream that the test writes by hand. Like
// a real one it ends the body with the request's context.
func pipeStream() (roundTrip, *io.PipeWriter) {
	reader, writer := io.Pipe()
	return func(r *http.Request) (*http.Response, error) {
		stop := make(chan struct{})
		go func() {
			select {
			case <-r.Context().Done():
				_ = reader.CloseWithError(r.Context().Err())
			case <-stop:
			}
		}()
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}},
			Body: &closeOnce{ReadCloser: reader, stop: stop}, Request: r,
		}, nil
	}, writer
}

type closeOnce struct {
	io.ReadCloser
	stop   chan struct{}
	closed bool
}

func (c *closeOnce) Close() error {
	if !c.closed {
		c.closed = true
		close(c.stop)
	}
	return c.ReadCloser.Close()
}

func chatRequest() xingchen.ChatRequest {
	return xingchen.ChatRequest{Input: xingchen.ChatInput{
		Messages: []xingchen.Message{{Role: "user", Content: "你有几个闺蜜?"}},
		ACA: xingchen.ACA{
			BotProfile:  xingchen.BotProfile{CharacterID: "c39797a35ad243f1a85baaa6e1ec37e0"},
			UserProfile: xingchen.UserProfile{UserID: "123456789"},
		},
	}}
}

func chatRoute(tb testing.TB) xingchen.Route {
	tb.Helper()
	route, ok := xingchen.RouteFor(http.MethodPost, "/v2/api/chat/send")
	if !ok {
		tb.Fatal("no route for role chat")
	}
	return route
}

// waitFor fails the test if the channel is not closed soon.
func waitFor(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatalf("waited in vain for: %s", what)
	}
}
