package stack_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"xinghe/shared/httpapi"
	"xinghe/testlocal/emulator"
)

// openRoutes are all that is served without a key, and why.
var openRoutes = map[string]string{
	"GET /healthz":      "probes of platforms carry no key",
	"GET /readyz":       "probes of platforms carry no key",
	"GET /openapi.json": "it tells how to call, and holds nothing of any caller's",

	"POST /v1/webhooks/{source}": "the signature stands for a key",
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// target is a request that a route's pattern matches.
func target(route httpapi.Route) (method, path string) {
	method, path, _ = strings.Cut(route.Pattern, " ")
	return method, strings.TrimSuffix(placeholder.ReplaceAllString(path, "x"), "{$}")
}

// scopedKeys are, for each scope, a key that has no other and one that has all others.
func scopedKeys(t *testing.T) string {
	t.Helper()
	type entry struct {
		Name   string          `json:"name"`
		SHA256 string          `json:"sha256"`
		Scopes []httpapi.Scope `json:"scopes"`
	}
	var entries []entry
	for _, scope := range httpapi.Scopes {
		others := slices.DeleteFunc(slices.Clone(httpapi.Scopes), func(other httpapi.Scope) bool { return other == scope })
		entries = append(entries, entry{only(scope), digest(only(scope)), []httpapi.Scope{scope}}, entry{without(scope), digest(without(scope)), others})
	}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func only(scope httpapi.Scope) string    { return "only-" + string(scope) }
func without(scope httpapi.Scope) string { return "without-" + string(scope) }

// TestAuthMatrix asks every route of the table that is served, with every kind of key.
func TestAuthMatrix(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"XINGHE_API_KEYS": scopedKeys(t)}, emulator.Config{})
	open := make(map[string]bool)
	for _, route := range b.Routes() {
		method, path := target(route)
		t.Run(route.Pattern, func(t *testing.T) {
			b := b.of(t)
			if route.Scope == "" {
				if open[route.Pattern] = true; openRoutes[route.Pattern] == "" {
					t.Fatal("it is open to all, which openRoutes does not tell of")
				}
				want := http.StatusOK
				if strings.HasPrefix(path, "/v1/webhooks/") {
					want = http.StatusNotFound // there is no such source
				}
				if got := b.call(method, b.URL+path, "", ""); got.status != want {
					t.Errorf("without a key: %d %s", got.status, got.body)
				}
				return
			}
			for _, tc := range []struct {
				name, key string
				status    int
			}{
				{"no key", "", http.StatusUnauthorized},
				{"a wrong key", "wrong", http.StatusUnauthorized},
				{"the digest of a key", digest(only(route.Scope)), http.StatusUnauthorized},
				{"a key without the scope", without(route.Scope), http.StatusForbidden},
			} {
				got := b.call(method, b.URL+path, tc.key, "{}")
				if got.status != tc.status || !json.Valid([]byte(got.body)) || got.header.Get("X-Request-Id") == "" {
					t.Errorf("%s: %d %s, want %d", tc.name, got.status, got.body, tc.status)
				}
				if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (tc.status == http.StatusUnauthorized) {
					t.Errorf("%s: WWW-Authenticate %q", tc.name, challenge)
				}
			}
			// What comes of the request is another matter: upstream may refuse it, too.
			got := b.call(method, b.URL+path, only(route.Scope), "{}")
			if got.status == http.StatusUnauthorized || strings.Contains(got.body, "the key lacks the scope") {
				t.Errorf("a key with the scope: %d %s", got.status, got.body)
			}
			if l := b.logged(got.header.Get("X-Request-Id")); l.Key != only(route.Scope) {
				t.Errorf("the log line names the key %q", l.Key)
			}
		})
	}
	for pattern := range openRoutes {
		if !open[pattern] {
			t.Errorf("openRoutes tells of %s, which is not served", pattern)
		}
	}
}

// TestWrongMethods asks every path of the table with methods that it does not have.
func TestWrongMethods(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	allowed := make(map[string][]string)
	for _, route := range b.Routes() {
		method, path := target(route)
		allowed[path] = append(allowed[path], method)
		if method == http.MethodGet {
			allowed[path] = append(allowed[path], http.MethodHead)
		}
	}
	for path, methods := range allowed {
		slices.Sort(methods)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if slices.Contains(methods, method) {
				continue
			}
			got := b.call(method, b.URL+path, "", "")
			if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != strings.Join(methods, ", ") {
				t.Errorf("%s %s: %d, Allow %q, want %v", method, path, got.status, got.header.Get("Allow"), methods)
			}
		}
	}
}

// TestEveryFunctionIsInTheStack keeps a new function from being left out above.
func TestEveryFunctionIsInTheStack(t *testing.T) {
	t.Parallel()
	var imports []string
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			imports = append(imports, spec.Path.Value)
		}
	}
	functions, err := os.ReadDir("../../functions")
	if err != nil {
		t.Fatal(err)
	}
	for _, function := range functions {
		prefix := `"xinghe/functions/` + function.Name() + `/`
		if !slices.ContainsFunc(imports, func(path string) bool { return strings.HasPrefix(path, prefix) }) {
			t.Errorf("the stack serves nothing of functions/%s", function.Name())
		}
	}
}
