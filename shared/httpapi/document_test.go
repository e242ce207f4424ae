package httpapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/httpapi"
)

// TestDocumentTellsTheFunctionsOwnRoutes holds that a function does not speak of what it does
// not serve.
func TestDocumentTellsTheFunctionsOwnRoutes(t *testing.T) {
	t.Parallel()
	b := setup(t, httpapi.Route{Pattern: "GET /v1/models", Scope: httpapi.ScopeChat, Handler: ok}, httpapi.Route{Pattern: "GET /x", Handler: ok})
	for range 2 {
		w := b.do("GET", "/openapi.json", "", "")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		var document struct {
			Paths map[string]any `json:"paths"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
			t.Fatal(err)
		}
		want := []string{"/healthz", "/openapi.json", "/readyz", "/v1/models"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(document.Paths))); diff != "" {
			t.Error(diff)
		}
	}
}
