package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"xinghe/shared/sign"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

func canaryKey() sign.Secret { return sign.NewSecret("canary-key") }

// result is what a command leaves behind.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the command line against a deployment with the canary key.
func command(t *testing.T, address, stdin string, args ...string) result {
	t.Helper()
	return commandWith(t, map[string]string{"XINGHE_URL": address, "XINGHE_KEY": "canary-key"}, stdin, args...)
}

// commandWith is command with all variables given.
func commandWith(t *testing.T, vars map[string]string, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, func(name string) string { return vars[name] }, strings.NewReader(stdin), &stdout, &stderr)
	got := result{code, stdout.String(), stderr.String()}
	if strings.Contains(got.stdout+got.stderr, "canary") {
		t.Errorf("%v: the key is shown: %+v", args, got)
	}
	return got
}

// deployment answers as the history-export function does: queued at first, then in state.
func deployment(t *testing.T, state string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Request-Id", "req_7")
		switch route := r.Method + " " + r.URL.Path; {
		case r.Header.Get("Authorization") != "Bearer canary-key":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"status":401,"code":"unauthorized","detail":"the key is not known"}`)
		case route == "POST /v1/exports" && string(body) == `{"name":"n"}`, route == "POST /v1/exports/exp_1/resume":
			w.WriteHeader(http.StatusAccepted)
			_, _ = fmt.Fprint(w, `{"id":"exp_1","state":"queued"}`)
		case route == "GET /v1/exports/exp_1":
			_, _ = fmt.Fprintf(w, "{\"id\":\"exp_1\",\n \"state\":%q}", state)
		case route == "GET /v1/exports/exp_1/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, "id:1\nevent:progress\ndata:{\"id\":\"exp_1\",\"state\":\"running\"}\n\n:\nid:2\nevent:done\ndata:{\"id\":\"exp_1\",\"state\":%q}\n\n", state)
		case route == "POST /v1/exports/exp_1/cancel":
			w.WriteHeader(http.StatusConflict)
			_, _ = fmt.Fprint(w, `{"status":409,"code":"conflict","detail":"the export has ended"}`)
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
		name, state    string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"start", "done", []string{"export", "start", spec}, 0, `{"id":"exp_1","state":"queued"}`, ""},
		{"start from standard input", "done", []string{"export", "start", "-"}, 0, `"queued"`, ""},
		{"start and wait", "done", []string{"export", "start", "--wait", spec}, 0, `"done"`, ""},
		{"wait for a partial one", "partial", []string{"export", "start", "--wait", spec}, 3, `"partial"`, ""},
		{"wait for a failed one", "failed", []string{"export", "start", "--wait", spec}, 1, `"failed"`, ""},
		{"watch", "done", []string{"export", "watch", "exp_1"}, 0, "{\"id\":\"exp_1\",\"state\":\"running\"}\n{\"id\":\"exp_1\",\"state\":\"done\"}\n", ""},
		{"watch a cancelled one", "cancelled", []string{"export", "watch", "exp_1"}, 1, `"cancelled"`, ""},
		{"resume and wait", "done", []string{"export", "resume", "exp_1", "--wait"}, 0, `"done"`, ""},
		{"cancel too late", "done", []string{"export", "cancel", "exp_1"}, 1, "", "the export has ended (409, conflict, request req_7)"},
		{"show", "running", []string{"export", "show", "exp_1"}, 0, "{\"id\":\"exp_1\",\"state\":\"running\"}\n", ""},
		{"show what is not there", "done", []string{"export", "show", "exp_2/../x"}, 1, "", "404"},
		{"no file", "done", []string{"export", "start", "/does/not/exist"}, 2, "", "read the spec"},
		{"nothing", "done", nil, 2, "", "Usage:"},
		{"only a group", "done", []string{"export"}, 2, "", "Available Commands:"},
		{"no such command", "done", []string{"fly"}, 2, "", `there is no command "fly"`},
		{"no such command in a group", "done", []string{"export", "fly", "x"}, 2, "", `there is no command "fly"`},
		{"no id", "done", []string{"export", "show"}, 2, "", "usage: xinghe export show ID"},
		{"no such flag", "done", []string{"export", "show", "--fast", "exp_1"}, 2, "", "unknown flag: --fast"},
		{"a strange address", "done", []string{"export", "show", "exp_1", "--url", "nowhere"}, 2, "", "XINGHE_URL"},
		{"help", "done", []string{"export", "start", "--help"}, 0, "xinghe export start SPEC.json", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := command(t, deployment(t, tc.state).URL, `{"name":"n"}`, tc.args...)
			if got.code != tc.code || !strings.Contains(got.stdout, tc.stdout) || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("%+v; want %d with %q and %q", got, tc.code, tc.stdout, tc.stderr)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	address := deployment(t, "done").URL
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("canary-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		vars map[string]string
		args []string
		code int
		said string
	}{
		{"from a file", map[string]string{"XINGHE_KEY_FILE": file}, nil, 0, ""},
		{"from the flag's file", map[string]string{"XINGHE_KEY": "wrong", "XINGHE_KEY_FILE": "/nowhere"}, []string{"--key-file", file}, 0, ""},
		{"wrong", map[string]string{"XINGHE_KEY": "canary-of-another"}, nil, 1, "the key is not known (401, unauthorized, request req_7)"},
		{"none", nil, nil, 2, "no key: set XINGHE_KEY"},
		{"no such file", map[string]string{"XINGHE_KEY_FILE": "/nowhere"}, nil, 2, "XINGHE_KEY_FILE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := commandWith(t, tc.vars, "", append([]string{"export", "show", "exp_1", "--url", address}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.stderr, tc.said) {
				t.Errorf("%+v; want %d with %q", got, tc.code, tc.said)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "id:1\ndata:{\"state\":\"running\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	vars := map[string]string{"XINGHE_URL": server.URL, "XINGHE_KEY": "canary-key"}
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"export", "watch", "exp_1"}, func(name string) string { return vars[name] }, strings.NewReader(""), &stdout, &stderr)
	if code != 1 || stderr.String() != "xinghe: interrupted; what the deployment has accepted goes on\n" {
		t.Errorf("exit %d: %s%s", code, &stdout, &stderr)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		vars   map[string]string
		code   int
		stdout string
	}{
		"nothing is set":    {nil, 0, `{"name":"variables","state":"skipped","detail":"not configured"`},
		"a variable is off": {map[string]string{"XINGCHEN_RPS": "-1"}, 1, "XINGCHEN_RPS: "},
	} {
		if got := commandWith(t, tc.vars, "", "doctor"); got.code != tc.code || !strings.Contains(got.stdout, tc.stdout) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
