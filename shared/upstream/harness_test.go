package upstream_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/shared/sse"
	"xinghe/shared/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTrip lets a function be a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is a transport with one answer, whose body ends with the request's context, as a
// real one does.
func answer(contentType string, body io.Reader) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		header := http.Header{"Content-Type": {contentType}, "X-Request-Id": {"r"}}
		return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(body), Request: r}, nil
	}
}

// dribble is a transport whose stream begins with a text and then repeats another.
func dribble(first, then string, every time.Duration) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		reader, writer := io.Pipe()
		go func() {
			_, err := io.WriteString(writer, first)
			for err == nil {
				select {
				case <-time.After(every):
					_, err = io.WriteString(writer, then)
				case <-r.Context().Done():
					err = r.Context().Err()
				}
			}
			_ = writer.CloseWithError(err)
		}()
		return answer("text/event-stream", reader)(r)
	}
}

// verdicts reads what the type of a frame says.
func verdicts(_ http.Header, event sse.Event) (upstream.Verdict, error) {
	switch event.Type {
	case "skip":
		return upstream.Skip, nil
	case "mayend":
		return upstream.MayEnd, nil
	case "last":
		return upstream.Last, nil
	case "fault":
		return upstream.Skip, errFault
	}
	return upstream.Keep, nil
}

func open(t *testing.T, transport http.RoundTripper) (*upstream.Stream, error) {
	t.Helper()
	service := upstream.Service{Name: "star", Transport: transport}
	if err := service.Complete(); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://star.invalid/secret-path", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return service.Open(req, "POST /x", func(int, http.Header, []byte) error { return errRefused }, verdicts)
}

func mustOpen(t *testing.T, transport http.RoundTripper) *upstream.Stream {
	t.Helper()
	stream, err := open(t, transport)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	return stream
}
