package queue

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they mostly wait, whatever the number of processors
		panic(err)
	}
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

func (b *broker) connect(tb testing.TB) *nats.Conn {
	tb.Helper()
	nc, err := Connect(ConnConfig{Options: b.Options()})
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// queue is a queue over a connection of its own, as another process would have it.
func (b *broker) queue(tb testing.TB, cfg Config) *Queue {
	tb.Helper()
	js, err := jetstream.New(b.connect(tb))
	if err != nil {
		tb.Fatal(err)
	}
	q, err := New(js, cfg)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return q
}

// setup is a server and a queue with its streams in place.
func setup(tb testing.TB) (*broker, *Queue) {
	tb.Helper()
	b := newBroker(tb)
	q := b.queue(tb, Config{})
	if err := q.Ensure(tb.Context()); err != nil {
		tb.Fatalf("Ensure: %v", err)
	}
	return b, q
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
		<-time.After(5 * time.Millisecond)
	}
}

func recv[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		tb.Fatalf("%s: nothing within %s", what, patience)
		panic("unreachable")
	}
}

// consumer runs Consume in the background.
type consumer struct {
	cancel context.CancelFunc
	ended  chan error
	log    *journal
}

func consume(tb testing.TB, q *Queue, cfg ConsumerConfig, handle Handler) *consumer {
	tb.Helper()
	log := &journal{}
	ctx, cancel := context.WithCancel(zerolog.New(log).WithContext(context.Background()))
	c := &consumer{cancel: cancel, ended: make(chan error, 1), log: log}
	if cfg.Name == "" {
		cfg.Name = "worker"
	}
	if cfg.Subjects == nil {
		cfg.Subjects = []string{"xinghe.jobs.>"}
	}
	if cfg.Backoff == nil {
		cfg.Backoff = func(int) time.Duration { return 5 * time.Millisecond }
	}
	go func() { c.ended <- q.Consume(ctx, cfg, handle) }()
	tb.Cleanup(func() { c.stop(tb) })
	return c
}

func (c *consumer) stop(tb testing.TB) {
	tb.Helper()
	c.cancel()
	if c.ended == nil {
		return
	}
	if err := recv(tb, c.ended, "Consume's return"); err != nil {
		tb.Errorf("Consume: %v", err)
	}
	c.ended = nil
}

// journal holds what was logged.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) count(message string) int {
	return strings.Count(j.String(), `"message":"`+message+`"`)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func publish(tb testing.TB, q *Queue, job Job) {
	tb.Helper()
	if err := q.Publish(tb.Context(), job); err != nil {
		tb.Fatalf("Publish: %v", err)
	}
}

func messages(tb testing.TB, q *Queue, stream string) int {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	js, err := q.js(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		tb.Fatalf("stream %s: %v", stream, err)
	}
	return int(s.CachedInfo().State.Msgs)
}

func emptied(tb testing.TB, q *Queue, stream string) {
	tb.Helper()
	eventually(tb, func() string {
		if n := messages(tb, q, stream); n > 0 {
			return fmt.Sprintf("%d messages in %s", n, stream)
		}
		return ""
	})
}

func deadLetters(tb testing.TB, q *Queue) []DeadLetter {
	tb.Helper()
	var all []DeadLetter
	for letter, err := range q.DeadLetters(context.Background(), "") {
		if err != nil {
			tb.Fatalf("DeadLetters: %v", err)
		}
		all = append(all, letter)
	}
	return all
}
