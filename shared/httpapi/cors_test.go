package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"xinghe/shared/env"
	"xinghe/shared/httpapi"

	"github.com/rs/zerolog"
)

func TestPreflight(t *testing.T) {
	t.Parallel()
	b := setup(t, httpapi.Route{Pattern: "POST /x", Scope: httpapi.ScopeChat, Handler: ok})
	w := b.do("OPTIONS", "/x", "", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,x-stainless-os,idempotency-key")
	want := map[string]string{
		"Access-Control-Allow-Origin":  "https://app.example",
		"Access-Control-Allow-Methods": "GET, POST",
		"Access-Control-Allow-Headers": "authorization,x-stainless-os,idempotency-key",
		"Access-Control-Max-Age":       "600",
		// What browsers keep must not serve another origin.
		"Vary":                             "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
		"Access-Control-Allow-Credentials": "",
	}
	if w.Code != http.StatusNoContent || w.Body.Len() > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for name, value := range want {
		if got := strings.Join(w.Header().Values(name), ", "); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	for _, header := range [][]string{
		{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"},
		{"Origin", "https://app.example.evil.example", "Access-Control-Request-Method", "POST"},
		{"Origin", "null", "Access-Control-Request-Method", "POST"},
		{"Origin", "https://app.example"}, // no preflight
	} {
		if w := b.do("OPTIONS", "/x", "", "", header...); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%v: %d %v", header, w.Code, w.Header())
		}
	}
}

func TestCrossOriginCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, httpapi.Route{Pattern: "POST /x", Scope: httpapi.ScopeChat, Handler: ok})
	for origin, allowed := range map[string]string{"https://app.example": "https://app.example", "https://evil.example": "", "": ""} {
		w := b.do("POST", "/x", "chat-key", "{}", "Origin", origin)
		if w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Origin") != allowed || w.Header().Get("Vary") != "Origin" {
			t.Errorf("from %q: %d %v", origin, w.Code, w.Header())
		}
		if exposed := w.Header().Get("Access-Control-Expose-Headers"); (exposed != "") != (allowed != "") {
			t.Errorf("from %q: exposes %q", origin, exposed)
		}
	}
	// Scripts must be able to read why they were refused, too.
	w := b.do("POST", "/x", "wrong", "{}", "Origin", "https://app.example")
	if w.Code != http.StatusUnauthorized || w.Header().Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("refusal: %d %v", w.Code, w.Header())
	}
	for _, name := range []string{"X-Request-Id", "X-Upstream-Request-Id", "X-Session-Id", "Location", "Retry-After", "Idempotency-Replayed"} {
		if !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not exposed", name)
		}
	}
}

func TestAnyOrigin(t *testing.T) {
	t.Parallel()
	handler, err := httpapi.New(httpapi.Config{Origins: []string{"*"}}, httpapi.Route{Pattern: "GET /x", Handler: ok})
	if err != nil {
		t.Fatal(err)
	}
	w := bundle{handler: handler}.do("GET", "/x", "", "", "Origin", "https://anywhere.example")
	if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Vary") != "" || w.Header().Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%v", w.Header())
	}
}

func TestOriginsThatNoBrowserSends(t *testing.T) {
	t.Parallel()
	for origins, fine := range map[string]bool{
		"*": true, "https://app.example": true, "http://localhost:5173,https://app.example": true, "": true,
		"https://app.example/": false, "app.example": false, "https://App.example": false, "https://*.example": true, "https://a b": false,
	} {
		vars := env.New(func(name string) string {
			return map[string]string{"XINGHE_API_KEYS": "k", "XINGHE_CORS_ORIGINS": origins}[name]
		})
		httpapi.FromEnv(vars, zerolog.Nop())
		if err := vars.Err(); (err == nil) != fine || err != nil && !strings.Contains(err.Error(), "XINGHE_CORS_ORIGINS") {
			t.Errorf("%q: %v", origins, err)
		}
	}
}
