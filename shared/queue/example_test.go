package queue_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

// open starts a NATS server inside this process and returns a queue on it.
func open() (q *queue.Queue, stop func()) {
	srv, stopServer := natstest.Example()
	q, err := queue.Open(queue.ConnConfig{Options: srv.Options()}, queue.Config{})
	if err != nil {
		panic(err)
	}
	return q, func() {
		q.Close()
		stopServer()
	}
}

func Example() {
	q, stop := open()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// A worker makes the streams when it starts.
	if err := q.Ensure(ctx); err != nil {
		fmt.Println(err)
		return
	}

	// A function publishes; when Publish has returned, the job is stored.
	err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.greet.zh", ID: "greet-1", Data: []byte("星河")})
	if err != nil {
		fmt.Println(err)
		return
	}

	// A worker does the jobs until its context ends.
	err = q.Consume(ctx, queue.ConsumerConfig{Name: "greeter", Subjects: []string{"xinghe.jobs.greet.>"}},
		func(_ context.Context, job *queue.Delivery) error {
			fmt.Printf("%s attempt %d: hello, %s\n", job.ID, job.Attempt, job.Data)
			cancel()
			return nil
		})
	fmt.Println(err)
	// Output:
	// greet-1 attempt 1: hello, 星河
	// <nil>
}

// begin is open with the streams in place and a context that ends.
func begin() (ctx context.Context, q *queue.Queue, stop func()) {
	q, closeQueue := open()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	if err := q.Ensure(ctx); err != nil {
		panic(err)
	}
	return ctx, q, func() {
		cancel()
		closeQueue()
	}
}

// What a handler returns decides what becomes of its job.
func ExampleHandler() {
	ctx, q, stop := begin()
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.picture", ID: "p1"}); err != nil {
		fmt.Println(err)
		return
	}
	steps := []error{
		queue.Snooze(time.Millisecond),                                         // not ready yet: no attempt
		errors.New("connection reset"),                                         // tried again after the backoff
		queue.RetryAfter(errors.New("too many requests"), 10*time.Millisecond), // and not too early
		nil, // done
	}
	call := 0
	err := q.Consume(ctx, queue.ConsumerConfig{
		Name: "pictures", Subjects: []string{"xinghe.jobs.picture"},
		Backoff: queue.ExponentialBackoff(time.Millisecond, time.Second),
	}, func(_ context.Context, job *queue.Delivery) error {
		outcome := steps[call]
		if call++; call == len(steps) {
			cancel()
		}
		fmt.Printf("attempt %d: %v\n", job.Attempt, outcome)
		return outcome
	})
	fmt.Println(err)
	// Output:
	// attempt 1: snoozed for 1ms
	// attempt 1: connection reset
	// attempt 2: too many requests
	// attempt 3: <nil>
	// <nil>
}

// A failure that may pass is tried again, here after 1s, 2s, 4s and so on up to a minute,
// less up to half of it by chance. The example's chance is none, and its second short.
func ExampleJitteredBackoff() {
	ctx, q, stop := begin()
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const second = 2 * time.Millisecond
	backoff := queue.JitteredBackoff(second, 60*second, func() float64 { return 0.5 })
	fmt.Println(backoff(1), backoff(2), backoff(10))

	if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.greet"}); err != nil {
		fmt.Println(err)
		return
	}
	err := q.Consume(ctx, queue.ConsumerConfig{Name: "greeter", Subjects: []string{"xinghe.jobs.greet"}, Backoff: backoff},
		func(_ context.Context, job *queue.Delivery) error {
			if job.Attempt < 3 {
				fmt.Printf("attempt %d fails\n", job.Attempt)
				return errors.New("connection reset")
			}
			fmt.Printf("attempt %d succeeds\n", job.Attempt)
			cancel()
			return nil
		})
	fmt.Println(err)
	// Output:
	// 1.5ms 3ms 90ms
	// attempt 1 fails
	// attempt 2 fails
	// attempt 3 succeeds
	// <nil>
}

// A job that waits for something else asks for a later call, however often: that is no
// failure and needs no attempt.
func ExampleSnooze() {
	ctx, q, stop := begin()
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.picture", ID: "p1"}); err != nil {
		fmt.Println(err)
		return
	}
	polls := 0
	err := q.Consume(ctx, queue.ConsumerConfig{Name: "pictures", Subjects: []string{"xinghe.jobs.picture"}, MaxAttempts: 1},
		func(_ context.Context, job *queue.Delivery) error {
			if polls++; polls < 4 {
				return queue.Snooze(time.Millisecond) // not painted yet
			}
			fmt.Printf("ready at poll %d, attempt %d\n", polls, job.Attempt)
			cancel()
			return nil
		})
	fmt.Println(err)
	// Output:
	// ready at poll 4, attempt 1
	// <nil>
}

// What can never succeed is given up at once.
func ExampleDiscard() {
	ctx, q, stop := begin()
	defer stop()
	consuming, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.picture", ID: "p1"}); err != nil {
		fmt.Println(err)
		return
	}
	err := q.Consume(consuming, queue.ConsumerConfig{Name: "pictures", Subjects: []string{"xinghe.jobs.picture"}},
		func(context.Context, *queue.Delivery) error {
			cancel()
			return queue.Discard(errors.New("no such picture"))
		})
	if err != nil {
		fmt.Println(err)
	}
	for letter, err := range q.DeadLetters(ctx, "") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("dead: %s after %d attempt: %s\n", letter.ID, letter.Attempts, letter.Reason)
	}
	// Output:
	// dead: p1 after 1 attempt: no such picture
}

// Jobs that have used up their attempts wait among the dead letters, with all that went
// wrong, until somebody retries or drops them.
func ExampleQueue_RetryDead() {
	ctx, q, stop := begin()
	defer stop()
	if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.greet.zh", ID: "greet-1"}); err != nil {
		fmt.Println(err)
		return
	}
	upstream := errors.New("bad gateway")
	greet := func(attempts int) {
		consuming, cancel := context.WithCancel(ctx)
		defer cancel()
		cfg := queue.ConsumerConfig{
			Name: "greeter", Subjects: []string{"xinghe.jobs.greet.>"}, MaxAttempts: attempts,
			Backoff: queue.ExponentialBackoff(time.Millisecond, time.Second),
		}
		err := q.Consume(consuming, cfg, func(_ context.Context, job *queue.Delivery) error {
			if upstream == nil || job.Attempt == attempts {
				cancel()
			}
			fmt.Printf("%s attempt %d: %v\n", job.ID, job.Attempt, upstream)
			return upstream
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	greet(2)

	upstream = nil // repaired
	for letter, err := range q.DeadLetters(ctx, "xinghe.jobs.greet.>") {
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, failure := range letter.History {
			fmt.Printf("dead letter %d, attempt %d: %s\n", letter.Sequence, failure.Attempt, failure.Error)
		}
		fmt.Println("retried:", q.RetryDead(ctx, letter.Sequence))
	}
	greet(2)
	// Output:
	// greet-1 attempt 1: bad gateway
	// greet-1 attempt 2: bad gateway
	// dead letter 1, attempt 1: bad gateway
	// dead letter 1, attempt 2: bad gateway
	// retried: <nil>
	// greet-1 attempt 1: <nil>
}

// Ratings of one message are applied in the order in which they were given, whichever
// process does it and however often one fails; those of other messages do not wait.
func ExampleOrderedSubject() {
	ctx, q, stop := begin()
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, rating := range []string{"1 star", "5 stars", "3 stars"} {
		job := queue.Job{Subject: queue.OrderedSubject("xinghe.jobs.rating", "message-7"), Data: []byte(rating)}
		if err := q.Publish(ctx, job); err != nil {
			fmt.Println(err)
			return
		}
	}
	cfg := queue.ConsumerConfig{
		Name: "rating", Subjects: []string{"xinghe.jobs.rating"}, Ordered: true,
		Backoff: queue.ExponentialBackoff(time.Millisecond, time.Second),
	}
	done := 0
	err := q.Consume(ctx, cfg, func(_ context.Context, job *queue.Delivery) error {
		if done == 0 && job.Attempt == 1 {
			return errors.New("bad gateway")
		}
		fmt.Printf("%s: %s\n", job.Subject, job.Data)
		if done++; done == 3 {
			cancel()
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// xinghe.jobs.rating.4.message-7: 1 star
	// xinghe.jobs.rating.4.message-7: 5 stars
	// xinghe.jobs.rating.4.message-7: 3 stars
	// <nil>
}

// When its context ends, Consume takes nothing more, waits for what runs, hands back what
// waits, and returns.
func ExampleQueue_Consume_drain() {
	ctx, q, stop := begin()
	defer stop()
	for _, id := range []string{"first", "second"} {
		if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.greet", ID: id}); err != nil {
			fmt.Println(err)
			return
		}
	}
	cfg := queue.ConsumerConfig{Name: "greeter", Subjects: []string{"xinghe.jobs.greet"}, Prefetch: 1, Drain: 10 * time.Second}
	worker := func(name string) {
		consuming, terminate := context.WithCancel(ctx) // in a program: signal.NotifyContext
		defer terminate()
		err := q.Consume(consuming, cfg, func(ctx context.Context, job *queue.Delivery) error {
			terminate()
			fmt.Printf("%s: %s goes on: %v\n", name, job.ID, ctx.Err() == nil)
			return nil
		})
		fmt.Println(name, "returns:", err)
	}
	worker("old release")
	worker("new release")
	// Output:
	// old release: first goes on: true
	// old release returns: <nil>
	// new release: second goes on: true
	// new release returns: <nil>
}

// Two exports of the same window must not run side by side.
func ExampleJob_unique() {
	q, stop := open()
	defer stop()
	ctx := context.Background()
	if err := q.Ensure(ctx); err != nil {
		fmt.Println(err)
		return
	}
	window := queue.Job{Subject: "xinghe.jobs.window.exp_1.7", Unique: true}
	fmt.Println(q.Publish(ctx, window))
	err := q.Publish(ctx, window)
	fmt.Println(errors.Is(err, queue.ErrExists), err)
	// Output:
	// <nil>
	// true publish job xinghe.jobs.window.exp_1.7: subject is taken: exists already
}

// Without a worker there are no streams, and the error says so.
func ExampleMissingStreamError() {
	q, stop := open()
	defer stop()
	err := q.Publish(context.Background(), queue.Job{Subject: "xinghe.jobs.greet"})
	fmt.Println(err)
	fmt.Println(errors.Is(err, queue.ErrUnavailable))
	// Output:
	// publish job xinghe.jobs.greet: stream XINGHE_JOBS does not exist: is a worker running?
	// true
}

func ExampleStore() {
	q, stop := open()
	defer stop()
	ctx := context.Background()

	type progress struct {
		State string `json:"state"`
		Rows  int    `json:"rows"`
	}
	exports, err := queue.OpenStore[progress](q, "exports", queue.StoreConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := exports.Create(ctx, "exp_1", progress{State: "running"}); err != nil {
		fmt.Println(err)
		return
	}
	// Any number of workers may do this at once.
	_, err = exports.Modify(ctx, "exp_1", func(p *progress) error {
		p.Rows += 130
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for entry, err := range exports.Watch(ctx, "exp_1") {
		fmt.Println(entry.Key, entry.Value.State, entry.Value.Rows, err)
		break
	}
	// Output: exp_1 running 130 <nil>
}
