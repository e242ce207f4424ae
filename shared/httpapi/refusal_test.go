package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"xinghe/shared/httpapi"
)

// A refusal has none of the headers that a handler has set for the answer that failed.
func TestRefusalIsNoSuccess(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"refused":  func() error { return httpapi.NotFound("the file") },
		"panicked": func() error { panic("no") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, err := httpapi.New(httpapi.Config{}, httpapi.Route{Pattern: "GET /file", Handler: func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("ETag", `"1"`)
				w.Header().Set("Cache-Control", "max-age=3600")
				w.Header().Set("Content-Disposition", "attachment")
				w.Header().Set("Content-Length", "5")
				w.Header().Set("Content-Type", "image/png")
				return fail()
			}})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/file", http.NoBody))
			for _, header := range []string{"ETag", "Cache-Control", "Content-Disposition", "Content-Length"} {
				if value := w.Header().Get(header); value != "" {
					t.Errorf("%s: %s", header, value)
				}
			}
			if got := w.Header().Get("Content-Type"); w.Code < 400 || got != "application/problem+json" {
				t.Errorf("%d %s", w.Code, got)
			}
		})
	}
}
