package rating_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/natstest"
	"xinghe/workers/rating"
)

// patience is how long anything may take on a machine that is busy.
const patience = 60 * time.Second

// recorder is an upstream that remembers the calls; trouble may answer in its place.
type recorder struct {
	trouble func(call int, req xingchen.RatingRequest) error

	mu    sync.Mutex
	calls []xingchen.RatingRequest
}

func (r *recorder) Rate(_ context.Context, req xingchen.RatingRequest, _ ...xingchen.CallOption) error {
	r.mu.Lock()
	r.calls = append(r.calls, req)
	call := len(r.calls)
	r.mu.Unlock()
	if r.trouble != nil {
		return r.trouble(call, req)
	}
	return nil
}

// of lists the ratings that were sent for a message.
func (r *recorder) of(messageID string) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sent []int
	for _, call := range r.calls {
		if call.MessageID == messageID {
			sent = append(sent, call.Rating)
		}
	}
	return sent
}

type bundle struct {
	t       *testing.T
	nats    *natstest.Server
	queue   *queue.Queue
	jobs    *queue.Store[jobs.RatingJob]
	rows    *queue.Store[jobs.RatingChunk]
	results *queue.Store[jobs.RatingResult]
	last    *queue.Store[jobs.RatingLast]
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, nats: natstest.New(t)}
	b.queue = b.newQueue()
	if err := b.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.jobs, b.rows = open[jobs.RatingJob](b), open[jobs.RatingChunk](b)
	b.results, b.last = open[jobs.RatingResult](b), open[jobs.RatingLast](b)
	return b
}

func open[T any](b *bundle) *queue.Store[T] {
	b.t.Helper()
	store, err := queue.OpenStore[T](b.queue, jobs.BucketRatings, queue.StoreConfig{TTL: jobs.RatingRetention})
	if err != nil {
		b.t.Fatal(err)
	}
	return store
}

// newQueue is a queue over a connection of its own, as another process would have it.
func (b *bundle) newQueue(options ...nats.Option) *queue.Queue {
	b.t.Helper()
	js, err := jetstream.New(b.nats.Connect(options...))
	if err != nil {
		b.t.Fatal(err)
	}
	q, err := queue.New(js, queue.Config{})
	if err != nil {
		b.t.Fatal(err)
	}
	return q
}

// work runs a worker until stop is called, which waits for it.
func (b *bundle) work(cfg rating.Config) (stop func()) {
	b.t.Helper()
	if cfg.Queue == nil {
		cfg.Queue = b.queue
	}
	worker, err := rating.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, worker.Close()); err != nil {
			b.t.Errorf("worker: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

// store writes a job's rows and publishes its tasks, but not the job.
func (b *bundle) store(id string, rows ...jobs.RatingRow) jobs.RatingJob {
	b.t.Helper()
	for i := range rows {
		rows[i].Row = i
	}
	chunks := jobs.RatingChunks(rows)
	for i, chunk := range chunks {
		task := jobs.RatingTask{ID: id, Chunk: i}
		if _, err := b.rows.Put(b.t.Context(), "rows."+task.Key(), chunk); err != nil {
			b.t.Fatal(err)
		}
		b.publish(task)
	}
	return jobs.RatingJob{ID: id, Rows: len(rows), Chunks: len(chunks), CreatedAt: time.Now()}
}

func (b *bundle) publish(task jobs.RatingTask) {
	b.t.Helper()
	data, err := json.Marshal(task)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.queue.Publish(b.t.Context(), queue.Job{Subject: jobs.SubjectRating + task.Key(), Data: data}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) commit(job jobs.RatingJob) {
	b.t.Helper()
	if _, err := b.jobs.Create(b.t.Context(), "job."+job.ID, job); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) accept(id string, rows ...jobs.RatingRow) {
	b.t.Helper()
	b.commit(b.store(id, rows...))
}

// end waits until every row of the job has ended and returns the outcomes.
func (b *bundle) end(id string) []jobs.RatingOutcome {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	job, err := b.jobs.Get(ctx, "job."+id)
	if err != nil {
		b.t.Fatal(err)
	}
	var outcomes []jobs.RatingOutcome
	for chunk := range job.Value.Chunks {
		key := "done." + jobs.RatingTask{ID: id, Chunk: chunk}.Key()
		for entry, err := range b.results.Watch(ctx, key) {
			if err != nil {
				b.t.Fatalf("%s: %v", key, err)
			}
			if !entry.Deleted && entry.Value.Ended() {
				outcomes = append(outcomes, entry.Value.Outcomes...)
				break
			}
		}
	}
	return outcomes
}

// events are those of a type that were published for a job, oldest first.
func (b *bundle) events(kind string, count int) []jobs.RatingEvent {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.t.Context(), patience)
	defer stop()
	var told []jobs.RatingEvent
	err := b.queue.Consume(ctx, queue.ConsumerConfig{Name: strings.ReplaceAll(kind, ".", "-"), Subjects: []string{jobs.EventPrefix + kind}}, func(_ context.Context, d *queue.Delivery) error {
		var event jobs.Event
		var data jobs.RatingEvent
		if err := errors.Join(json.Unmarshal(d.Data, &event), json.Unmarshal(event.Data, &data)); err != nil {
			b.t.Error(err)
		}
		if event.Type != "xinghe."+kind || event.Subject != data.ID {
			b.t.Errorf("event %+v", event)
		}
		if told = append(told, data); len(told) == count {
			stop()
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return told
}

func row(messageID string, rating int) jobs.RatingRow {
	return jobs.RatingRow{MessageID: messageID, Rating: rating}
}

func notFound() error {
	return &xingchen.Error{HTTPStatus: 400, Code: 404, Key: "aca.error.notfound", Message: "message is not there"}
}

var applied = jobs.RatingOutcome{Outcome: jobs.RatingApplied}
