package usage_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	counts "xinghe/shared/usage"
	"xinghe/testlocal/natstest"
	"xinghe/workers/usage"
)

const patience = 30 * time.Second

// victim makes the test's program a worker, that another process can kill.
var victim = flag.String("victim", "", "count by the NATS server of this address, and test nothing")

func TestMain(m *testing.M) {
	flag.Parse()
	if *victim != "" {
		be(*victim)
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // they mostly wait, whatever the number of processors
		panic(err)
	}
	goleak.VerifyTestMain(m, natstest.Leaks()...)
}

// be counts until the process is killed.
func be(url string) {
	q, err := queue.Open(queue.ConnConfig{URL: url}, queue.Config{})
	if err != nil {
		panic(err)
	}
	w, err := usage.New(quick(q))
	if err != nil {
		panic(err)
	}
	_ = w.Run(context.Background())
	os.Exit(1)
}

func quick(q *queue.Queue) usage.Config {
	return usage.Config{Queue: q, Batch: 8, Pace: time.Millisecond, Wait: 20 * time.Millisecond, Lease: 100 * time.Millisecond}
}

type bundle struct {
	*testing.T
	srv   *natstest.Server
	queue *queue.Queue
	usage *counts.Usage
	want  map[counts.Row]counts.Counts
	sent  int
}

func setup(t *testing.T, srv *natstest.Server) *bundle {
	t.Helper()
	b := &bundle{T: t, srv: srv, want: map[counts.Row]counts.Counts{}}
	var err error
	if b.queue, err = queue.Open(queue.ConnConfig{Options: srv.Options()}, queue.Config{Timeout: patience}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.queue.Close)
	if b.usage, err = counts.Open(b.queue); err != nil {
		t.Fatal(err)
	}
	if err := b.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// work runs a worker until stop is called, which waits for it.
func (b *bundle) work(cfg usage.Config) (stop func()) {
	b.Helper()
	w, err := usage.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(zerolog.Nop().WithContext(b.Context()))
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, w.Close()); err != nil {
			b.Errorf("worker: %v", err)
		}
	})
	b.Cleanup(stop)
	return stop
}

// today is far enough from midnight for events not to come from the future.
func today() time.Time { return time.Now().Add(-time.Hour) }

// chats publishes so many chats of two keys, three bots and two days, one in five of which
// has failed, and events that are no chats of their own.
func (b *bundle) chats(n int) {
	b.Helper()
	for range n {
		i := b.sent
		b.sent++
		kind, at := jobs.EventChatCompleted, today().AddDate(0, 0, -(i%2))
		chat := jobs.ChatEvent{
			Bot: fmt.Sprint("character:", i%3), Key: fmt.Sprint("key", i%2), ThrottledMs: int64(i % 7),
			Usage: jobs.ChatUsage{InputTokens: int64(i), OutputTokens: int64(2 * i), Incomplete: i%4 == 0},
		}
		if i%5 == 0 {
			kind = jobs.EventChatFailed
		}
		b.publish(kind, at, chat)
		if i%6 == 0 {
			b.publish(jobs.EventAnswerMissing, at, chat)
		}
		b.expect(kind, at, chat)
	}
}

func (b *bundle) expect(kind string, at time.Time, chat jobs.ChatEvent) {
	row := counts.Row{Day: counts.Day(at), Key: chat.Key, Bot: chat.Bot}
	sum := counts.Sum([]counts.Row{{Counts: b.want[row]}, {Counts: counts.CountsOf(kind, chat)}}, counts.InAll)
	b.want[row] = sum[0].Counts
}

func (b *bundle) publish(kind string, at time.Time, data any) {
	b.Helper()
	event, err := jobs.NewEvent(kind, "", "/xinghe/chat", "", at, data)
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(event)
	if err != nil {
		b.Fatal(err)
	}
	b.publishRaw(kind, text)
}

func (b *bundle) publishRaw(kind string, text []byte) {
	b.Helper()
	if err := b.queue.PublishEvent(b.Context(), jobs.EventPrefix+kind, "", text); err != nil {
		b.Fatal(err)
	}
}

func (b *bundle) rows() map[counts.Row]counts.Counts {
	b.Helper()
	rows, err := b.usage.Read(b.Context(), counts.Day(today().AddDate(0, 0, -3)), counts.Day(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	got := map[counts.Row]counts.Counts{}
	for _, row := range rows {
		c := row.Counts
		row.Counts = counts.Counts{}
		got[row] = c
	}
	return got
}

func (b *bundle) counted() (requests int) {
	for _, c := range b.rows() {
		requests += int(c.Requests)
	}
	return requests
}

// until waits until so many chats are counted.
func (b *bundle) until(requests int) {
	b.Helper()
	for deadline := time.Now().Add(patience); b.counted() < requests; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d are counted after %s", b.counted(), requests, patience)
		}
	}
}

// settled waits until all that is published has been passed, and compares.
func (b *bundle) settled() {
	b.Helper()
	js, err := jetstream.New(b.srv.Connect())
	if err != nil {
		b.Fatal(err)
	}
	stream, err := js.Stream(b.Context(), queue.StreamEvents)
	if err != nil {
		b.Fatal(err)
	}
	last, err := stream.GetLastMsgForSubject(b.Context(), jobs.SubjectChatEvents)
	if err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		reader, _, err := b.usage.Reader(b.Context())
		if err == nil && reader.Position.Sequence == last.Sequence && reader.Position.Stream.Equal(stream.CachedInfo().Created) {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("after %s at %+v of %d, %v", patience, reader, last.Sequence, err)
		}
	}
	if diff := cmp.Diff(b.want, b.rows()); diff != "" {
		b.Errorf("counts (-want +got):\n%s", diff)
	}
}

// Processes that count are killed again and again in the midst of it.
func TestKilledInTheMiddleNothingIsLostOrDouble(t *testing.T) {
	t.Parallel()
	b := setup(t, natstest.Listen(t, "", ""))
	b.chats(200)
	for kills := 1; kills <= 4; kills++ {
		before := b.counted()
		process := exec.Command(os.Args[0], "-victim", b.srv.URL())
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		b.until(before + 1) // the first row of a batch
		if err := process.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = process.Wait()
		b.chats(10)
	}
	if at := b.counted(); at == 0 || at >= b.sent {
		t.Errorf("%d of %d were counted before the last worker was killed: not in the middle", at, b.sent)
	}
	b.work(quick(b.queue))
	b.settled()
}

func TestOneCountsAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	b := setup(t, natstest.New(t))
	cfg := quick(b.queue)
	cfg.Lease = time.Hour // what does not leave is not followed
	first, second := b.work(cfg), b.work(cfg)
	b.chats(30)
	b.settled()
	reader, _, err := b.usage.Reader(t.Context())
	if err != nil || reader.Owner == "" {
		t.Fatalf("%+v, %v", reader, err)
	}
	first()
	second()
	if reader, _, err = b.usage.Reader(t.Context()); err != nil || reader.Owner != "" {
		t.Fatalf("nobody has left: %+v, %v", reader, err)
	}
	b.chats(30)
	b.work(cfg)
	b.settled()
}

func TestSeveralAtOnceCountOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, natstest.New(t))
	cfg := quick(b.queue)
	cfg.Lease = 1 // has always ended
	b.work(cfg)
	b.work(cfg)
	b.chats(60)
	b.settled()
}

func TestGoesOnAfterNATSWasAway(t *testing.T) {
	t.Parallel()
	b := setup(t, natstest.New(t))
	b.work(quick(b.queue))
	b.chats(20)
	b.until(1)
	b.srv.Stop()
	b.srv.Start()
	b.chats(20)
	b.settled()
}

func TestBeginsAnewWithAnotherStream(t *testing.T) {
	t.Parallel()
	b := setup(t, natstest.New(t))
	b.work(quick(b.queue))
	b.chats(20)
	b.settled()
	js, err := jetstream.New(b.srv.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), queue.StreamEvents); err != nil {
		t.Fatal(err)
	}
	if err := b.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.chats(5) // fewer than before
	b.settled()
}

func TestEventsThatAreOdd(t *testing.T) {
	t.Parallel()
	b := setup(t, natstest.New(t))
	b.publishRaw(jobs.EventChatCompleted, []byte("?"))
	b.publishRaw("chat.unheard", []byte("{}"))
	chat := jobs.ChatEvent{Bot: "beebot:b"}
	b.publishRaw(jobs.EventChatCompleted, []byte(`{"data":{"bot":"beebot:b"}}`)) // no time
	b.publish(jobs.EventChatCompleted, time.Now().AddDate(1, 0, 0), chat)        // a clock that is ahead
	history, err := b.queue.ReadEvents(t.Context(), jobs.SubjectChatEvents, 2, 2, patience)
	if err != nil || len(history.Events) != 2 {
		t.Fatalf("%+v, %v", history, err)
	}
	for _, event := range history.Events {
		b.expect(jobs.EventChatCompleted, event.Published, chat)
	}
	b.work(quick(b.queue))
	b.chats(1)
	b.settled()
}

func TestNewChecksItsConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []usage.Config{{}, {Queue: new(queue.Queue), Batch: -1}, {Queue: new(queue.Queue), Wait: -1}, {Queue: new(queue.Queue), Pace: -1}} {
		if _, err := usage.New(cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}
