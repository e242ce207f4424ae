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

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/testlocal/natstest"
)

// TestClusterLosesItsLeader does jobs, unique ones among them, and counts them in a bucket
// while the server that leads the stream goes away.
func TestClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	servers := natstest.Cluster(t, 3)
	var urls []string
	for _, srv := range servers {
		urls = append(urls, srv.URL())
	}
	q, err := Open(ConnConfig{URL: strings.Join(urls, ","), Options: []nats.Option{nats.ReconnectWait(20 * time.Millisecond)}}, Config{Replicas: 3, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	eventually(t, func() string {
		if err := q.Ensure(t.Context()); err != nil {
			return err.Error()
		}
		return ""
	})
	counts, err := OpenStore[int](q, "counts", StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const jobs = 300
	var done sync.Map
	var n atomic.Int32
	half := make(chan struct{})
	c := consume(t, q, ConsumerConfig{Workers: 8, Prefetch: 8, AckWait: 5 * time.Second}, func(ctx context.Context, d *Delivery) error {
		if _, err := counts.Upsert(ctx, "done."+d.ID, func(n *int) error { *n = 1; return nil }); err != nil {
			return err
		}
		if done.Store(d.ID, true); n.Add(1) == jobs/2 {
			close(half)
		}
		return nil
	})
	published := make(chan error, 1)
	go func() {
		var errs []error
		for i := range jobs {
			id := fmt.Sprint(i)
			job := Job{Subject: "xinghe.jobs.a." + id, ID: id, Unique: i%2 == 0}
			errs = append(errs, q.Publish(t.Context(), job))
		}
		published <- errors.Join(errs...)
	}()
	recv(t, half, "half of the jobs")
	leaderOf(t, q, servers).Stop()
	if err := recv(t, published, "publications"); err != nil {
		t.Errorf("Publish: %v", err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("log:\n%s", c.log)
		}
	}()
	eventually(t, func() string {
		missing := 0
		for i := range jobs {
			if _, ok := done.Load(fmt.Sprint(i)); !ok {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Sprintf("%d jobs missing", missing)
		}
		return ""
	})
	emptied(t, q, StreamJobs)
	c.stop(t)
	stored := 0
	for _, err := range counts.Keys(t.Context(), "done.*") {
		if err != nil {
			t.Fatal(err)
		}
		stored++
	}
	if stored != jobs {
		t.Errorf("%d of %d jobs counted", stored, jobs)
	}
	if dead := deadLetters(t, q); len(dead) > 0 {
		t.Errorf("dead letters: %+v", dead)
	}
	// What replicated streams answer differently.
	publish(t, q, Job{Subject: "xinghe.jobs.u", Unique: true})
	if err := q.Publish(t.Context(), Job{Subject: "xinghe.jobs.u", Unique: true}); !errors.Is(err, ErrExists) {
		t.Errorf("second unique job: %v", err)
	}
	if _, err := counts.Create(t.Context(), "done.0", 1); !errors.Is(err, ErrExists) {
		t.Errorf("second Create: %v", err)
	}
	if _, err := counts.Update(t.Context(), "done.0", 2, 1<<40); !errors.Is(err, ErrConflict) {
		t.Errorf("Update of another revision: %v", err)
	}
}

func leaderOf(t *testing.T, q *Queue, servers []*natstest.Server) *natstest.Server {
	t.Helper()
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var stream jetstream.Stream
	eventually(t, func() string {
		if stream, err = js.Stream(t.Context(), StreamJobs); err != nil {
			return err.Error()
		}
		return ""
	})
	name := stream.CachedInfo().Cluster.Leader
	for _, srv := range servers {
		if srv.Name() == name {
			return srv
		}
	}
	t.Fatalf("no server is called %q", name)
	return nil
}
