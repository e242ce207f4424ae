package xingchen_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// answering returns a client without a network.
func answering(tb testing.TB, status int, contentType string, body []byte) *xingchen.Client {
	tb.Helper()
	client, err := xingchen.New(xingchen.Config{
		APIKey: sign.NewSecret(canary),
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Request: r,
				Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
			}, nil
		}),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// Whatever comes, a stream ends well only after a frame that says so, and no panic.
func FuzzStream(f *testing.F) {
	for _, name := range []string{"assumed-xingchen-stream-cumulative.sse", "assumed-xingchen-stream-incremental.sse", "assumed-xingchen-stream-error.sse"} {
		f.Add(fixture(f, name))
	}
	f.Add([]byte("data:{\"stop\" : true}\n\n"))
	f.Add([]byte("data:{\"choices\":[{\"messages\":[{\"content\":\"\\\"stop\\\":true\"}]}],\"stop\":false}\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		stream, err := answering(t, http.StatusOK, "text/event-stream", body).Stream(t.Context(), chatRequest())
		if err != nil {
			t.Fatal(err)
		}
		var last *xingchen.ChatResult
		for {
			frame, err := stream.Next()
			if errors.Is(err, io.EOF) && !errors.Is(err, upstream.ErrTruncated) {
				if last == nil || !last.Stop {
					t.Error("the stream ended well without a last frame")
				}
				return
			}
			if err != nil {
				return
			}
			if last != nil && last.Stop {
				t.Error("there is a frame after the last")
			}
			last = frame
		}
	})
}

// Whatever comes, an answer is decoded or an error, and the key does not show.
func FuzzAnswer(f *testing.F) {
	f.Add(200, fixture(f, "xingchen-chat-platform-response.json"))
	f.Add(400, fixture(f, "assumed-xingchen-error-response.json"))
	f.Add(200, []byte(`{"success":true,"errorCode":"`+canary+`","data":{}}`))
	f.Add(500, []byte(`{"errorMessage":"`+canary+`"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		result, err := answering(t, status, "application/json", body).Chat(t.Context(), chatRequest())
		if (result == nil) == (err == nil) {
			t.Fatalf("result %v, error %v", result, err)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the key shows in %v", err)
		}
		if e := asError(err); e != nil && e.Body != nil && !json.Valid(e.Body) {
			t.Errorf("Body is no JSON: %q", e.Body)
		}
	})
}
