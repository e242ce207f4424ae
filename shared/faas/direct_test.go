package faas_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/faas"
)

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/stream":
		w.Header().Set("Content-Type", "text/event-stream;charset=UTF-8")
		for range 2 {
			_, _ = fmt.Fprint(w, "data:{}\n\n")
			_ = http.NewResponseController(w).Flush()
		}
	case "/refused":
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprint(w, `{"status":409}`)
	case "/nothing":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"method": r.Method, "query": r.URL.RawQuery, "key": r.Header.Get("Authorization"), "type": r.Header.Get("Content-Type"), "body": string(body),
		})
	}
}

func TestDirect(t *testing.T) {
	t.Parallel()
	invoke := faas.Direct(http.HandlerFunc(echo), nil)
	for _, tc := range []struct{ name, payload, want string }{
		{
			"documented", `{"method":"POST","path":"/v1/exports?x=1","headers":{},"body":{"name":"n"},"key":"k"}`,
			`{"status":200,"headers":{"Content-Type":"application/json"},"body":{"body":"{\"name\":\"n\"}","key":"Bearer k","method":"POST","query":"x=1","type":"application/json"}}`,
		},
		{
			"another content type", `{"path":"/v1/ratings","headers":{"content-type":"text/csv"},"body":"a,b\n1,2"}`,
			`{"status":200,"headers":{"Content-Type":"application/json"},"body":{"body":"a,b\n1,2","key":"","method":"POST","query":"","type":"text/csv"}}`,
		},
		{"a stream comes back whole", `{"path":"/stream"}`, `{"status":200,"headers":{"Content-Type":"text/event-stream;charset=UTF-8"},"body":"data:{}\n\ndata:{}\n\n"}`},
		{"a refusal is an answer", `{"path":"/refused"}`, `{"status":409,"headers":{"Content-Type":"application/problem+json"},"body":{"status":409}}`},
		{"no content", `{"method":"DELETE","path":"/nothing"}`, `{"status":204,"headers":{},"body":""}`},
		{"no path", `{"method":"GET"}`, `{"status":400,"headers":{},"body":{"detail":"path: \"\" does not begin with a slash"}}`},
		{"an address", `{"path":"http://evil.example/"}`, `{"status":400,"headers":{},"body":{"detail":"path: \"http://evil.example/\" does not begin with a slash"}}`},
		{"a bad method", `{"method":"P T","path":"/"}`, `{"status":400,"headers":{},"body":{"detail":"method or path: net/http: invalid method \"P T\""}}`},
		{"no request at all", `[]`, `{"status":400,"headers":{},"body":{"detail":"the event is no request: json: cannot unmarshal array into Go value of type faas.directRequest"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := invoke(t.Context(), faas.Event{Payload: json.RawMessage(tc.payload)})
			if diff := cmp.Diff(tc.want, string(got)); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestDirectLeavesTheRest(t *testing.T) {
	t.Parallel()
	other := errors.New("taken by the other")
	invoke := faas.Direct(http.HandlerFunc(echo), func(context.Context, faas.Event) (json.RawMessage, error) { return nil, other })
	for payload, want := range map[string]error{`{"name":"nightly"}`: other, `"text"`: other, `{"path":"/x"}`: nil} {
		if _, err := invoke(t.Context(), faas.Event{Payload: json.RawMessage(payload)}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", payload, err, want)
		}
	}
}

// Nobody reads what a timer or a queue is answered with.
func TestDirectFailsUnattended(t *testing.T) {
	t.Parallel()
	invoke := faas.Direct(http.HandlerFunc(echo), nil)
	for payload, want := range map[string]string{
		`{"path":"/refused"}`: `answered with 409: {"status":409}`,
		`{"path":"refused"}`:  `path: "refused" does not begin with a slash`,
		`{"path":"/nothing"}`: "",
	} {
		answer, err := invoke(t.Context(), faas.Event{Kind: faas.KindQueue, Payload: json.RawMessage(payload)})
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %s %v, want %q", payload, answer, err, want)
		}
	}
}

func TestDirectHandsTheIDOn(t *testing.T) {
	t.Parallel()
	var got []string
	invoke := faas.Direct(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Header.Get("X-Request-Id")) }), nil)
	for _, payload := range []string{`{"path":"/"}`, `{"path":"/","headers":{"x-request-id":"own"}}`} {
		if _, err := invoke(t.Context(), faas.Event{Kind: faas.KindInvoke, ID: "r1", Payload: json.RawMessage(payload)}); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"r1", "own"}, got); diff != "" {
		t.Error(diff)
	}
}
