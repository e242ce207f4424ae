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
)

// makeConsumer creates the durable consumer and stops again.
func makeConsumer(tb testing.TB, q *Queue, cfg ConsumerConfig) {
	tb.Helper()
	cfg.Name, cfg.Subjects = "worker", []string{"xinghe.jobs.>"}
	cfg, err := cfg.withDefaults()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := q.consumer(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.long"})
	publish(t, q, Job{Subject: "xinghe.jobs.waiting"})
	const ackWait = 600 * time.Millisecond
	var calls atomic.Int32
	handle := func(_ context.Context, d *Delivery) error {
		calls.Add(1)
		if d.Attempt != 1 {
			t.Errorf("%s: attempt %d", d.Subject, d.Attempt)
		}
		if d.Subject == "xinghe.jobs.long" {
			<-time.After(3 * ackWait)
		}
		return nil
	}
	// The second job waits behind the first one, in the same process, where only heartbeats
	// keep it; another worker would be glad to have either.
	consume(t, q, ConsumerConfig{AckWait: ackWait, Prefetch: 1}, handle)
	eventually(t, func() string {
		if calls.Load() == 0 {
			return "no job has begun"
		}
		return ""
	})
	consume(t, q, ConsumerConfig{AckWait: ackWait}, handle)
	emptied(t, q, StreamJobs)
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// One job in flight at a time keeps order also without partitions.
func TestOrderPerSubject(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	const jobs = 30
	for i := range jobs {
		publish(t, q, Job{Subject: "xinghe.jobs.a", Data: fmt.Append(nil, i)})
	}
	var mu sync.Mutex
	var got, want []string
	handle := func(_ context.Context, d *Delivery) error {
		if d.Sequence%7 == 0 && d.Attempt == 1 {
			return errors.New("not yet") // those that follow must wait
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(d.Data))
		return nil
	}
	for range 2 {
		consume(t, q, ConsumerConfig{MaxAckPending: 1, Workers: 3}, handle)
	}
	emptied(t, q, StreamJobs)
	for i := range jobs {
		want = append(want, fmt.Sprint(i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("order %v", got)
	}
}

func TestManyWorkersDoEachJobOnce(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	const jobs = 3000
	all := make([]Job, jobs)
	for i := range all {
		all[i] = Job{Subject: fmt.Sprintf("xinghe.jobs.n.%d", i%7)}
	}
	if err := q.PublishAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	seen := make([]atomic.Int32, jobs+1)
	for i, prefetch := range []int{0, 1, 100} {
		mode := AckMode(i % 2)
		consume(t, b.queue(t, Config{}), ConsumerConfig{Workers: 4, Prefetch: prefetch, Ack: mode}, func(_ context.Context, d *Delivery) error {
			seen[d.Sequence].Add(1)
			return nil
		})
	}
	emptied(t, q, StreamJobs)
	for i := range seen[1:] {
		if n := seen[i+1].Load(); n != 1 {
			t.Fatalf("job %d was done %d times", i+1, n)
		}
	}
}

func TestDrainFinishesWhatRunsAndHandsBackTheRest(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	const jobs = 20
	for range jobs {
		publish(t, q, Job{Subject: "xinghe.jobs.a"})
	}
	started, finish := make(chan struct{}, jobs), make(chan struct{})
	cfg := ConsumerConfig{Workers: 2, Prefetch: 10, MaxAttempts: 1, Ack: AckConfirmed}
	first := consume(t, q, cfg, func(ctx context.Context, _ *Delivery) error {
		started <- struct{}{}
		<-finish
		return ctx.Err()
	})
	recv(t, started, "first job")
	recv(t, started, "second job")
	first.cancel()
	select {
	case err := <-first.ended:
		t.Fatalf("Consume returned (%v) while handlers run", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	first.stop(t)
	if len(started) > 0 {
		t.Errorf("%d jobs were begun after the stop", len(started))
	}
	if n := messages(t, q, StreamJobs); n != jobs-2 {
		t.Errorf("%d jobs are left, want %d", n, jobs-2)
	}
	// Long before AckWait, and with the first attempt still to come.
	var done atomic.Int32
	second := consume(t, b.queue(t, Config{}), cfg, func(_ context.Context, d *Delivery) error {
		if done.Add(1); d.Attempt != 1 {
			t.Errorf("attempt %d of a job that was handed back", d.Attempt)
		}
		return nil
	})
	emptied(t, q, StreamJobs)
	second.stop(t)
	if n := done.Load(); n != jobs-2 {
		t.Errorf("%d jobs done, want %d", n, jobs-2)
	}
	if dead := deadLetters(t, q); len(dead) > 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}

func TestDrainCancelsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	started, causes := make(chan struct{}), make(chan error, 1)
	cfg := ConsumerConfig{Drain: 20 * time.Millisecond, MaxAttempts: 1}
	first := consume(t, q, cfg, func(ctx context.Context, _ *Delivery) error {
		close(started)
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	})
	recv(t, started, "job")
	first.stop(t)
	if err := recv(t, causes, "cause"); !errors.Is(err, errDrained) {
		t.Errorf("cause %v", err)
	}
	again := make(chan int, 1)
	consume(t, q, cfg, func(_ context.Context, d *Delivery) error {
		again <- d.Attempt
		return nil
	})
	if attempt := recv(t, again, "job"); attempt != 1 {
		t.Errorf("attempt %d after a drain, want 1", attempt)
	}
	emptied(t, q, StreamJobs)
}

func TestEventsHaveManyConsumers(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	event := func(id string) {
		t.Helper()
		if err := q.PublishEvent(t.Context(), "xinghe.events.export.done", id, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	event("old")
	got := map[string]chan string{"all": make(chan string, 9), "new": make(chan string, 9)}
	for name, ids := range got {
		cfg := ConsumerConfig{Name: name, Subjects: []string{"xinghe.events.export.*", "xinghe.events.image.>"}, OnlyNew: name == "new"}
		full, err := cfg.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.consumer(t.Context(), full); err != nil {
			t.Fatal(err)
		}
		consume(t, q, cfg, func(_ context.Context, d *Delivery) error {
			ids <- d.ID
			return nil
		})
	}
	event("fresh")
	event("fresh") // the same event twice is one
	event("last")
	for name, want := range map[string][]string{"all": {"old", "fresh", "last"}, "new": {"fresh", "last"}} {
		for range want {
			if id := recv(t, got[name], name); !slices.Contains(want, id) {
				t.Errorf("%s got %q", name, id)
			}
		}
		if len(got[name]) > 0 {
			t.Errorf("%s got one more: %s", name, <-got[name])
		}
	}
}

func TestConsumerConfigFaults(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	for name, cfg := range map[string]ConsumerConfig{
		"no name":     {Subjects: []string{"xinghe.jobs.a"}},
		"bad name":    {Name: "a.b", Subjects: []string{"xinghe.jobs.a"}},
		"no subject":  {Name: "a"},
		"elsewhere":   {Name: "a", Subjects: []string{"other.a"}},
		"two streams": {Name: "a", Subjects: []string{"xinghe.jobs.a", "xinghe.events.a"}},
		"negative":    {Name: "a", Subjects: []string{"xinghe.jobs.a"}, Workers: -1},
		"ack wait":    {Name: "a", Subjects: []string{"xinghe.jobs.a"}, AckWait: time.Millisecond},
		"only new":    {Name: "a", Subjects: []string{"xinghe.jobs.a"}, OnlyNew: true},
	} {
		if err := q.Consume(t.Context(), cfg, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What only the server can know: two consumers of the same jobs.
	makeConsumer(t, q, ConsumerConfig{})
	if err := q.Consume(t.Context(), ConsumerConfig{Name: "two", Subjects: []string{"xinghe.jobs.a"}}, nil); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("the second consumer of a subject got %v", err)
	}
}

func TestConsumeWithoutStreams(t *testing.T) {
	t.Parallel()
	q := newBroker(t).queue(t, Config{})
	err := q.Consume(t.Context(), ConsumerConfig{Name: "a", Subjects: []string{"xinghe.jobs.>"}}, nil)
	var missing *MissingStreamError
	if !errors.As(err, &missing) || missing.Stream != StreamJobs {
		t.Errorf("Consume: %v", err)
	}
}
