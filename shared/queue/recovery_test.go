package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// abandon takes n jobs of a consumer as a worker would that is killed right after: nothing
// is answered, and its connection is gone.
func abandon(tb testing.TB, b *broker, n int) {
	tb.Helper()
	nc := b.connect(tb)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	worker, err := js.Consumer(tb.Context(), StreamJobs, "worker")
	if err != nil {
		tb.Fatal(err)
	}
	batch, err := worker.Fetch(n, jetstream.FetchMaxWait(patience))
	if err != nil {
		tb.Fatal(err)
	}
	taken := 0
	for range batch.Messages() {
		taken++
	}
	if taken != n {
		tb.Fatalf("took %d jobs to abandon, want %d: %v", taken, n, batch.Error())
	}
}

func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	cfg := ConsumerConfig{AckWait: 100 * time.Millisecond}
	makeConsumer(t, q, cfg)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	abandon(t, b, 1)
	got := make(chan int, 1)
	consume(t, q, cfg, func(_ context.Context, d *Delivery) error {
		got <- d.Attempt
		return nil
	})
	if attempt := recv(t, got, "the abandoned job"); attempt != 2 {
		t.Errorf("attempt %d, want 2", attempt)
	}
	emptied(t, q, StreamJobs)
}

func TestPoisonEndsInDeadLetters(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	cfg := ConsumerConfig{AckWait: 100 * time.Millisecond, MaxAttempts: 3}
	makeConsumer(t, q, cfg)
	publish(t, q, Job{Subject: "xinghe.jobs.poison", ID: "p"})
	for range 3 {
		abandon(t, b, 1)
	}
	consume(t, q, cfg, func(context.Context, *Delivery) error {
		t.Error("the handler was called once more")
		return nil
	})
	emptied(t, q, StreamJobs)
	dead := deadLetters(t, q)
	if len(dead) != 1 || dead[0].ID != "p" || dead[0].Attempts != 3 || dead[0].Reason != errNoAnswer.Error() {
		t.Errorf("dead letters: %+v", dead)
	}
}

// While a connection is away for longer than the ack wait, the server gives a running job
// to the next who asks, and that can be the very process that is at it.
func TestRedeliveryWhileRunningIsLeftToTheFirst(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	started, finish := make(chan string, 2), make(chan struct{})
	attempts := make(chan int, 2)
	c := consume(t, q, ConsumerConfig{Workers: 2, MaxAttempts: 2}, func(_ context.Context, d *Delivery) error {
		attempts <- d.Attempt
		if d.Attempt > 1 {
			return nil
		}
		started <- d.msg.Reply()
		<-finish
		return errors.New("failed after all")
	})
	reply := recv(t, started, "job")
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Publish(reply, []byte("-NAK")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if c.log.count("job delivered again while it runs here, left to the first handler") == 0 {
			return "no second delivery"
		}
		return ""
	})
	close(finish)
	for want := 1; want <= 2; want++ {
		if got := recv(t, attempts, "attempt"); got != want {
			t.Errorf("attempt %d, want %d", got, want)
		}
	}
	emptied(t, q, StreamJobs)
}

func TestServerRestart(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	const jobs = 200
	for i := range jobs {
		publish(t, q, Job{Subject: "xinghe.jobs.a", ID: fmt.Sprint(i)})
	}
	var mu sync.Mutex
	done := map[string]int{}
	half, resume := make(chan struct{}), make(chan struct{})
	consume(t, q, ConsumerConfig{Workers: 3, Prefetch: 5, AckWait: 5 * time.Second}, func(_ context.Context, d *Delivery) error {
		mu.Lock()
		n := len(done)
		mu.Unlock()
		if n == jobs/2 {
			select {
			case half <- struct{}{}:
			default:
			}
			<-resume // these are done while the server is away, or just back
		}
		mu.Lock()
		defer mu.Unlock()
		if done[d.ID]++; done[d.ID] > 1 {
			t.Logf("job %s (%d) again: delivery %d", d.ID, d.Sequence, d.delivered)
		}
		return nil
	})
	recv(t, half, "half of the jobs")
	b.Stop()
	published := make(chan error, 1)
	go func() { published <- q.Publish(t.Context(), Job{Subject: "xinghe.jobs.a", ID: "late"}) }()
	close(resume)
	b.Start()
	if err := recv(t, published, "publication during the restart"); err != nil {
		t.Fatalf("Publish: %v", err)
	}
	emptied(t, q, StreamJobs)
	mu.Lock()
	defer mu.Unlock()
	if len(done) != jobs+1 {
		t.Errorf("%d jobs done, want %d", len(done), jobs+1)
	}
	for id, n := range done {
		if n != 1 {
			t.Errorf("job %s was done %d times", id, n)
		}
	}
}

func TestConsumeWaitsForTheServer(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	b.Stop()
	late := b.queue(t, Config{Timeout: 50 * time.Millisecond})
	done := make(chan struct{}, 1)
	c := consume(t, late, ConsumerConfig{}, func(context.Context, *Delivery) error {
		done <- struct{}{}
		return nil
	})
	eventually(t, func() string {
		if c.log.count("cannot reach the job stream yet") == 0 {
			return "no warning"
		}
		return ""
	})
	b.Start()
	recv(t, done, "job")
	emptied(t, q, StreamJobs)
}

func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	done := make(chan string, 1)
	consume(t, q, ConsumerConfig{}, func(_ context.Context, d *Delivery) error {
		done <- d.ID
		return nil
	})
	publish(t, q, Job{Subject: "xinghe.jobs.a", ID: "before"})
	recv(t, done, "job before")
	emptied(t, q, StreamJobs)
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), StreamJobs, "worker"); err != nil {
		t.Fatal(err)
	}
	publish(t, q, Job{Subject: "xinghe.jobs.a", ID: "after"})
	if id := recv(t, done, "job after"); id != "after" {
		t.Errorf("got %s", id)
	}
	emptied(t, q, StreamJobs)
}

func TestStopWithoutServer(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []int{0, 5} {
		b, q := setup(t)
		publish(t, q, Job{Subject: "xinghe.jobs.a"})
		started, finish := make(chan struct{}), make(chan struct{})
		c := consume(t, q, ConsumerConfig{Prefetch: prefetch, AckWait: 200 * time.Millisecond}, func(context.Context, *Delivery) error {
			close(started)
			<-finish
			return nil
		})
		recv(t, started, "job")
		b.Stop()
		close(finish)
		c.stop(t)
	}
}

func TestStopWithClosedConnection(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	done := make(chan struct{}, 1)
	c := consume(t, q, ConsumerConfig{}, func(context.Context, *Delivery) error {
		done <- struct{}{}
		return nil
	})
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	recv(t, done, "job")
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	js.Conn().Close()
	c.stop(t)
}

// forgetful loses the answer to every other publication.
type forgetful struct {
	jetstream.JetStream
	calls atomic.Int64
}

func (f *forgetful) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := f.JetStream.PublishMsg(ctx, msg, opts...)
	if err == nil && f.calls.Add(1)%2 == 1 {
		return nil, context.DeadlineExceeded
	}
	return ack, err
}

func (f *forgetful) PublishMsgAsync(*nats.Msg, ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	return nil, nats.ErrTimeout
}

// What was stored without our knowing is neither stored twice nor taken for someone else's.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	b, honest := setup(t)
	js, err := jetstream.New(b.connect(t))
	if err != nil {
		t.Fatal(err)
	}
	q, err := New(&forgetful{JetStream: js}, Config{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	const n = 10
	for i := range n {
		publish(t, q, Job{Subject: fmt.Sprintf("xinghe.jobs.a.%d", i), Unique: i%2 == 0})
	}
	if err := q.PublishAll(t.Context(), []Job{{Subject: "xinghe.jobs.b"}, {Subject: "xinghe.jobs.c", Unique: true}}); err != nil {
		t.Error(err)
	}
	if got := messages(t, honest, StreamJobs); got != n+2 {
		t.Errorf("%d jobs stored, want %d", got, n+2)
	}
	if err := q.Publish(t.Context(), Job{Subject: "xinghe.jobs.c", Unique: true}); !errors.Is(err, ErrExists) {
		t.Errorf("second unique job: %v", err)
	}

	s := openProgress(t, q, StoreConfig{})
	if _, err := s.Create(t.Context(), "k", progress{}); err != nil {
		t.Errorf("Create: %v", err)
	}
	for range n {
		if _, err := s.Modify(t.Context(), "k", func(p *progress) error { p.Rows++; return nil }); err != nil {
			t.Errorf("Modify: %v", err)
		}
	}
	if entry, err := s.Get(t.Context(), "k"); err != nil || entry.Value.Rows != n {
		t.Errorf("rows = %d, want %d, %v", entry.Value.Rows, n, err)
	}
	if _, err := s.Create(t.Context(), "k", progress{}); !errors.Is(err, ErrExists) {
		t.Errorf("second Create: %v", err)
	}
}
