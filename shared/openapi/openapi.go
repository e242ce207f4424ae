// Package openapi holds the OpenAPI 3.1 document of all functions, which is written by hand
// in openapi.json. A test in testlocal/stack holds it against what the functions do.
//
//	text, err := openapi.For("POST /v1/exports", "GET /v1/exports/{id}")
//
// It knows nothing of handlers.
package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

//go:embed openapi.json
var document []byte

// For returns the document with the operations of these routes and no others. Routes are
// net/http patterns with their method, such as "GET /v1/exports/{id}/files/{path...}"; those
// that the document does not know are left out. Schemas stay whole.
func For(patterns ...string) ([]byte, error) {
	served := make(map[string]bool, len(patterns))
	for _, pattern := range patterns {
		// OpenAPI has no other word for the rest of a path.
		served[strings.ReplaceAll(pattern, "...}", "}")] = true
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(document, &whole); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	var paths map[string]map[string]json.RawMessage
	if err := json.Unmarshal(whole["paths"], &paths); err != nil {
		return nil, fmt.Errorf("openapi: paths: %w", err)
	}
	for path, item := range paths {
		maps.DeleteFunc(item, func(name string, _ json.RawMessage) bool {
			return name != "parameters" && !served[strings.ToUpper(name)+" "+path]
		})
	}
	maps.DeleteFunc(paths, func(_ string, item map[string]json.RawMessage) bool {
		_, shared := item["parameters"]
		return len(item) == 0 || shared && len(item) == 1
	})
	var err error
	if whole["paths"], err = json.Marshal(paths); err != nil {
		return nil, fmt.Errorf("openapi: paths: %w", err)
	}
	return json.Marshal(whole)
}
