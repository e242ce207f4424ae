package openapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/openapi"
)

type document struct {
	OpenAPI string                                `json:"openapi"`
	Paths   map[string]map[string]json.RawMessage `json:"paths"`
}

// operations lists the operations of a document.
func operations(t *testing.T, text []byte) (list []string) {
	t.Helper()
	var d document
	if err := json.Unmarshal(text, &d); err != nil || d.OpenAPI != "3.1.0" {
		t.Fatalf("version %q, %v", d.OpenAPI, err)
	}
	for path, item := range d.Paths {
		for method := range item {
			if method != "parameters" {
				list = append(list, method+" "+path)
			}
		}
		if _, ok := item["parameters"]; !ok {
			t.Errorf("%s has lost its parameters", path)
		}
	}
	slices.Sort(list)
	return list
}

func TestForHoldsWhatIsServed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ patterns, want []string }{
		"nothing":         {nil, nil},
		"one":             {[]string{"GET /v1/exports/{id}"}, []string{"get /v1/exports/{id}"}},
		"one method":      {[]string{"POST /v1/exports"}, []string{"post /v1/exports"}},
		"both methods":    {[]string{"POST /v1/exports", "GET /v1/exports"}, []string{"get /v1/exports", "post /v1/exports"}},
		"rest of a path":  {[]string{"GET /v1/exports/{id}/files/{path...}"}, []string{"get /v1/exports/{id}/files/{path}"}},
		"unknown":         {[]string{"GET /nope", "GET /healthz"}, []string{"get /healthz"}},
		"another's words": {[]string{"PARAMETERS /healthz"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := openapi.For(tc.patterns...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, operations(t, text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestForKeepsTheRest holds that nothing but paths is taken away.
func TestForKeepsTheRest(t *testing.T) {
	t.Parallel()
	text, err := openapi.For()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &want); err != nil {
		t.Fatal(err)
	}
	want["paths"] = map[string]any{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func ExampleFor() {
	text, err := openapi.For("GET /healthz", "GET /not/in/the/document")
	if err != nil {
		panic(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		panic(err)
	}
	fmt.Println(slices.Collect(maps.Keys(d.Paths)))
	// Output: [/healthz]
}

func BenchmarkFor(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openapi.For("GET /healthz", "POST /v1/exports"); err != nil {
			b.Fatal(err)
		}
	}
}
