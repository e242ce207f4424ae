package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"xinghe/shared/httpapi"
)

func TestUpstreamRequestID(t *testing.T) {
	t.Parallel()
	know := func(id string, then httpapi.HandlerFunc) httpapi.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) error {
			httpapi.CallFrom(r.Context()).SetUpstreamID(id)
			return then(w, r)
		}
	}
	b := setup(t,
		httpapi.Route{Pattern: "GET /whole", Handler: know("up-1", ok)},
		httpapi.Route{Pattern: "GET /stream", Handler: know("up-1", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, "data:x\n\n")
			return err
		})},
		httpapi.Route{Pattern: "GET /refused", Handler: know("up-1", func(http.ResponseWriter, *http.Request) error {
			return httpapi.NotFound("x")
		})},
		httpapi.Route{Pattern: "GET /unknown", Handler: ok},
		httpapi.Route{Pattern: "GET /forged", Handler: know("a\r\nX-Evil: 1", ok)},
		httpapi.Route{Pattern: "GET /late", Handler: func(w http.ResponseWriter, r *http.Request) error {
			_, err := io.WriteString(w, ":\n")
			httpapi.CallFrom(r.Context()).SetUpstreamID("up-1")
			return err
		}},
	)
	for path, want := range map[string]string{"/whole": "up-1", "/stream": "up-1", "/refused": "up-1", "/unknown": "", "/forged": "", "/late": "", "/nope": ""} {
		b.log.Reset()
		if got := b.do("GET", path, "", "").Result().Header.Get("X-Upstream-Request-Id"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		known := want != "" || path == "/late"
		if known != strings.Contains(b.log.String(), `"upstream_request_id":"up-1"`) || !strings.Contains(b.log.String(), `"request_id":"req_`) {
			t.Errorf("%s: log %s", path, b.log)
		}
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ready  func(context.Context) error
		status int
		want   string
	}{
		"nothing is needed": {nil, 200, `"status":"ready"`},
		"what is needed answers": {func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				return errors.New("no deadline")
			}
			return nil
		}, 200, `"status":"ready"`},
		"it does not answer": {func(context.Context) error { return errors.New("dial tcp 10.0.0.7") }, 503, `"code":"unavailable"`},
		"it says why":        {func(context.Context) error { return httpapi.Unavailable("NATS does not answer", nil) }, 503, `NATS does not answer`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, err := httpapi.New(httpapi.Config{Ready: tc.ready})
			if err != nil {
				t.Fatal(err)
			}
			w := bundle{handler: handler}.do("GET", "/readyz", "", "")
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) || strings.Contains(w.Body.String(), "10.0.0.7") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if w := (bundle{handler: handler}).do("GET", "/healthz", "", ""); w.Code != http.StatusOK {
				t.Errorf("healthz: %d", w.Code)
			}
		})
	}
}

func TestRoutesTellsTheWholeSurface(t *testing.T) {
	t.Parallel()
	server, err := httpapi.New(httpapi.Config{}, httpapi.Route{Pattern: "GET /x", Handler: ok})
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for _, route := range server.Routes() {
		patterns = append(patterns, route.Pattern)
	}
	if want := []string{"GET /x", "GET /healthz", "GET /readyz", "GET /openapi.json"}; !slices.Equal(patterns, want) {
		t.Errorf("%v, want %v", patterns, want)
	}
}

// nowhere takes everything.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) WriteHeader(int)             {}
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkRequest is what a request costs beside its handler.
func BenchmarkRequest(b *testing.B) {
	keys, err := httpapi.ParseKeys("local")
	if err != nil {
		b.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys}, httpapi.Route{
		Pattern: "POST /x", Scope: httpapi.ScopeChat,
		Handler: func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, "{}")
			return err
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/x", http.NoBody)
	r.Header.Set("Authorization", "Bearer local")
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(nowhere{http.Header{}}, r)
	}
}
