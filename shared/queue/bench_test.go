package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	benchWorkers  = 64
	benchPrefetch = 2000
	benchRounds   = 5
)

// BenchmarkNoop does b.N jobs that do nothing, once with the plain client and once through
// Consume, on the same kind of stream, with the same acknowledgement and as many in flight,
// for both kinds of acknowledgement. It reports the medians of some rounds: jobs a second,
// and the share of the plain client's speed that Consume reaches, each round compared in
// itself, as machines are not always equally busy.
//
//	go test -run - -bench Noop -benchtime 100000x ./shared/queue
func BenchmarkNoop(b *testing.B) {
	for _, mode := range []struct {
		name string
		ack  AckMode
	}{{"Ack", AckUnconfirmed}, {"DoubleAck", AckConfirmed}} {
		b.Run(mode.name, func(b *testing.B) {
			plain := func() float64 {
				return benchTime(b, func(q *Queue, done func()) func() { return plainConsume(b, q, mode.ack, done) })
			}
			ours := func() float64 {
				return benchTime(b, func(q *Queue, done func()) func() {
					c := consume(b, q, ConsumerConfig{Workers: benchWorkers, Prefetch: benchPrefetch, Ack: mode.ack},
						func(context.Context, *Delivery) error { done(); return nil })
					return func() { c.stop(b) }
				})
			}
			var limits, reached, ratios []float64
			for round := range benchRounds {
				var limit, speed float64
				if round%2 == 0 {
					limit, speed = plain(), ours()
				} else {
					speed, limit = ours(), plain()
				}
				limits, reached, ratios = append(limits, limit), append(reached, speed), append(ratios, speed/limit)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(limits), "plain-jobs/s")
			b.ReportMetric(median(reached), "jobs/s")
			b.ReportMetric(median(ratios), "ratio")
		})
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// benchTime returns the jobs a second from the start of a consumer to the end of the last
// job, on a server of its own.
func benchTime(b *testing.B, start func(q *Queue, done func()) (stop func())) float64 {
	b.Helper()
	_, q := setup(b)
	jobs := make([]Job, b.N)
	for i := range jobs {
		jobs[i] = Job{Subject: "xinghe.jobs.noop", Data: fmt.Appendf(nil, "%0256d", i)}
	}
	if err := q.PublishAll(b.Context(), jobs); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	finished := make(chan struct{})
	began := time.Now()
	stop := start(q, func() {
		if left.Add(-1) == 0 {
			close(finished)
		}
	})
	<-finished
	took := time.Since(began)
	emptied(b, q, StreamJobs)
	stop()
	return float64(b.N) / took.Seconds()
}

func plainConsume(b *testing.B, q *Queue, mode AckMode, done func()) func() {
	b.Helper()
	js, err := q.js(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	consumer, err := js.CreateOrUpdateConsumer(b.Context(), StreamJobs, jetstream.ConsumerConfig{
		Durable: "plain", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxAckPending: 20_000,
	})
	if err != nil {
		b.Fatal(err)
	}
	take := func(msg jetstream.Msg) {
		done()
		_ = msg.Ack()
	}
	work := make(chan jetstream.Msg, benchWorkers)
	var workers sync.WaitGroup
	if mode == AckConfirmed {
		take = func(msg jetstream.Msg) { work <- msg }
		for range benchWorkers {
			workers.Go(func() {
				for msg := range work {
					_ = msg.DoubleAck(b.Context())
					done()
				}
			})
		}
	}
	consuming, err := consumer.Consume(take, jetstream.PullMaxMessages(benchPrefetch))
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		consuming.Drain()
		<-consuming.Closed()
		close(work)
		workers.Wait()
	}
}
