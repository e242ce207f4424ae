package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPublishOnce(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	for range 3 {
		publish(t, q, Job{Subject: "xinghe.jobs.a", ID: "same"})
	}
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	publish(t, q, Job{Subject: "xinghe.jobs.a"}) // without ids they are two
	if n := messages(t, q, StreamJobs); n != 3 {
		t.Errorf("%d jobs stored, want 3", n)
	}
}

func TestPublishUnique(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	job := Job{Subject: "xinghe.jobs.window.exp_1.7", ID: "exp_1.7", Unique: true}
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		publisher := b.queue(t, Config{})
		wg.Go(func() {
			switch err := publisher.Publish(t.Context(), job); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrExists):
				lost.Add(1)
			default:
				t.Errorf("Publish: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 7 {
		t.Fatalf("%d of 8 stored, %d refused", won.Load(), lost.Load())
	}

	release := make(chan struct{})
	started := make(chan struct{}, 2)
	consume(t, q, ConsumerConfig{}, func(_ context.Context, d *Delivery) error {
		if d.ID != job.ID {
			t.Errorf("id %q, want %q", d.ID, job.ID)
		}
		started <- struct{}{}
		<-release
		return nil
	})
	recv(t, started, "job")
	if err := q.Publish(t.Context(), job); !errors.Is(err, ErrExists) {
		t.Errorf("while it runs: %v", err)
	}
	close(release)
	emptied(t, q, StreamJobs)
	publish(t, q, job) // done: the subject is free, for the same id as well
	recv(t, started, "the same job again")
	emptied(t, q, StreamJobs)
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	for name, job := range map[string]Job{
		"subject elsewhere": {Subject: "jobs.a"},
		"events":            {Subject: "xinghe.events.a"},
		"empty":             {Subject: "xinghe.jobs."},
		"empty part":        {Subject: "xinghe.jobs.a..b"},
		"wildcard":          {Subject: "xinghe.jobs.a.*"},
		"white space":       {Subject: "xinghe.jobs.a b"},
		"reserved header":   {Subject: "xinghe.jobs.a", Headers: map[string]string{"Nats-TTL": "1s"}},
		"own header":        {Subject: "xinghe.jobs.a", Headers: map[string]string{"Xinghe-Job-Id": "1"}},
		"header name":       {Subject: "xinghe.jobs.a", Headers: map[string]string{"a:b": "1"}},
		"header value":      {Subject: "xinghe.jobs.a", Headers: map[string]string{"a": "1\r\nb: 2"}},
		"id":                {Subject: "xinghe.jobs.a", ID: "a\nb"},
	} {
		if err := q.Publish(t.Context(), job); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		var batch *BatchError
		if err := q.PublishAll(t.Context(), []Job{{Subject: "xinghe.jobs.ok", ID: "ok"}, job}); !errors.As(err, &batch) || !errors.Is(err, ErrInvalid) || len(batch.Failed) != 1 || batch.Failed[1] == nil {
			t.Errorf("%s, in a batch: %v", name, err)
		}
	}
	if err := q.PublishEvent(t.Context(), "xinghe.jobs.a", "1", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("event: %v", err)
	}
}

func TestPublishWithoutStream(t *testing.T) {
	t.Parallel()
	q := newBroker(t).queue(t, Config{})
	err := q.Publish(t.Context(), Job{Subject: "xinghe.jobs.a"})
	var missing *MissingStreamError
	if !errors.As(err, &missing) || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "stream XINGHE_JOBS does not exist: is a worker running?") {
		t.Errorf("Publish: %v", err)
	}
	if err := q.PublishEvent(t.Context(), "xinghe.events.a", "1", nil); !errors.As(err, &missing) || missing.Stream != StreamEvents {
		t.Errorf("PublishEvent: %v", err)
	}
}

func TestPublishWhileServerIsDown(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	b.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := q.Publish(ctx, Job{Subject: "xinghe.jobs.a", ID: "failed"})
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish: %v", err)
	}
	b.Start()
	publish(t, q, Job{Subject: "xinghe.jobs.a", ID: "later"})
	if n := messages(t, q, StreamJobs); n != 1 {
		t.Errorf("%d jobs: what was reported as failed must not be stored later", n)
	}
}

func TestPublishAll(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	const n = 2*inFlight + 17
	jobs := make([]Job, n)
	for i := range jobs {
		jobs[i] = Job{Subject: "xinghe.jobs.a", ID: fmt.Sprint(i), Data: fmt.Append(nil, i)}
	}
	for range 2 { // the second time they are all known
		if err := q.PublishAll(t.Context(), jobs); err != nil {
			t.Fatal(err)
		}
	}
	if got := messages(t, q, StreamJobs); got != n {
		t.Errorf("%d jobs stored, want %d", got, n)
	}
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), StreamJobs)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, inFlight - 1, inFlight, n - 1} {
		if msg, err := stream.GetMsg(t.Context(), uint64(i+1)); err != nil || string(msg.Data) != fmt.Sprint(i) {
			t.Errorf("job %d is not in its place: %v", i, err)
		}
	}
	if err := q.PublishAll(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestPublishAllTellsWhatFailed(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	jobs := []Job{
		{Subject: "xinghe.jobs.a", Unique: true},
		{Subject: "xinghe.jobs.a", Unique: true},
		{Subject: "xinghe.jobs.b", Data: make([]byte, 2<<20)},
		{Subject: "xinghe.jobs.c"},
	}
	err := q.PublishAll(t.Context(), jobs)
	var batch *BatchError
	if !errors.As(err, &batch) || len(batch.Failed) != 2 || !errors.Is(batch.Failed[1], ErrExists) || !errors.Is(batch.Failed[2], ErrTooLarge) {
		t.Fatalf("PublishAll: %v", err)
	}
	if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "publish 4 jobs: 2 failed, the first is number 1") {
		t.Errorf("PublishAll: %v", err)
	}
	if n := messages(t, q, StreamJobs); n != 2 {
		t.Errorf("%d jobs stored, want 2", n)
	}
}
