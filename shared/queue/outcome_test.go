package queue

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestDone(t *testing.T) {
	t.Parallel()
	for _, mode := range []AckMode{AckConfirmed, AckUnconfirmed} {
		_, q := setup(t)
		publish(t, q, Job{Subject: "xinghe.jobs.a.1", ID: "one", Data: []byte("data"), Headers: map[string]string{"Trace": "t1"}})
		got := make(chan Delivery, 2)
		c := consume(t, q, ConsumerConfig{Ack: mode}, func(_ context.Context, d *Delivery) error {
			got <- Delivery{Subject: d.Subject, ID: d.ID, Data: d.Data, Attempt: d.Attempt, Stream: d.Stream, Sequence: d.Sequence, consumer: d.Header("Trace")}
			return nil
		})
		d := recv(t, got, "job")
		if d.Subject != "xinghe.jobs.a.1" || d.ID != "one" || string(d.Data) != "data" || d.Attempt != 1 || d.Stream != StreamJobs || d.Sequence != 1 || d.consumer != "t1" {
			t.Errorf("delivery = %+v", &d)
		}
		emptied(t, q, StreamJobs)
		c.stop(t)
		if c.log.String() != "" {
			t.Errorf("a job that was done was logged: %s", c.log)
		}
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	attempts := make(chan int, 10)
	c := consume(t, q, ConsumerConfig{}, func(_ context.Context, d *Delivery) error {
		attempts <- d.Attempt
		switch d.Attempt {
		case 1:
			return errors.New("get https://host/sse/paas4Json/tok-canary/1/2/3: refused")
		case 2:
			panic("boom")
		}
		return nil
	})
	for want := 1; want <= 3; want++ {
		if got := recv(t, attempts, "attempt"); got != want {
			t.Errorf("attempt %d, want %d", got, want)
		}
	}
	emptied(t, q, StreamJobs)
	c.stop(t)
	if got := c.log.count("job failed, will retry"); got != 2 {
		t.Errorf("%d retries logged, want 2:\n%s", got, c.log)
	}
	if log := c.log.String(); !strings.Contains(log, "panic: boom") || !strings.Contains(log, "outcome_test.go") || strings.Contains(log, "canary") {
		t.Errorf("log wants the panic with its stack and no secret:\n%s", log)
	}
	if n := messages(t, q, "KV_"+BucketAttempts); n > 1 { // a purge marker may stay
		t.Errorf("%d records of attempts remain", n)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	times := make(chan time.Time, 2)
	consume(t, q, ConsumerConfig{}, func(_ context.Context, d *Delivery) error {
		times <- time.Now()
		if d.Attempt == 1 {
			return RetryAfter(errors.New("slow down"), 400*time.Millisecond)
		}
		return nil
	})
	first := recv(t, times, "first attempt")
	if took := recv(t, times, "second attempt").Sub(first); took < 350*time.Millisecond {
		t.Errorf("retried after %s, want 400ms", took)
	}
	if RetryAfter(nil, time.Second) != nil {
		t.Error("RetryAfter(nil) is an error")
	}
}

func TestSnooze(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	var calls atomic.Int32
	attempts := make(chan int, 20)
	c := consume(t, q, ConsumerConfig{MaxAttempts: 2}, func(_ context.Context, d *Delivery) error {
		attempts <- d.Attempt
		switch calls.Add(1) {
		case 4:
			return errors.New("failed")
		case 8:
			return nil
		}
		return Snooze(0)
	})
	for i, want := range []int{1, 1, 1, 1, 2, 2, 2, 2} {
		if got := recv(t, attempts, "call"); got != want {
			t.Errorf("call %d is attempt %d, want %d", i+1, got, want)
		}
	}
	emptied(t, q, StreamJobs)
	c.stop(t)
	if dead := deadLetters(t, q); len(dead) > 0 {
		t.Errorf("dead letters: %+v", dead)
	}
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a.b", ID: "bad", Data: []byte("x"), Headers: map[string]string{"Trace": "t"}, Unique: true})
	var calls atomic.Int32
	c := consume(t, q, ConsumerConfig{}, func(context.Context, *Delivery) error {
		calls.Add(1)
		return Discard(errors.New("no such\nthing at nats://user:canary@host"))
	})
	emptied(t, q, StreamJobs)
	c.stop(t)
	dead := deadLetters(t, q)
	if len(dead) != 1 || calls.Load() != 1 {
		t.Fatalf("%d dead letters after %d calls, want 1 and 1", len(dead), calls.Load())
	}
	letter := dead[0]
	if letter.Subject != "xinghe.jobs.a.b" || letter.ID != "bad" || string(letter.Data) != "x" || letter.Attempts != 1 ||
		letter.Headers["Trace"] != "t" || len(letter.Headers) != 1 || !letter.Unique || letter.Consumer != "worker" || letter.Published.IsZero() {
		t.Errorf("letter = %+v", letter)
	}
	if !strings.HasPrefix(letter.Reason, "no such thing at nats://") || strings.Contains(letter.Reason, "canary") || len(letter.History) != 1 {
		t.Errorf("reason %q, history %+v", letter.Reason, letter.History)
	}
	if c.log.count("job moved to the dead letters") != 1 || strings.Contains(c.log.String(), "canary") {
		t.Errorf("log: %s", c.log)
	}
}

func TestAttemptsExhausted(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	var calls atomic.Int32
	c := consume(t, q, ConsumerConfig{MaxAttempts: 3}, func(context.Context, *Delivery) error {
		calls.Add(1)
		return errors.New(strings.Repeat("出错", 200))
	})
	emptied(t, q, StreamJobs)
	c.stop(t)
	dead := deadLetters(t, q)
	if len(dead) != 1 || calls.Load() != 3 {
		t.Fatalf("%d dead letters after %d calls, want 1 and 3", len(dead), calls.Load())
	}
	if letter := dead[0]; letter.Attempts != 3 || len(letter.History) != 3 || letter.History[2].Attempt != 3 || len(letter.Reason) > 500 || !strings.HasSuffix(letter.Reason, "…") {
		t.Errorf("letter = %+v", letter)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	errs := make(chan error, 2)
	consume(t, q, ConsumerConfig{Timeout: 50 * time.Millisecond}, func(ctx context.Context, d *Delivery) error {
		if d.Attempt > 1 {
			errs <- nil
			return nil
		}
		<-ctx.Done()
		errs <- ctx.Err()
		return ctx.Err()
	})
	if err := recv(t, errs, "time-out"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("handler's context ended with %v", err)
	}
	if err := recv(t, errs, "second attempt"); err != nil {
		t.Error(err)
	}
	emptied(t, q, StreamJobs)
}

func TestExponentialBackoff(t *testing.T) {
	t.Parallel()
	backoff := ExponentialBackoff(time.Second, time.Minute)
	for attempt, full := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 7: time.Minute, 5000: time.Minute} {
		for range 100 {
			if got := backoff(attempt); got < full/2 || got > full {
				t.Fatalf("backoff(%d) = %s, want %s to %s", attempt, got, full/2, full)
			}
		}
	}
}
