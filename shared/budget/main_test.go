package budget

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(natstest.Leaks()...); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const patience = 20 * time.Second

// broker is a NATS server in this process.
type broker struct{ *natstest.Server }

func newBroker(tb testing.TB) *broker {
	tb.Helper()
	return &broker{natstest.New(tb)}
}

// queue is a queue over a connection of its own, as another process would have it.
func (b *broker) queue(tb testing.TB) *queue.Queue {
	tb.Helper()
	q, err := queue.Open(queue.ConnConfig{Options: b.Options()}, queue.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(q.Close)
	return q
}

// member is a budget whose Run runs.
type member struct {
	*Budget
	q    *queue.Queue
	stop func() // waits for Run; for once or more
}

func (b *broker) join(tb testing.TB, cfg Config) *member {
	tb.Helper()
	cfg.Name, cfg.Queue = "test", b.queue(tb)
	if cfg.Rate == 0 {
		cfg.Rate = 50
	}
	if cfg.Interval == 0 {
		cfg.Interval = 200 * time.Millisecond
	}
	m := &member{Budget: newBudget(tb, cfg), q: cfg.Queue}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(ctx)
	}()
	m.stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			tb.Error("Run does not return")
		}
	}
	tb.Cleanup(m.stop)
	return m
}

func newBudget(tb testing.TB, cfg Config) *Budget {
	tb.Helper()
	b, err := New(cfg)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return b
}

// load calls Wait again and again from several goroutines until the test ends or stop is
// called, and counts what passes.
func (b *Budget) load(tb testing.TB, class Class, callers int) (count *atomic.Int64, stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	count = &atomic.Int64{}
	ended := make(chan struct{}, callers)
	for range callers {
		go func() {
			defer func() { ended <- struct{}{} }()
			for ctx.Err() == nil {
				if _, err := b.Wait(ctx, class); err == nil {
					count.Add(1)
				}
			}
		}()
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range callers {
			<-ended
		}
	}
	tb.Cleanup(stop)
	return count, stop
}

// eventually polls until check returns "" and fails with its last complaint.
func eventually(tb testing.TB, check func() string) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("still after %s: %s", patience, complaint)
		}
		<-time.After(2 * time.Millisecond)
	}
}
