package faas

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/google/go-cmp/cmp"
)

// sample reads a payload of testdata.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	payload, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// asked is a request as a handler sees it.
type asked struct {
	Method, URI, Path, Host, Remote, Body string
	Length                                int64
	Header                                http.Header
}

func seen(t *testing.T, r *http.Request) asked {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return asked{r.Method, r.RequestURI, r.URL.Path, r.Host, r.RemoteAddr, string(body), r.ContentLength, r.Header}
}

func TestRequestsOfEvents(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file string
		want asked
	}{
		{"function-url.json", asked{
			Method: "POST", URI: "/v1/exports/%E4%BD%A0?a=1&a=2&q=%E5%A5%BD", Path: "/v1/exports/你", Host: "abc.lambda-url.us-east-1.on.aws", Remote: "203.0.113.7:0",
			Body: "{\"a\":1}", Length: 7,
			Header: http.Header{
				"Content-Type": {"application/json"}, "Authorization": {"Bearer k"}, "Accept": {"text/html,text/event-stream"}, "Cookie": {"a=1; b=2"},
				"X-Forwarded-For": {"203.0.113.7"}, "X-Request-Id": {"r1"},
			},
		}},
		{"http-api.json", asked{
			Method: "GET", URI: "/a%20b?x=1", Path: "/a b", Host: "api.example.com", Remote: "203.0.113.7:0",
			Header: http.Header{"X-Request-Id": {"own"}},
		}},
		{"fc-http-trigger.json", asked{
			Method: "PUT", URI: "/v1/%E4%BD%A0%2F?a=1%2C2&q=%E5%A5%BD", Path: "/v1/你/", Host: "fc.example.com", Remote: "203.0.113.7:0",
			Body: "\xff\x00", Length: 2,
			Header: http.Header{"User-Agent": {"curl"}, "X-Request-Id": {"r1"}},
		}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			r, err := requestOf(t.Context(), sample(t, tc.file), "r1")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, seen(t, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEventsThatAreNoRequests(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		`[]`: "no request",
		`{"body":"*","isBase64Encoded":true,"requestContext":{"http":{"method":"GET"}}}`:      "no base64",
		`{"rawPath":"x","requestContext":{"http":{"method":"GET"}}}`:                          "slash",
		`{"rawPath":"/","requestContext":{"http":{"method":"G T"}}}`:                          "method",
		`{"rawPath":"http://evil.example/","requestContext":{"http":{"method":"GET"}}}`:       "slash",
		`{"rawPath":"","requestContext":{"http":{"method":"GET","path":"evil.example/..."}}}`: "slash",
	} {
		if r, err := requestOf(t.Context(), []byte(payload), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v, want %s", payload, r, err, want)
		}
	}
	if r, err := requestOf(t.Context(), []byte(`{"requestContext":{"http":{"method":"GET"}}}`), ""); err != nil || r.URL.Path != "/" {
		t.Errorf("no path: %v %v", r, err)
	}
}

func TestFCEventAnswersRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Entry: EntryFCEvent}, Function{HTTP: http.HandlerFunc(mirror)})
	for path, want := range map[string]httpAnswer{
		"/nothing": {StatusCode: 200, Headers: map[string]string{}},
		"/binary":  {StatusCode: 200, Headers: map[string]string{"Content-Type": "application/octet-stream"}, Body: "AP/+AQ==", IsBase64Encoded: true},
		"/teapot":  {StatusCode: 418, Headers: map[string]string{}},
		"/cookies": {StatusCode: 204, Headers: map[string]string{"Set-Cookie": "a=1, b=2; Path=/", "Vary": "Origin, Accept"}},
		"/panic": {
			StatusCode: 500, Headers: map[string]string{"Content-Type": "application/problem+json"},
			Body: `{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal"}`,
		},
	} {
		payload := `{"version":"v1","rawPath":"` + path + `","headers":{},"requestContext":{"http":{"method":"GET","sourceIp":"::1"}}}`
		raw, err := fcEvent{b.instance}.invoke(t.Context(), []byte(payload))
		var got httpAnswer
		if err == nil {
			err = json.Unmarshal(raw, &got)
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", path, err, diff)
		}
	}
	// Nothing of a broken answer can be taken back, but nothing has gone out either.
	for _, path := range []string{"/panic-later", "/abort"} {
		payload := `{"version":"v1","rawPath":"` + path + `","requestContext":{"http":{"method":"GET"}}}`
		if raw, err := (fcEvent{b.instance}).invoke(t.Context(), []byte(payload)); err == nil {
			t.Errorf("%s: %s", path, raw)
		}
	}
}

// The SDK's contexts know nothing of a process that is to end.
func TestFCEventEndsWithTheInstance(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	b := setup(t, Config{Entry: EntryFCEvent, Grace: 2 * time.Millisecond}, Function{Event: func(ctx context.Context, _ Event) (json.RawMessage, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := fcEvent{b.instance}.invoke(ctx, []byte(`{}`))
		failed <- err
	}()
	<-entered
	_ = b.stop()
	if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the event ended by %v", err)
	}
}

func TestFCEventDeadline(t *testing.T) {
	t.Parallel()
	var left time.Duration
	var event Event
	b := setup(t, Config{Entry: EntryFCEvent}, Function{Event: func(ctx context.Context, e Event) (json.RawMessage, error) {
		deadline, _ := ctx.Deadline()
		left, event = time.Until(deadline), e
		return nil, nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = fccontext.NewContext(ctx, &fccontext.FcContext{RequestID: "r1", RetryCount: 1})
	if _, err := (fcEvent{b.instance}).invoke(ctx, []byte(`{}`)); err != nil || left > 58*time.Second || left <= 0 || event.ID != "r1" || event.Attempt != 2 {
		t.Errorf("%v, %s left, %+v", err, left, event)
	}
}
