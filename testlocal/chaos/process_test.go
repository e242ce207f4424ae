package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/testlocal/natstest"
)

// patience is how long something may take that will come for sure.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if text := getenv(brokerVariable); text != "" {
		_, _ = fmt.Fprintln(os.Stderr, "broker:", serveBroker(text))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, append(natstest.Leaks(), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programs)
		os.Exit(code)
	}))...)
}

func getenv(name string) string {
	return os.Getenv(name) //nolint:forbidigo // a test binary has no main of ours that could hand it down
}

// programs is the folder of what was built; empty if nothing was.
var programs string

// build builds a program, once in a run.
func build(tb testing.TB, name string) (path string) {
	tb.Helper()
	building.Lock()
	defer building.Unlock()
	if programs == "" {
		var err error
		if programs, err = os.MkdirTemp("", "xinghe-chaos-"); err != nil { //nolint:usetesting // later tests use it too
			tb.Fatal(err)
		}
	}
	path = filepath.Join(programs, filepath.Base(name))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.CommandContext(tb.Context(), "go", "build", "-o", path, "xinghe/"+name).CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

var building sync.Mutex

// child is a process of ours.
type child struct {
	cmd    *exec.Cmd
	killed atomic.Bool
	exited chan struct{}
}

// launch starts a program whose output goes to a file. One that ends without having been
// killed fails the test. The caller kills it before the test ends.
func launch(tb testing.TB, output *os.File, env []string, path string) *child {
	tb.Helper()
	c := &child{cmd: exec.Command(path), exited: make(chan struct{})}
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = env, output, output
	tie(c.cmd)
	if err := c.cmd.Start(); err != nil {
		tb.Errorf("start %s: %v", path, err)
		close(c.exited)
		return c
	}
	go func() {
		defer close(c.exited)
		if err := c.cmd.Wait(); !c.killed.Load() {
			tb.Errorf("%s ended by itself: %v", output.Name(), err)
		}
	}()
	return c
}

// kill ends the process as kill -9 does.
func (c *child) kill() {
	c.killed.Store(true)
	if c.cmd.Process != nil {
		_ = c.cmd.Process.Kill()
	}
	<-c.exited
}

// journal is a file for the output of processes, whose end is shown if the test fails.
func journal(tb testing.TB, name string) *os.File {
	tb.Helper()
	file, err := os.OpenFile(filepath.Join(tb.TempDir(), name), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the last lines of %s:\n%s", name, tail(file.Name()))
		}
		_ = file.Close()
	})
	return file
}

func tail(path string) []byte {
	const most = 4 << 10
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	if len(text) > most {
		text = text[len(text)-most:]
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}
