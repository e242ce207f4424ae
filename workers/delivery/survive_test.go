package delivery_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// A worker that dies in the middle says nothing of what it had. Another one does it all.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dying, begun := make(chan struct{}), make(chan struct{}, 100)
	rec := receive(t, func(_ http.ResponseWriter, r *http.Request, number int) {
		if number > 4 {
			return
		}
		begun <- struct{}{}
		select {
		case <-dying:
		case <-r.Context().Done():
		}
	})
	cfg := b.config(list(subscription("crm", rec.URL, `"concurrency":4`)))
	cfg.AckWait, cfg.Drain = 500*time.Millisecond, -1
	connection := b.nats.Connect()
	js, err := jetstream.New(connection)
	if err != nil {
		t.Fatal(err)
	}
	doomed := cfg
	if doomed.Queue, err = queue.New(js, queue.Config{Timeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	stop := b.start(doomed, "crm")
	ids := numbered("e", 50)
	b.publish("export.done", ids...)
	for range 4 {
		<-begun
	}
	connection.Close() // not a word comes from it any more
	stop()
	close(dying)
	b.start(cfg, "crm")
	b.arrived(rec, ids...)
}

// What is under way when a worker is told to stop is finished, and what waits is left.
func TestDrain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release, begun := make(chan struct{}), make(chan struct{}, 100)
	rec := receive(t, func(_ http.ResponseWriter, _ *http.Request, number int) {
		if number == 1 {
			begun <- struct{}{}
			<-release
		}
	})
	cfg := b.config(list(subscription("crm", rec.URL, `"concurrency":1`)))
	cfg.Drain = patience
	stop := b.start(cfg, "crm")
	b.publish("export.done", "a", "b")
	<-begun
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	close(release)
	<-stopped
	if made, written := len(rec.all()), len(b.attempts("crm")); made == 0 || made != written {
		t.Errorf("%d requests, %d written down", made, written)
	}
	b.start(b.config(list(subscription("crm", rec.URL))), "crm")
	b.arrived(rec, "a", "b")
}

// Two workers know of each other's trouble.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rec := receive(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusGone) })
	subscriptions := list(subscription("crm", rec.URL, `"concurrency":1`))
	b.start(b.config(subscriptions), "crm")
	b.publish("export.done", "a")
	b.eventually(func() string {
		if b.record("crm").PausedAt == nil {
			return "not paused"
		}
		return ""
	})
	b.start(b.config(subscriptions), "crm")
	b.publish("export.done", numbered("e", 20)...)
	consumer, err := b.js.Consumer(t.Context(), queue.StreamEvents, jobs.DeliveryConsumer("crm"))
	if err != nil {
		t.Fatal(err)
	}
	b.eventually(func() string { // both have taken some: one holds no more than 5
		info, err := consumer.Info(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if info.NumAckPending <= 5 {
			return fmt.Sprintf("%d in flight", info.NumAckPending)
		}
		return ""
	})
	if n := len(rec.all()); n != 1 {
		t.Errorf("%d requests to a target that is gone", n)
	}
}

// A server of NATS that goes and comes back is waited for.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bad, good := receive(t, failing), receive(t, nil)
	b.start(b.config(list(subscription("bad", bad.URL), subscription("good", good.URL))), "bad", "good")
	b.publish("export.done", "a")
	b.arrived(good, "a")
	b.arrived(bad, "a")
	b.nats.Stop()
	b.nats.Start()
	b.publish("export.done", "b")
	b.arrived(good, "a", "b")
	b.arrived(bad, "a", "b")
	b.eventually(func() string { // and the retry of what failed before is not forgotten
		b.advance(time.Minute)
		if n := len(bad.all()); n < 4 {
			return fmt.Sprintf("%d requests", n)
		}
		return ""
	})
}
