package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"xinghe/shared/queue"
)

// open starts a NATS server inside this process and returns a queue on it.
func open() (q *queue.Queue, stop func()) {
	dir, err := os.MkdirTemp("", "queue-example-")
	if err != nil {
		panic(err)
	}
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		panic(err)
	}
	srv.Start()
	q, err = queue.Open(queue.ConnConfig{Options: []nats.Option{nats.InProcessServer(srv)}}, queue.Config{})
	if err != nil {
		panic(err)
	}
	return q, func() {
		q.Close()
		srv.Shutdown()
		srv.WaitForShutdown()
		_ = os.RemoveAll(dir)
	}
}

func Example() {
	q, stop := open()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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

// What a handler returns decides what becomes of its job.
func ExampleHandler() {
	q, stop := open()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := q.Ensure(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.picture", ID: "p1"}); err != nil {
		fmt.Println(err)
		return
	}

	steps := []error{
		queue.Snooze(time.Millisecond),                                         // not ready yet: no attempt
		errors.New("connection reset"),                                         // tried again after the backoff
		queue.RetryAfter(errors.New("too many requests"), 10*time.Millisecond), // and not too early
		queue.Discard(errors.New("no such picture")),                           // given up
	}
	call := 0
	cfg := queue.ConsumerConfig{
		Name: "pictures", Subjects: []string{"xinghe.jobs.picture"},
		Backoff: queue.ExponentialBackoff(time.Millisecond, time.Second),
	}
	err := q.Consume(ctx, cfg, func(_ context.Context, job *queue.Delivery) error {
		outcome := steps[call]
		if call++; call == len(steps) {
			cancel()
		}
		fmt.Printf("attempt %d: %v\n", job.Attempt, outcome)
		return outcome
	})
	if err != nil {
		fmt.Println(err)
	}

	for letter, err := range q.DeadLetters(context.Background(), "") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("dead: %s after %d attempts: %s\n", letter.ID, letter.Attempts, letter.Reason)
	}
	// Output:
	// attempt 1: snoozed for 1ms
	// attempt 1: connection reset
	// attempt 2: too many requests
	// attempt 3: no such picture
	// dead: p1 after 3 attempts: no such picture
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
