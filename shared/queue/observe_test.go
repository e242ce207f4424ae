package queue_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/queue"
	"xinghe/shared/trace"
	"xinghe/testlocal/natstest"
)

type seen struct {
	Consumer, Job string
	Outcome       queue.Outcome
	Failed        bool
}

// watcher notes what becomes of jobs.
type watcher struct {
	mu   sync.Mutex
	list []seen
	done func()
}

type markKey struct{}

func (w *watcher) Begin(ctx context.Context, job *queue.Delivery) (context.Context, func(queue.Outcome, error)) {
	consumer, id := job.Consumer(), job.ID
	return context.WithValue(ctx, markKey{}, "observed"), func(outcome queue.Outcome, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.list = append(w.list, seen{consumer, id, outcome, err != nil}); len(w.list) == 5 {
			w.done()
		}
	}
}

// Each call of a handler is observed, with what became of it, and works for the trace that
// the job was published in.
func TestObserver(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	w := &watcher{done: stop}
	q, err := queue.New(natstest.New(t).JetStream(), queue.Config{Observer: w})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	parent, _ := trace.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	publish := func(ctx context.Context, jobs ...string) {
		t.Helper()
		for _, id := range jobs {
			if err := q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.test." + id, ID: id, Data: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(trace.With(t.Context(), parent), "good", "retried")
	if err := q.PublishAll(trace.With(t.Context(), parent), []queue.Job{{Subject: "xinghe.jobs.test.snoozed", ID: "snoozed"}}); err != nil {
		t.Fatal(err)
	}
	publish(t.Context(), "bad")
	traces := map[string]trace.Parent{}
	cfg := queue.ConsumerConfig{Name: "tester", Subjects: []string{"xinghe.jobs.test.>"}, Backoff: func(int) time.Duration { return time.Hour }}
	calls := 0
	err = q.Consume(ctx, cfg, func(ctx context.Context, job *queue.Delivery) error {
		calls++
		if ctx.Value(markKey{}) != "observed" {
			t.Error("the handler has another context than the observer's")
		}
		traces[job.ID] = trace.From(ctx)
		switch {
		case job.ID == "bad":
			return queue.Discard(errors.New("no"))
		case job.ID == "retried":
			return errors.New("not now")
		case job.ID == "snoozed" && calls <= 4:
			return queue.Snooze(time.Millisecond)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []seen{
		{"tester", "good", queue.OutcomeDone, false},
		{"tester", "retried", queue.OutcomeRetried, true},
		{"tester", "snoozed", queue.OutcomeSnoozed, true},
		{"tester", "bad", queue.OutcomeDead, true},
		{"tester", "snoozed", queue.OutcomeDone, false},
	}
	if diff := cmp.Diff(want, w.list); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]trace.Parent{"good": parent, "retried": parent, "snoozed": parent, "bad": ""}, traces); diff != "" {
		t.Error(diff)
	}
}
