package queue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	q, err := queue.New(natstest.New(t).JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	inspect := func() []queue.StreamState {
		t.Helper()
		states, err := q.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range states {
			states[i].Bytes = 0
		}
		return states
	}
	missing := []queue.StreamState{{Name: queue.StreamJobs, Missing: true}, {Name: queue.StreamEvents, Missing: true}, {Name: queue.StreamDead, Missing: true}}
	if diff := cmp.Diff(missing, inspect()); diff != "" {
		t.Error("before anything is there:", diff)
	}

	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2", "3"} {
		if err := q.Publish(t.Context(), queue.Job{Subject: "xinghe.jobs.greet." + id, ID: id, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var running []queue.StreamState
	err = q.Consume(ctx, queue.ConsumerConfig{Name: "greeter", Subjects: []string{"xinghe.jobs.greet.>"}}, func(context.Context, *queue.Delivery) error {
		running = inspect()
		stop()
		return errors.New("not now")
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []queue.StreamState{
		{Name: queue.StreamJobs, Replicas: 1, Messages: 3, Consumers: []queue.ConsumerState{{Name: "greeter", Waiting: 2, Running: 1}}},
		{Name: queue.StreamEvents, Replicas: 1},
		{Name: queue.StreamDead, Replicas: 1},
	}
	if diff := cmp.Diff(want, running); diff != "" {
		t.Error("while a job runs:", diff)
	}
}
