package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"xinghe/shared/events"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

func open(tb testing.TB, cfg queue.ConnConfig) *queue.Queue {
	tb.Helper()
	cfg.Options = append(cfg.Options, nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	q, err := queue.Open(cfg, queue.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(q.Close)
	return q
}

// ensured returns a queue on the server with its streams in place.
func ensured(tb testing.TB, srv *natstest.Server) *queue.Queue {
	tb.Helper()
	q := open(tb, queue.ConnConfig{Options: srv.Options()})
	if err := q.Ensure(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return q
}

// receive takes events until n have come.
func receive(t *testing.T, q *queue.Queue, n int) []jobs.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var list []jobs.Event
	cfg := queue.ConsumerConfig{Name: "listener", Subjects: []string{jobs.SubjectChatEvents}}
	err := q.Consume(ctx, cfg, func(_ context.Context, d *queue.Delivery) error {
		var event jobs.Event
		if err := json.Unmarshal(d.Data, &event); err != nil || event.ID != d.ID {
			t.Errorf("event %s: %v", d.ID, err)
		}
		if list = append(list, event); len(list) == n {
			cancel()
		}
		return nil
	})
	if err != nil || len(list) != n {
		t.Fatalf("%d events, want %d: %v", len(list), n, err)
	}
	return list
}

func TestEventsReachJetStream(t *testing.T) {
	t.Parallel()
	q := ensured(t, natstest.New(t))
	p, log := start(t, events.Config{Queue: q, Timeout: 10 * time.Second})
	for range 3 {
		p.Publish(t.Context(), jobs.EventChatCompleted, "evt_same", "character:c1", &jobs.ChatEvent{Bot: "character:c1", UserID: "中文 *>."})
	}
	flush(t, p)
	p.Publish(t.Context(), jobs.EventChatFailed, "", "character:c1", &jobs.ChatEvent{Error: &jobs.ChatError{Code: "upstream_truncated"}})
	flush(t, p)
	got := receive(t, q, 2)
	var kinds []string
	for _, event := range got {
		kinds = append(kinds, event.Type)
	}
	if diff := cmp.Diff([]string{"xinghe.chat.completed", "xinghe.chat.failed"}, kinds); diff != "" {
		t.Error(diff)
	}
	var data jobs.ChatEvent
	if err := json.Unmarshal(got[0].Data, &data); err != nil || data.UserID != "中文 *>." {
		t.Errorf("%+v, %v", data, err)
	}
	if stats := p.Stats(); stats.Published != 4 || len(log.losses(t)) > 0 {
		t.Errorf("%+v, %v", stats, log.losses(t))
	}
}

// Nobody listens; somebody listens but says nothing.
func TestWithoutNATS(t *testing.T) {
	t.Parallel()
	listen := func(t *testing.T) net.Listener {
		t.Helper()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		return listener
	}
	for _, name := range []string{"closed port", "silent server"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener := listen(t)
			if name == "closed port" {
				_ = listener.Close()
			}
			q := open(t, queue.ConnConfig{URL: "nats://user:canary@" + listener.Addr().String(), Timeout: 300 * time.Millisecond})
			p, log := start(t, events.Config{Queue: q, Drain: 100 * time.Millisecond})
			for range 5000 {
				p.Publish(t.Context(), jobs.EventChatCompleted, "", "character:c1", &jobs.ChatEvent{})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Flush: %v", err)
			}
			p.Close()
			stats := p.Stats()
			if stats.Published > 0 || stats.Dropped+stats.Failed != 5000 || stats.Waiting > 0 {
				t.Errorf("%+v", stats)
			}
			if lines := log.losses(t); len(lines) == 0 || len(lines) > 6 {
				t.Errorf("%d lines in the log", len(lines))
			}
			if bytes, _ := json.Marshal(log.losses(t)); len(bytes) > 4000 || strings.Contains(string(bytes), "canary") {
				t.Errorf("log: %s", bytes)
			}
		})
	}
}

func TestComesBackWithNATS(t *testing.T) {
	t.Parallel()
	srv := natstest.New(t)
	q := ensured(t, srv)
	p, _ := start(t, events.Config{Queue: q, Timeout: 50 * time.Millisecond})
	srv.Stop()
	p.Publish(t.Context(), jobs.EventChatCompleted, "", "away", &jobs.ChatEvent{})
	flush(t, p)
	if stats := p.Stats(); stats.Failed != 1 {
		t.Fatalf("%+v", stats)
	}
	srv.Start()
	deadline := time.Now().Add(20 * time.Second)
	for p.Stats().Published == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("NATS is back, but nothing comes: %+v", p.Stats())
		}
		p.Publish(t.Context(), jobs.EventChatCompleted, "", "back", &jobs.ChatEvent{})
		flush(t, p)
	}
	for _, event := range receive(t, q, 1) {
		if event.Subject != "back" {
			t.Errorf("subject %q", event.Subject)
		}
	}
}

// What the caller pays, the event itself included, when there is room and when there is
// none. The queue does nothing while the clock runs.
func BenchmarkPublish(b *testing.B) {
	event := jobs.ChatEvent{Bot: "character:c1", UserID: "1234567", RequestID: "req_1", MessageID: "m1", DurMs: 840}
	bench := func(b *testing.B, room int) {
		b.Helper()
		var gate gate
		p, err := events.New(events.Config{Queue: &gate, Source: "/xinghe/chat", Buffer: room, Timeout: time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		gate.Lock()
		defer gate.Unlock()
		b.ReportAllocs()
		for n := 1; b.Loop(); n++ {
			one := event
			p.Publish(b.Context(), jobs.EventChatCompleted, "", one.Bot, &one)
			if room > 1 && n%room == 0 {
				b.StopTimer()
				gate.Unlock()
				_ = p.Flush(b.Context())
				gate.Lock()
				b.StartTimer()
			}
		}
		b.StopTimer()
		b.ReportMetric(float64(p.Stats().Dropped)/float64(b.N), "dropped/op")
	}
	b.Run("room", func(b *testing.B) { bench(b, 10_000) })
	b.Run("full", func(b *testing.B) { bench(b, 1) })
}

// gate is a queue that waits while it is locked.
type gate struct{ sync.Mutex }

func (g *gate) PublishEvent(context.Context, string, string, []byte) error {
	g.Lock()
	defer g.Unlock()
	return nil
}

// How many events a second one publisher brings into JetStream.
func BenchmarkThroughput(b *testing.B) {
	q := ensured(b, natstest.New(b))
	p, err := events.New(events.Config{Queue: q, Source: "/xinghe/chat", Timeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	event := &jobs.ChatEvent{Bot: "character:c1", UserID: "1234567", RequestID: "req_1", MessageID: "m1", DurMs: 840}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		p.Publish(b.Context(), jobs.EventChatCompleted, "", event.Bot, event)
		if n++; n%512 == 0 {
			_ = p.Flush(b.Context())
		}
	}
	_ = p.Flush(b.Context())
	if stats := p.Stats(); stats.Dropped+stats.Failed > 0 {
		b.Errorf("%+v", stats)
	}
}

func Example() {
	srv, stop := natstest.Example()
	defer stop()
	q, err := queue.Open(queue.ConnConfig{Options: srv.Options()}, queue.Config{})
	if err != nil {
		panic(err)
	}
	defer q.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := q.Ensure(ctx); err != nil { // a worker does this
		panic(err)
	}

	publisher, err := events.New(events.Config{
		Queue: q, Source: "/xinghe/chat",
		Timeout: 10 * time.Second, // the default of 200ms is too short for the slowest of test machines
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer publisher.Close()

	// When the answer has gone out:
	event := &jobs.ChatEvent{Bot: jobs.Bot(jobs.BotBeebot, "chatbot-cn-local"), UserID: "u1", MessageID: "m1"}
	publisher.Publish(context.Background(), jobs.EventChatCompleted, "", event.Bot, event)

	// And before a serverless instance is frozen:
	if err := publisher.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(publisher.Stats().Published)
	// Output: 1
}
