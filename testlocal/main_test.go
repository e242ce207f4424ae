package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

func none(string) string { return "" }

func TestDemo(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"demo"}, none, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s%s", code, &stdout, &stderr)
	}
	for _, line := range []string{
		`(?m)^ok character$`, `(?m)^ok chat$`, `(?m)^ok beebot$`, `(?m)^ok rating$`, `(?m)^ok image$`, `(?m)^ok export$`,
		`(?m)^file \S+ rows=3 sha256=[0-9a-f]{64}$`, `(?m)^  \{"messageId":`, `吾姓关名羽`,
	} {
		if !regexp.MustCompile(line).Match(stdout.Bytes()) {
			t.Errorf("no %s in:\n%s", line, &stdout)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %v (%v)", left, err)
	}
}

func TestDemoSaysWhatFailed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"demo"}, none, &stdout, &stderr); code != 1 || !strings.HasPrefix(stderr.String(), "failed start: ") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}

func TestStackStopsCleanly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // as if Ctrl-C came at once
	vars := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0", "XINGHE_DATA": t.TempDir(),
	}
	var stdout, stderr bytes.Buffer
	if code := run(ctx, nil, func(name string) string { return vars[name] }, &stdout, &stderr); code != 0 {
		t.Errorf("exit %d: %s", code, &stderr)
	}
	for _, want := range []string{"front door", "local-dev", "curl -N", "stopping"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in:\n%s", want, &stdout)
		}
	}
}

func TestCommandLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	misspelt := t.TempDir() + "/faults.json"
	if err := os.WriteFile(misspelt, []byte(`{"rules":[{"rout":"x","fault":"cut"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, "go run ./testlocal emulator"},
		{[]string{"demo", "-h"}, 0, "-keep"},
		{[]string{"nope"}, 2, `"nope" is no command`},
		{[]string{"demo", "more"}, 2, `"more" is not understood`},
		{[]string{"-x"}, 2, "not defined"},
		{[]string{"emulator", "-history", "users=-1"}, 2, "-history"},
		{[]string{"emulator", "-faults", "/does/not/exist"}, 2, "-faults"},
		{[]string{"emulator", "-faults", misspelt}, 2, `unknown field "rout"`},
		{[]string{"emulator", "-addr", taken.Addr().String()}, 1, "XINGHE_EMULATOR_ADDR"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), tc.args, none, &stdout, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.want) {
			t.Errorf("%v: exit %d: %s; want %d with %q", tc.args, code, &stderr, tc.code, tc.want)
		}
	}
}
