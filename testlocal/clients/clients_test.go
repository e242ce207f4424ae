// Package clients_test tries the front door with clients of others: OpenAI's, a reader of
// Server-Sent Events, DuckDB and Standard Webhooks on Node, and the commands of docs/clients.md as they stand
// there.
//
//	npm install && go test .
//
// What is not installed is skipped.
package clients_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/testlocal/emulator"
	"xinghe/testlocal/natstest"
	"xinghe/testlocal/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// atLeast is the oldest Node that the clients run on.
const atLeast = 20

// patience is how long a client may take on a busy machine.
const patience = 2 * time.Minute

// needNode skips a test where Node or the packages of package.json are missing.
func needNode(t *testing.T) {
	t.Helper()
	version, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		t.Skipf("node does not run: %v", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if number, err := strconv.Atoi(major); err != nil || number < atLeast {
		t.Skipf("node is %s; the clients want %d or later", bytes.TrimSpace(version), atLeast)
	}
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skipf("run npm install in testlocal/clients first: %v", err)
	}
}

// start starts a stack on free ports, in a folder of its own.
func start(t *testing.T) *stack.Stack {
	t.Helper()
	data := t.TempDir()
	if err := os.WriteFile(targets(data), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0",
		"XINGHE_DATA": data, "XINGHE_IMAGE_FIRST_POLL": "10ms", "XINGHE_WEBHOOKS_FILE": targets(data), "XINGHE_ALLOW_HOSTS": "127.0.0.1",
	}
	log := new(bytes.Buffer) // read after Close only
	s, err := stack.Start(t.Context(), stack.Config{
		Getenv: func(name string) string { return set[name] }, Log: &locked{text: log}, Emulator: emulator.Config{Pace: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the log of the stack:\n%s", log)
		}
	})
	return s
}

// targets is the file in which a client may subscribe to events.
func targets(data string) string { return filepath.Join(data, "webhooks.json") }

// run runs a client in a folder, and returns all that it prints.
func run(t *testing.T, s *stack.Stack, folder, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = folder, time.Second
	cmd.Env = append(cmd.Environ(), "XINGHE_URL="+s.URL, "XINGHE_KEY="+s.Key, "XINGHE_EMULATOR_URL="+s.EmulatorURL, "NO_PROXY=127.0.0.1")
	cmd.Env = append(cmd.Env, "XINGHE_WEBHOOKS_FILE="+targets(s.Data), "XINGHE_WEBHOOK_SECRET="+stack.DefaultWebhookSecret)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestClients runs the tests of each client against a stack of its own.
func TestClients(t *testing.T) {
	t.Parallel()
	needNode(t)
	for _, script := range []string{"openai.test.mjs", "events.test.mjs", "export.test.mjs", "webhooks.test.mjs"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			out := run(t, start(t), ".", "node", "--test", "--test-reporter=tap", script)
			if !strings.Contains(out, "\n# fail 0\n") || !strings.Contains(out, "\n# skipped 0\n") || strings.Contains(out, "\n# pass 0\n") {
				t.Errorf("not all of it was tried:\n%s", out)
			}
		})
	}
}
