package directory_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	reader "xinghe/shared/directory"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
	"xinghe/workers/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

const (
	bot      = "character:c39797a35ad243f1a85baaa6e1ec37e0"
	patience = 20 * time.Second
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

type bundle struct {
	testing.TB
	srv   *natstest.Server
	queue *queue.Queue
	js    jetstream.JetStream
	log   bytes.Buffer // of the worker; read it when that has stopped
	sent  int
}

func setup(tb testing.TB) *bundle {
	tb.Helper()
	b := &bundle{TB: tb, srv: natstest.New(tb)}
	nc, err := queue.Connect(queue.ConnConfig{Options: b.srv.Options()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	if b.js, err = jetstream.New(nc); err != nil {
		tb.Fatal(err)
	}
	if b.queue, err = queue.New(b.js, queue.Config{}); err != nil {
		tb.Fatal(err)
	}
	if err := b.queue.Ensure(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return b
}

// work runs a worker until stop is called, which waits for it.
func (b *bundle) work(cfg directory.Config) (stop func()) {
	b.Helper()
	cfg.Queue = b.queue
	worker, err := directory.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(zerolog.New(zerolog.SyncWriter(&b.log)).WithContext(b.Context()))
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, worker.Close()); err != nil {
			b.Errorf("worker: %v", err)
		}
	})
	b.Cleanup(stop)
	return stop
}

func (b *bundle) publish(kind string, at time.Time, data any) {
	b.Helper()
	b.sent++
	id := fmt.Sprintf("evt_%d", b.sent)
	event, err := jobs.NewEvent(kind, id, "/xinghe/chat", "", at, data)
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(event)
	if err != nil {
		b.Fatal(err)
	}
	if err := b.queue.PublishEvent(b.Context(), jobs.EventPrefix+kind, id, text); err != nil {
		b.Fatal(err)
	}
}

func (b *bundle) chat(bot, user string, at time.Time) {
	b.Helper()
	b.publish(jobs.EventChatCompleted, at, jobs.ChatEvent{Bot: bot, UserID: user, MessageID: "m"})
}

// settled waits until the worker has acknowledged the last chat event.
func (b *bundle) settled() {
	b.Helper()
	deadline := time.Now().Add(patience)
	for {
		done, last, err := b.progress()
		if err == nil && done >= last {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("after %s at %d of %d: %v", patience, done, last, err)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (b *bundle) progress() (done, last uint64, err error) {
	stream, err := b.js.Stream(b.Context(), queue.StreamEvents)
	if err != nil {
		return 0, 0, err
	}
	event, err := stream.GetLastMsgForSubject(b.Context(), jobs.SubjectChatEvents)
	if err != nil {
		return 0, 0, err
	}
	consumer, err := stream.Consumer(b.Context(), "directory")
	if err != nil {
		return 0, event.Sequence, err
	}
	return consumer.CachedInfo().AckFloor.Stream, event.Sequence, nil
}

// users lists a bot's users by their ids.
func (b *bundle) users(bot string) []jobs.DirectoryEntry {
	b.Helper()
	dir, err := reader.Open(b.queue)
	if err != nil {
		b.Fatal(err)
	}
	var list []jobs.DirectoryEntry
	for entry, err := range dir.Users(b.Context(), bot) {
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, entry)
	}
	slices.SortFunc(list, func(a, z jobs.DirectoryEntry) int { return strings.Compare(a.UserID, z.UserID) })
	return list
}

// writes is how often the directory has been written to.
func (b *bundle) writes() uint64 {
	b.Helper()
	stream, err := b.js.Stream(b.Context(), "KV_"+jobs.BucketDirectory)
	if err != nil {
		b.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

func entry(bot, user string, first, last time.Time) jobs.DirectoryEntry {
	return jobs.DirectoryEntry{Bot: bot, UserID: user, FirstSeen: first, LastSeen: last}
}

func TestPairsAppearOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.work(directory.Config{})
	b.work(directory.Config{}) // another process
	var want []jobs.DirectoryEntry
	for i := range 300 {
		b.chat(bot, fmt.Sprintf("user-%02d", i%10), noon)
		b.chat("beebot:chatbot-cn-local", "user-00", noon)
		if i < 10 {
			want = append(want, entry(bot, fmt.Sprintf("user-%02d", i), noon, noon))
		}
	}
	b.settled()
	if diff := cmp.Diff(want, b.users(bot)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]jobs.DirectoryEntry{entry("beebot:chatbot-cn-local", "user-00", noon, noon)}, b.users("beebot:chatbot-cn-local")); diff != "" {
		t.Error(diff)
	}
	if n := b.writes(); n != 11 {
		t.Errorf("%d writes for 11 pairs", n)
	}
}

func TestOddUserIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.work(directory.Config{})
	ids := []string{
		"中文用户", "two words", " ", "a.b.c", ".", "*", ">", "a*b>c", "😀👨‍👩‍👧", strings.Repeat("u", 256), strings.Repeat("星", 85),
		"../../etc", "$KV.x", "_kv", "-", "\t\n\r\x00", `"quoted"\`, "<&>", "=", "a/b", "Ünïcödé", "null",
	}
	slices.Sort(ids)
	for _, bot := range []string{bot, "character:名字.带点 *"} {
		var want []jobs.DirectoryEntry
		for _, id := range ids {
			b.chat(bot, id, noon)
			b.chat(bot, id, noon)
			want = append(want, entry(bot, id, noon, noon))
		}
		b.settled()
		if diff := cmp.Diff(want, b.users(bot)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLastSeenIsWrittenOnceAnHour(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := noon.Add(24 * time.Hour)
	cfg := directory.Config{Now: func() time.Time { return now }}
	stop := b.work(cfg)
	for _, step := range []struct {
		name        string
		restart     bool
		at          time.Duration // after noon
		first, last time.Duration
		writes      uint64
	}{
		{"the first", false, 0, 0, 0, 1},
		{"within the hour", false, 59 * time.Minute, 0, 0, 1},
		{"an hour later", false, time.Hour, 0, time.Hour, 2},
		{"within the next hour", false, 119 * time.Minute, 0, time.Hour, 2},
		{"after a restart", true, 119 * time.Minute, 0, time.Hour, 2},
		{"hours later", false, 5 * time.Hour, 0, 5 * time.Hour, 3},
		{"one that was late", false, 3 * time.Hour, 0, 5 * time.Hour, 3},
		{"one from before all others", false, -time.Hour, -time.Hour, 5 * time.Hour, 4},
		{"a clock that is ahead", false, 100 * time.Hour, -time.Hour, 24 * time.Hour, 5},
	} {
		if step.restart {
			stop()
			stop = b.work(cfg)
		}
		b.chat(bot, "u", noon.Add(step.at))
		b.settled()
		want := []jobs.DirectoryEntry{entry(bot, "u", noon.Add(step.first), noon.Add(step.last))}
		if diff := cmp.Diff(want, b.users(bot)); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
		if n := b.writes(); n != step.writes {
			t.Errorf("%s: %d writes, want %d", step.name, n, step.writes)
		}
	}
}

func TestWhoIsLeftOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := b.work(directory.Config{})
	chat := func(change func(*jobs.ChatEvent)) jobs.ChatEvent {
		e := jobs.ChatEvent{Bot: bot, UserID: "nobody", MessageID: "m"}
		change(&e)
		return e
	}
	b.publish(jobs.EventChatCompleted, noon, chat(func(e *jobs.ChatEvent) { e.Anonymous = true }))
	b.publish(jobs.EventChatCompleted, noon, chat(func(e *jobs.ChatEvent) { e.UserID = "" }))
	b.publish(jobs.EventChatCompleted, noon, chat(func(e *jobs.ChatEvent) { e.UserID = strings.Repeat("u", 257) }))
	b.publish(jobs.EventChatCompleted, noon, chat(func(e *jobs.ChatEvent) { e.Bot = "c1" }))
	b.publish(jobs.EventChatFailed, noon, chat(func(e *jobs.ChatEvent) { e.MessageID = "" }))
	b.publish(jobs.EventChatCompleted, noon, "no chat at all")
	b.publish(jobs.EventExportDone, noon, chat(func(*jobs.ChatEvent) {}))
	b.publish(jobs.EventChatFailed, noon, chat(func(e *jobs.ChatEvent) { e.UserID = "cut off" }))
	b.publish(jobs.EventChatCompleted, noon, chat(func(e *jobs.ChatEvent) { e.UserID, e.MessageID = "no id", "" }))
	b.settled()
	stop()
	want := []jobs.DirectoryEntry{entry(bot, "cut off", noon, noon), entry(bot, "no id", noon, noon)}
	if diff := cmp.Diff(want, b.users(bot)); diff != "" {
		t.Error(diff)
	}
	if n := b.writes(); n != 2 {
		t.Errorf("%d writes", n)
	}
	if text := b.log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "not a chat event") || strings.Contains(text, "at all") {
		t.Errorf("log: %s", text)
	}
}

func TestEventsFromBeforeTheWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.chat(bot, "early", noon)
	stop := b.work(directory.Config{})
	b.settled()
	stop()
	b.chat(bot, "between", noon)
	b.work(directory.Config{})
	b.settled()
	want := []jobs.DirectoryEntry{entry(bot, "between", noon, noon), entry(bot, "early", noon, noon)}
	if diff := cmp.Diff(want, b.users(bot)); diff != "" {
		t.Error(diff)
	}
	if n := b.writes(); n != 2 {
		t.Errorf("%d writes", n)
	}
}

func TestGoesOnWhenNATSComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.work(directory.Config{})
	b.chat(bot, "before", noon)
	b.settled()
	b.srv.Stop()
	b.srv.Start()
	b.chat(bot, "after", noon)
	b.settled()
	want := []jobs.DirectoryEntry{entry(bot, "after", noon, noon), entry(bot, "before", noon, noon)}
	if diff := cmp.Diff(want, b.users(bot)); diff != "" {
		t.Error(diff)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	if _, err := directory.New(directory.Config{}); err == nil {
		t.Error("no queue, no error")
	}
}

// How many events a second one worker takes in, of pairs that it knows and of new ones.
func BenchmarkWorker(b *testing.B) {
	for name, users := range map[string]int{"known": 100, "new": 1 << 30} {
		b.Run(name, func(b *testing.B) {
			s := setup(b)
			for i := range b.N {
				s.chat(bot, fmt.Sprint(i%users), noon)
			}
			b.ResetTimer()
			stop := s.work(directory.Config{})
			s.settled()
			b.StopTimer()
			stop()
		})
	}
}
