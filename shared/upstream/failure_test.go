package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/upstream"
)

func TestAttemptTellsWhyItFailed(t *testing.T) {
	t.Parallel()
	service := upstream.Service{Name: "star"}
	if err := service.Complete(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, attempt := service.Begin(ctx, "GET /x")
	defer attempt.End()
	if err := attempt.Failure(upstream.ErrTooLarge); !errors.Is(err, upstream.ErrTooLarge) || err.Error() != "star: GET /x: larger than allowed" {
		t.Errorf("got %v", err)
	}
	lost := &url.Error{Op: "Get", URL: "http://h/sse/paas4Json/canary", Err: &net.DNSError{Err: "no such host", IsTimeout: true}}
	err := attempt.Failure(lost)
	network, ok := errors.AsType[*upstream.NetworkError](err)
	if !ok || !network.Timeout() || network.Service != "star" || network.Op != "GET /x" || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %T %v", err, err)
	}
	cancel()
	if err := attempt.Failure(lost); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestBeginLimitsTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := upstream.Service{Name: "star", Timeout: time.Second}
		ctx, attempt := service.Begin(t.Context(), "GET /x")
		defer attempt.End()
		<-ctx.Done()
		network, ok := errors.AsType[*upstream.NetworkError](attempt.Failure(ctx.Err()))
		if !ok || !network.Timeout() || network.Error() != "star: GET /x: no answer in time" {
			t.Errorf("got %v", network)
		}
	})
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for data, truncated := range map[string]bool{`{"a":`: true, ``: true, `{oops}`: false, `[]`: false} {
		var into struct{}
		err := upstream.Malformed("star", "answer", []byte(data), json.Unmarshal([]byte(data), &into))
		decode, ok := errors.AsType[*upstream.DecodeError](err)
		if !ok || errors.Is(err, upstream.ErrTruncated) != truncated || !strings.HasPrefix(decode.Error(), "star: decode answer: ") {
			t.Errorf("%q: got %v", data, err)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	want := map[int]upstream.Kind{
		200: upstream.KindUnknown, 302: upstream.KindUnknown, 400: upstream.KindInvalid, 401: upstream.KindUnauthorized,
		403: upstream.KindForbidden, 404: upstream.KindNotFound, 413: upstream.KindInvalid, 429: upstream.KindThrottled,
		500: upstream.KindUnavailable, 503: upstream.KindUnavailable,
	}
	got := map[int]upstream.Kind{}
	for status := range want {
		kind := upstream.KindOfStatus(status)
		got[status] = kind
		if kind.Retryable() != (status == 429 || status >= 500) {
			t.Errorf("%d: retryable %t", status, kind.Retryable())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 5, 20, 8, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-3": 0, "soon": 0,
		"Mon, 20 May 2024 08:01:00 GMT": time.Minute, "Mon, 20 May 2024 07:00:00 GMT": 0,
	} {
		if got := upstream.RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", value, got, want)
		}
	}
	for value, want := range map[string]string{
		"": "", "Text/Event-Stream; charset=UTF-8": "text/event-stream", "text/html;;": "text/html", " application/json ": "application/json",
	} {
		if got := upstream.MediaType(http.Header{"Content-Type": {value}}); got != want {
			t.Errorf("MediaType(%q) = %q, want %q", value, got, want)
		}
	}
	if got := upstream.Describe(502, http.Header{"Content-Type": {"text/html"}}, []byte("<")); got != "Bad Gateway (text/html)" {
		t.Errorf("Describe = %q", got)
	}
	if got := upstream.Describe(999, http.Header{}, nil); got != "(no body)" {
		t.Errorf("Describe = %q", got)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://user:canary@h:1/a/?q=canary#f": "https://h:1/a", "http://h": "http://h",
		"h": "", "ftp://h": "", "http://": "", "http://canary\x00": "",
	} {
		u, err := upstream.Address("BaseURL", raw)
		field, faulty := errors.AsType[*upstream.FieldError](err)
		if faulty != (want == "") || !faulty && u.String() != want {
			t.Errorf("%q: got %v, %v", raw, u, err)
		}
		if faulty && (field.Field != "BaseURL" || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if err := (&upstream.Service{IdleTimeout: -1}).Complete(); err == nil {
		t.Error("a negative limit, no error")
	}
}
