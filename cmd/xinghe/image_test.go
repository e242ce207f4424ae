package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

// sumOfA and sumOfB are the SHA-256 of the files that the gallery has.
const (
	sumOfA = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	sumOfB = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
)

// gallery answers as the chat function does: pending when asked, then whatever its end is.
// Every call fails once before it is answered.
func gallery(t *testing.T, end string) *client {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	return clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		route := r.Method + " " + r.URL.Path
		mu.Lock()
		again := seen[route]
		seen[route] = true
		mu.Unlock()
		switch {
		case !again:
			w.WriteHeader(http.StatusServiceUnavailable)
		case route == "POST /v1/images" && string(body) == `{"messageId":"m/1","userId":"u"}`:
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"messageId":"m/1","state":"pending"}`)
		case route == "GET /v1/images/m/1" && r.URL.EscapedPath() == "/v1/images/m%2F1":
			_, _ = io.WriteString(w, end)
		case route == "GET /v1/images/m/1/files/1":
			_, _ = io.WriteString(w, "a")
		case route == "GET /v1/images/m/1/files/2":
			_, _ = io.WriteString(w, "b")
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"status":404,"detail":"nothing of that kind"}`)
		}
	})
}

// imageCommand runs "xinghe image".
func imageCommand(t *testing.T, c *client, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := newImageCommand(c)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestImage(t *testing.T) {
	t.Parallel()
	ready := fmt.Sprintf(`{"messageId":"m/1","state":"ready","files":[{"path":"images/m=2f1/1.png","bytes":1,"sha256":%q},{"path":"images/m=2f1/2.png","bytes":1,"sha256":%q}]}`, sumOfA, sumOfB)
	for _, tc := range []struct {
		name, end string
		args      []string
		code      int
		lines     []string
		files     map[string]string
		said      string
	}{
		{"ready", ready, []string{"m/1", "u"}, 0, []string{`"pending"`, `"ready"`}, nil, ""},
		{"saved", ready, []string{"m/1", "u", "--out", "x.png"}, 0, []string{`"pending"`, `"ready"`}, map[string]string{"x.png": "a", "x-2.png": "b"}, ""},
		{"not what was said", strings.Replace(ready, sumOfB, sumOfA, 1), []string{"m/1", "u", "--out", "x"}, 1, []string{`"pending"`, `"ready"`}, map[string]string{"x": "a"}, "is not that file"},
		{"failed", `{"messageId":"m/1","state":"failed","error":"no paint"}`, []string{"m/1", "u", "--out", "x.png"}, 1, []string{`"pending"`, `"no paint"`}, nil, ""},
		{"expired", `{"messageId":"m/1","state":"expired"}`, []string{"m/1", "u"}, 1, []string{`"pending"`, `"expired"`}, nil, ""},
		{"not waited for", ready, []string{"m/1", "u", "--wait=false"}, 0, []string{`"pending"`}, nil, ""},
		{"refused", ready, []string{"m/1", "other"}, 1, nil, nil, "nothing of that kind"},
		{"no user", ready, []string{"m/1"}, 2, nil, nil, "usage"},
		{"saved without waiting", ready, []string{"m/1", "u", "--wait=false", "--out", "x"}, 2, nil, nil, "--out needs --wait"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			args := append([]string{}, tc.args...)
			if len(args) > 1 && args[len(args)-2] == "--out" {
				args[len(args)-1] = filepath.Join(folder, args[len(args)-1])
			}
			stdout, err := imageCommand(t, gallery(t, tc.end), args...)
			code := exitDone
			if err != nil {
				code = exitFailed
			}
			if wrong, ok := errors.AsType[*outcomeError](err); ok {
				code = wrong.code
			}
			if code != tc.code || tc.said != "" && !strings.Contains(err.Error(), tc.said) {
				t.Errorf("%v, code %d; want %d with %q", err, code, tc.code, tc.said)
			}
			lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
			for i, want := range tc.lines {
				if len(lines) != len(tc.lines) || !strings.Contains(lines[i], want) {
					t.Errorf("printed %q; want %q", lines, tc.lines)
				}
			}
			if diff := cmp.Diff(tc.files, readFolder(t, folder)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func readFolder(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]string
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if files == nil {
			files = map[string]string{}
		}
		files[entry.Name()] = string(content)
	}
	return files
}

// The emulator is born with the documentation's picture.
func TestImageOfARealDeployment(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 1)
	place := filepath.Join(t.TempDir(), "picture.png")
	got := s.run("", "image", "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7", "1234567", "--out", place)
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	var image jobs.Image
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &image); err != nil || got.code != 0 || image.State != jobs.ImageReady {
		t.Fatalf("%+v: %v", got, err)
	}
	if content, err := os.ReadFile(place); err != nil || !bytes.HasPrefix(content, []byte("\x89PNG")) || int64(len(content)) != image.Files[0].Bytes {
		t.Errorf("%d bytes, %v; want %+v", len(content), err, image.Files[0])
	}
}
