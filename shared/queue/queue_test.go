package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"xinghe/testlocal/natstest"
)

func TestEnsureTwiceAtOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var wg sync.WaitGroup
	for i := range 8 {
		// Half of them are of the next release, with another retention.
		q := b.queue(t, Config{EventRetention: time.Duration(i%2+1) * time.Hour})
		wg.Go(func() {
			if err := q.Ensure(t.Context()); err != nil {
				t.Errorf("Ensure: %v", err)
			}
		})
	}
	wg.Wait()
	q := b.queue(t, Config{})
	for _, stream := range []string{StreamJobs, StreamEvents, StreamDead, "KV_" + BucketAttempts} {
		messages(t, q, stream)
	}
}

func TestEnsureKeepsWhatOperatorsSet(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := func() jetstream.StreamConfig {
		t.Helper()
		stream, err := js.Stream(t.Context(), StreamEvents)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config
	}
	limited := config()
	limited.MaxBytes = 123456789
	if _, err := js.UpdateStream(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
	if err := b.queue(t, Config{EventRetention: time.Hour, AttemptRetention: time.Hour}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := config(); got.MaxBytes != limited.MaxBytes || got.MaxAge != time.Hour {
		t.Errorf("MaxBytes %d, MaxAge %s", got.MaxBytes, got.MaxAge)
	}
	kv, err := js.KeyValue(t.Context(), BucketAttempts)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := kv.Status(t.Context()); err != nil || status.TTL() != time.Hour {
		t.Errorf("attempts are kept for %s, %v", status.TTL(), err)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{Replicas: 7}, {EventRetention: -1}, {DeadRetention: time.Hour}, {Timeout: -time.Second}} {
		if _, err := Open(ConnConfig{}, cfg); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if _, err := New(nil, Config{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("New(nil): %v", err)
	}
}

func TestOpenConnectsWhenNeeded(t *testing.T) {
	t.Parallel()
	b, worker := setup(t)
	var dials sync.Map
	q, err := Open(ConnConfig{Options: []nats.Option{nats.InProcessServer(dialer(func() (net.Conn, error) {
		dials.Store(time.Now().UnixNano(), true)
		return b.InProcessConn()
	}))}}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	count := func() (n int) {
		dials.Range(func(any, any) bool { n++; return true })
		return n
	}
	if n := count(); n != 0 {
		t.Fatalf("Open dialled %d times", n)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { publish(t, q, Job{Subject: "xinghe.jobs.a"}) })
	}
	wg.Wait()
	if n := count(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if n := messages(t, worker, StreamJobs); n != 10 {
		t.Errorf("%d jobs, want 10", n)
	}
	q.Close()
	q.Close()
	if err := q.Publish(t.Context(), Job{Subject: "xinghe.jobs.a"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

type dialer func() (net.Conn, error)

func (d dialer) InProcessConn() (net.Conn, error) { return d() }

func TestOpenWithoutServer(t *testing.T) {
	t.Parallel()
	// A port that nobody listens on, and a password that must not be told.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	log := &journal{}
	q, err := Open(ConnConfig{URL: "nats://user:canary@" + address, Logger: zerolog.New(log)}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := q.PublishEvent(ctx, "xinghe.events.a", "1", nil)
		cancel()
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("PublishEvent: %v", err)
		}
		if text := fmt.Sprint(err, log); strings.Contains(text, "canary") {
			t.Errorf("password told: %s", text)
		}
	}
}

func TestConnectOverTCP(t *testing.T) {
	t.Parallel()
	srv := natstest.Listen(t, "user", "canary")
	url := func(password string) string {
		return strings.Replace(srv.URL(), "nats://", "nats://user:"+password+"@", 1)
	}
	q, err := Open(ConnConfig{URL: url("canary"), Name: "test"}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, q, Job{Subject: "xinghe.jobs.a"})

	wrong, err := Open(ConnConfig{URL: url("canary-wrong")}, Config{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if err := wrong.Publish(t.Context(), Job{Subject: "xinghe.jobs.a"}); !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "canary") {
		t.Errorf("wrong password: %v", err)
	}
}
