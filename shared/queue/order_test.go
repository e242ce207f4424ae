package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var rated = ConsumerConfig{Name: "rating", Subjects: []string{"xinghe.jobs.rating"}, Ordered: true}

func TestPartition(t *testing.T) {
	t.Parallel()
	// These must never change: jobs wait in the partitions that an older release chose.
	got := []string{OrderedSubject("xinghe.jobs.rating", "m1"), OrderedSubject("xinghe.jobs.rating", "m2"), OrderedSubject("xinghe.jobs.rating", "")}
	if diff := cmp.Diff([]string{"xinghe.jobs.rating.11.m1", "xinghe.jobs.rating.14.m2", "xinghe.jobs.rating.5."}, got); diff != "" {
		t.Errorf("OrderedSubject (-want +got):\n%s", diff)
	}
	var hits [Partitions]int
	for i := range 100 * Partitions {
		hits[Partition(fmt.Sprint("message-", i))]++
	}
	for p, n := range hits {
		if n < 50 || n > 200 {
			t.Errorf("partition %d has %d of %d keys", p, n, 100*Partitions)
		}
	}
}

// ledger notes what was done of each key, and complains about jobs of one key side by side.
type ledger struct {
	mu      sync.Mutex
	running map[string]bool
	done    map[string][]string
}

func (l *ledger) begin(t *testing.T, key string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[key] {
		t.Errorf("two jobs of %s at once", key)
	}
	l.running[key] = true
}

func (l *ledger) end(key, data string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, key)
	if err == nil {
		l.done[key] = append(l.done[key], data)
	}
	return err
}

// Three processes, one of which is killed with a job of each key in its hands, do jobs that
// are retried, snoozed, discarded and handed back.
func TestOrderedAcrossProcesses(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	const keys, each = 6, 12
	cfg := rated
	cfg.AckWait = time.Second
	want := map[string][]string{}
	for n := range each {
		for k := range keys {
			key := fmt.Sprint("m", k)
			subject := OrderedSubject("xinghe.jobs.rating", key)
			publish(t, q, Job{Subject: subject, Data: fmt.Append(nil, n)})
			if n != 7 {
				want[subject] = append(want[subject], fmt.Sprint(n))
			}
		}
	}
	l := &ledger{running: map[string]bool{}, done: map[string][]string{}}
	handle := func(ctx context.Context, d *Delivery) error {
		l.begin(t, d.Subject)
		var err error
		switch data := string(d.Data); {
		case data == "3" && d.Attempt == 1, data == "0" && d.Attempt == 1:
			err = errors.New("not yet")
		case data == "5" && d.Attempt == 1:
			err = RetryAfter(errors.New("slow down"), 20*time.Millisecond)
		case data == "7":
			err = Discard(errors.New("bad"))
		}
		return l.end(d.Subject, string(d.Data), errors.Join(err, ctx.Err()))
	}
	holding := make(chan struct{}, keys)
	killed := b.queue(t, Config{})
	dies := consume(t, killed, cfg, func(ctx context.Context, _ *Delivery) error {
		holding <- struct{}{}
		<-ctx.Done() // it says nothing more
		return ctx.Err()
	})
	partitions := map[int]bool{}
	for k := range keys {
		partitions[Partition(fmt.Sprint("m", k))] = true
	}
	for range partitions { // all at once: partitions do not wait for one another
		recv(t, holding, "a job of each partition")
	}
	js, err := killed.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	js.Conn().Close()
	second := consume(t, b.queue(t, Config{}), cfg, handle)
	consume(t, b.queue(t, Config{}), cfg, handle)
	eventually(t, func() string {
		if n := messages(t, q, StreamJobs); n > keys*each/2 {
			return fmt.Sprintf("%d jobs left", n)
		}
		return ""
	})
	second.stop(t)
	emptied(t, q, StreamJobs)
	dies.stop(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	for subject := range l.done { // on a busy machine one may be delivered again though it is done
		l.done[subject] = slices.Compact(l.done[subject])
	}
	if diff := cmp.Diff(want, l.done); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
	if dead := deadLetters(t, q); len(dead) != keys {
		t.Errorf("%d dead letters, want %d", len(dead), keys)
	}
}

func TestOrderedEndsWithoutContact(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	cfg := rated
	cfg.AckWait = 300 * time.Millisecond
	for n := range 2 {
		publish(t, q, Job{Subject: OrderedSubject("xinghe.jobs.rating", "m"), Data: fmt.Append(nil, n)})
	}
	started, causes := make(chan struct{}), make(chan error, 1)
	var done []string
	var calls atomic.Int32
	c := consume(t, q, cfg, func(ctx context.Context, d *Delivery) error {
		if calls.Add(1) == 1 {
			close(started)
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		}
		done = append(done, string(d.Data))
		return nil
	})
	recv(t, started, "job")
	b.Stop()
	if cause := recv(t, causes, "the end of the handler's context"); !errors.Is(cause, errCutOff) {
		t.Errorf("cause %v", cause)
	}
	b.Start()
	emptied(t, q, StreamJobs)
	c.stop(t)
	if diff := cmp.Diff([]string{"0", "1"}, slices.Compact(done)); diff != "" {
		t.Errorf("done afterwards (-want +got):\n%s", diff)
	}
	if c.log.count("no contact with the server, the job is left to another worker") == 0 {
		t.Errorf("log:\n%s", c.log)
	}
}

// A process that was frozen finds the server well, but its job may be elsewhere.
func TestOrderedEndsAfterAFreeze(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	c := newConsumption(q, ConsumerConfig{Ordered: true, AckWait: time.Minute, Workers: 1}, nil, nil)
	now := time.Now()
	for age, want := range map[time.Duration]bool{30 * time.Second: false, 61 * time.Second: true} {
		d := &Delivery{contact: now.Add(-age)}
		ctx, cancel := d.losable(t.Context())
		defer cancel()
		c.keepOrder(t.Context(), []*Delivery{d}, now, 20*time.Second)
		if lost := context.Cause(ctx) == errCutOff; lost != want { //nolint:errorlint // the cause itself
			t.Errorf("not heard of for %s: lost is %v", age, lost)
		}
	}
}

func TestOrderedFaults(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	for name, change := range map[string]func(*ConsumerConfig){
		"wildcard": func(c *ConsumerConfig) { c.Subjects = []string{"xinghe.jobs.rating.>"} },
		"workers":  func(c *ConsumerConfig) { c.Workers = 2 },
		"prefetch": func(c *ConsumerConfig) { c.Prefetch = 1 },
		"pending":  func(c *ConsumerConfig) { c.MaxAckPending = 1 },
	} {
		cfg := rated
		change(&cfg)
		if err := q.Consume(t.Context(), cfg, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
