package delivery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/webhook"
	"xinghe/testlocal/natstest"
	"xinghe/workers/delivery"
)

// targets of the benchmark, and requests under way at each.
const (
	benchTargets     = 4
	benchConcurrency = delivery.DefaultConcurrency
)

// BenchmarkDeliver delivers events to servers in the same process. Beside the deliveries a
// second it tells how many a loop makes that does nothing but sign and post, in the same run.
func BenchmarkDeliver(b *testing.B) {
	q, err := queue.New(natstest.New(b).JetStream(), queue.Config{Timeout: patience})
	if err != nil {
		b.Fatal(err)
	}
	if err := q.Ensure(b.Context()); err != nil {
		b.Fatal(err)
	}
	var received atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		received.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	events := max(b.N/benchTargets, 1)
	total := int64(events * benchTargets)

	cfg := benchConfig(b, server.URL)
	cfg.Queue = q
	work := func(until func() bool) {
		w, err := delivery.New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		for !until() {
			<-time.After(time.Millisecond)
		}
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
	body := publishMany(b, q, 0)
	work(func() bool { // makes the consumers
		publishMany(b, q, 1)
		return received.Load() >= 2*benchTargets
	})
	publishMany(b, q, events)
	received.Store(0)
	b.ResetTimer()
	b.ReportAllocs()
	start := time.Now()
	work(func() bool { return received.Load() >= total })
	ours := float64(total) / time.Since(start).Seconds()
	b.StopTimer()

	received.Store(0)
	start = time.Now()
	plain(b, server.URL, body, int(total))
	theirs := float64(total) / time.Since(start).Seconds()
	b.ReportMetric(ours, "deliveries/s")
	b.ReportMetric(theirs, "posts/s")
	b.ReportMetric(ours/theirs, "deliveries/post")
}

func benchConfig(b *testing.B, address string) delivery.Config {
	b.Helper()
	var subscriptions []string
	for i := range benchTargets {
		subscriptions = append(subscriptions, subscription(fmt.Sprintf("t%d", i), address, fmt.Sprintf(`"concurrency":%d`, benchConcurrency)))
	}
	vars := env.New(func(name string) string {
		return map[string]string{"XINGHE_WEBHOOKS": list(subscriptions...), "XINGHE_ALLOW_HOSTS": "127.0.0.1", "SECRET": secret}[name]
	})
	cfg := delivery.FromEnv(vars)
	if err := vars.Err(); err != nil {
		b.Fatal(err)
	}
	return cfg
}

var benchEvent atomic.Int64

// publishMany publishes events of about 600 bytes and returns the body of one.
func publishMany(b *testing.B, q *queue.Queue, count int) []byte {
	b.Helper()
	var body []byte
	var group sync.WaitGroup
	slots := make(chan struct{}, 64)
	for range max(count, 1) {
		id := fmt.Sprintf("e%d", benchEvent.Add(1))
		event, err := jobs.NewEvent("chat.completed", id, "/xinghe/bench", "character:c1", time.Now(), jobs.ChatEvent{
			Bot: "character:c1", UserID: "1234567", RequestID: "req_1", MessageID: "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7",
			SessionID: "s", UpstreamRequestID: "0f7b", Key: "ci", Surface: jobs.SurfaceXingchen, Stream: true, DurMs: 900,
		})
		if err != nil {
			b.Fatal(err)
		}
		if body, err = json.Marshal(event); err != nil {
			b.Fatal(err)
		}
		if count == 0 {
			break
		}
		data := body
		slots <- struct{}{}
		group.Go(func() {
			if err := q.PublishEvent(b.Context(), jobs.EventPrefix+"chat.completed", id, data); err != nil {
				b.Error(err)
			}
			<-slots
		})
	}
	group.Wait()
	return body
}

// plain signs and posts, as many at once as the worker does.
func plain(b *testing.B, address string, body []byte, count int) {
	b.Helper()
	secrets, err := webhook.ParseSecrets(sign.NewSecret(secret))
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchTargets * benchConcurrency}}
	defer client.CloseIdleConnections()
	var left atomic.Int64
	left.Store(int64(count))
	var group sync.WaitGroup
	for range benchTargets * benchConcurrency {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, address, bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				if err := secrets.Sign(req.Header, "e", time.Now(), body); err != nil {
					b.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	group.Wait()
}
