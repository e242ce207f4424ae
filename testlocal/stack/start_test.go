package stack_test

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator"
	"xinghe/testlocal/stack"
)

// refused starts a stack that must not start, and returns what it says.
func refused(t *testing.T, vars map[string]string) string {
	t.Helper()
	set := map[string]string{"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0"}
	maps.Copy(set, vars)
	s, err := stack.Start(t.Context(), stack.Config{Getenv: func(name string) string { return set[name] }, Log: io.Discard})
	if err == nil {
		t.Fatalf("it has started (%v)", s.Close())
	}
	return err.Error()
}

func TestFolderIsOfOneStack(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	first := setup(t, map[string]string{"XINGHE_DATA": data}, emulator.Config{})
	for name, vars := range map[string]map[string]string{
		"with NATS of its own": {"XINGHE_DATA": data},
		"by another path":      {"XINGHE_DATA": filepath.Dir(data) + "/./data"},
		"with NATS elsewhere":  {"XINGHE_DATA": data, "NATS_URL": first.NATSURL},
	} {
		if got := refused(t, vars); !strings.Contains(got, "set XINGHE_DATA to another folder") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	setup(t, map[string]string{"XINGHE_DATA": data}, emulator.Config{})
}

// TestFaultsAreToldTogether gives each part of the stack a variable that does not do.
func TestFaultsAreToldTogether(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	vars := map[string]string{
		"XINGHE_DATA": data, "XINGHE_ADDR": "8787", "XINGHE_NATS_ADDR": "127.0.0.1:nats", "LOG_LEVEL": "zz",
		"XINGCHEN_RPS": "-2", "XINGHE_ON_DISCONNECT": "foo", "BEEBOT_INSTANCES": "abc", "XINGHE_EVENT_TEXT": "maybe",
		"XINGHE_ALLOW_HOSTS": "a/b", "XINGHE_IMAGE_DEADLINE": "soon", "XINGHE_WEBHOOK_PORTS": "x", "XINGHE_SINK": "ftp://x",
		"XINGHE_IDEMPOTENCY_TTL": "1s", "XINGHE_CORS_ORIGINS": "example.com", "XINGHE_WEBHOOK_SOURCES": "{",
		"XINGHE_EMULATOR_MODEL_URL": "localhost", "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost", "NATS_CONTEXT": "/does/not/exist.json",
	}
	told := map[string]int{}
	lines := strings.Split(refused(t, vars), "\n")
	for _, line := range lines[1:] {
		name, _, _ := strings.Cut(line, ": ")
		told[name]++
	}
	want := map[string]int{}
	for name := range vars {
		want[name] = 1
	}
	delete(want, "XINGHE_DATA")
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("%s\nin:\n%s", diff, strings.Join(lines, "\n"))
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the folder was made before all variables were read (%v)", err)
	}
}
