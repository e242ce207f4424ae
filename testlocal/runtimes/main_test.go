package runtimes

import (
	"context"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/testlocal/natstest"
)

// patience is how long something may take that will come for sure.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if role := getenv(roleVariable); role != "" {
		roles[role]()
		os.Exit(1)
	}
	// The tests wait more than they work: they need not take turns.
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, append(natstest.Leaks(), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(folder)
		os.Exit(code)
	}))...)
}

// folder holds what was built; empty if nothing was.
var folder string

// builds are the programs, built once in a run.
var builds = sync.OnceValues(func() (map[string]string, error) {
	var err error
	if folder, err = os.MkdirTemp("", "xinghe-runtimes-"); err != nil {
		return nil, err
	}
	return Build(context.Background(), folder,
		"xinghe/functions/chat", "xinghe/functions/character", "xinghe/functions/history-export", "xinghe/functions/webhook",
		"xinghe/testlocal/runtimes/probe", "xinghe/testlocal/runtimes/minimal")
})

func program(tb testing.TB, name string) string {
	tb.Helper()
	programs, err := builds()
	if err != nil {
		tb.Fatal(err)
	}
	return programs[name]
}
