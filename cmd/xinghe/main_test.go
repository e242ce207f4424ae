package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// deployment answers as the history-export function does: queued at first, then in state.
func deployment(t *testing.T, state string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("Authorization") != "Bearer canary-key":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"status":401,"detail":"the key is not known"}`)
		case r.Method == http.MethodPost && r.URL.Path == "/v1/exports" && string(body) == `{"name":"n"}`:
			w.WriteHeader(http.StatusAccepted)
			_, _ = fmt.Fprint(w, `{"id":"exp_1","state":"queued"}`)
		case r.Method == http.MethodGet && r.URL.Path == "/v1/exports/exp_1":
			_, _ = fmt.Fprintf(w, `{"id":"exp_1","state":%q}`, state)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"status":404}`)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestCommands(t *testing.T) {
	t.Parallel()
	spec := filepath.Join(t.TempDir(), "spec.json")
	if err := os.WriteFile(spec, []byte(`{"name":"n"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, state, key string
		args             []string
		code             int
		stdout, stderr   string
	}{
		{"start", "done", "canary-key", []string{"export", "start", spec}, 0, `{"id":"exp_1","state":"queued"}`, ""},
		{"start from standard input", "done", "canary-key", []string{"export", "start", "-"}, 0, `"queued"`, ""},
		{"start and wait", "done", "canary-key", []string{"export", "start", "-wait", spec}, 0, `"done"`, ""},
		{"wait for a partial one", "partial", "canary-key", []string{"export", "start", "-wait", spec}, 3, `"partial"`, ""},
		{"wait for a failed one", "failed", "canary-key", []string{"export", "start", "-wait", spec}, 1, `"failed"`, ""},
		{"show", "running", "canary-key", []string{"export", "show", "exp_1"}, 0, `"running"`, ""},
		{"show what is not there", "done", "canary-key", []string{"export", "show", "exp_2/../x"}, 1, "", "404"},
		{"wrong key", "done", "wrong", []string{"export", "show", "exp_1"}, 1, "", "the key is not known"},
		{"no file", "done", "canary-key", []string{"export", "start", "/does/not/exist"}, 1, "", "read the spec"},
		{"nothing", "done", "canary-key", nil, 2, "", "usage:"},
		{"no such command", "done", "canary-key", []string{"export", "fly", "x"}, 2, "", "usage:"},
		{"no id", "done", "canary-key", []string{"export", "show"}, 2, "", "usage:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			vars := map[string]string{"XINGHE_URL": deployment(t, tc.state).URL, "XINGHE_KEY": tc.key}
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), tc.args, func(name string) string { return vars[name] }, strings.NewReader(`{"name":"n"}`), &stdout, &stderr)
			if code != tc.code || !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("exit %d: %s%s; want %d with %q and %q", code, &stdout, &stderr, tc.code, tc.stdout, tc.stderr)
			}
			if strings.Contains(stdout.String()+stderr.String(), "canary") {
				t.Errorf("the key is shown: %s%s", &stdout, &stderr)
			}
		})
	}
}
