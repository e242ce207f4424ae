package events_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/events"
	"xinghe/shared/jobs"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// store is a queue that keeps what it gets, each after the delay, if the context allows.
type store struct {
	mu     sync.Mutex
	delay  time.Duration
	err    error
	events []jobs.Event
	most   int // how many were under way at once
	now    int
}

func (s *store) set(delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.err = delay, err
}

func (s *store) PublishEvent(ctx context.Context, subject, id string, data []byte) error {
	s.mu.Lock()
	delay, err := s.delay, s.err
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("not confirmed: %w", ctx.Err())
		}
	}
	if err != nil {
		return err
	}
	var event jobs.Event
	if err := json.Unmarshal(data, &event); err != nil {
		return err
	}
	if subject != strings.Replace(event.Type, "xinghe.", jobs.EventPrefix, 1) || event.ID != id {
		return fmt.Errorf("event %s %s under %s %s", event.Type, event.ID, subject, id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
	return nil
}

func (s *store) subjects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, event := range s.events {
		list = append(list, event.Subject)
	}
	return list
}

// journal holds what was logged.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

type loss struct {
	Message         string
	Error           string
	Dropped, Failed uint64
}

func (j *journal) losses(t *testing.T) []loss {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []loss
	for line := range strings.Lines(j.buf.String()) {
		var l loss
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

func start(t *testing.T, cfg events.Config) (*events.Publisher, *journal) {
	t.Helper()
	log := &journal{}
	cfg.Source, cfg.Logger = "/xinghe/chat", zerolog.New(log)
	p, err := events.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, log
}

func flush(t *testing.T, p *events.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestPublishMakesCloudEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		p, log := start(t, events.Config{Queue: s})
		at := time.Now().UTC()
		p.Publish(t.Context(), jobs.EventChatCompleted, "evt_1", "character:c1", &jobs.ChatEvent{Bot: "character:c1", UserID: "星"})
		flush(t, p)
		want := []jobs.Event{{
			SpecVersion: "1.0", ID: "evt_1", Source: "/xinghe/chat", Type: "xinghe.chat.completed", Subject: "character:c1", Time: at,
			DataContentType: "application/json",
			Data:            json.RawMessage(`{"bot":"character:c1","userId":"星","requestId":"","messageId":"","durMs":0,"usage":{"inputTokens":0,"outputTokens":0}}`),
		}}
		if diff := cmp.Diff(want, s.events); diff != "" {
			t.Error(diff)
		}
		if got := p.Stats(); got != (events.Stats{Published: 1}) || len(log.losses(t)) > 0 {
			t.Errorf("%+v, %v", got, log.losses(t))
		}
	})
}

func TestTimeIsThatOfTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{delay: 100 * time.Millisecond}
		p, _ := start(t, events.Config{Queue: s})
		at := time.Now()
		for range 2 {
			p.Publish(t.Context(), jobs.EventChatFailed, "", "", nil)
		}
		flush(t, p)
		for _, event := range s.events {
			if !event.Time.Equal(at) || !strings.HasPrefix(event.ID, "evt_") {
				t.Errorf("id %s, time %s, want %s", event.ID, event.Time, at)
			}
		}
		if len(s.events) != 2 || s.events[0].ID == s.events[1].ID {
			t.Errorf("fresh ids: %+v", s.events)
		}
	})
}

func TestStalledQueueHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{delay: time.Hour}
		p, log := start(t, events.Config{Queue: s, Buffer: 8})
		began := time.Now()
		p.Publish(t.Context(), jobs.EventChatCompleted, "", "0", nil)
		synctest.Wait() // the first is under way
		for i := range 100 {
			p.Publish(t.Context(), jobs.EventChatCompleted, "", fmt.Sprint(i+1), nil)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("Publish took %s", waited)
		}
		if got := p.Stats(); got != (events.Stats{Dropped: 92, Waiting: 8}) {
			t.Errorf("%+v", got)
		}
		// One by one, 200ms each: there is nothing to be gained by losing more at once.
		time.Sleep(1810 * time.Millisecond) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := p.Stats(); got != (events.Stats{Dropped: 92, Failed: 9}) {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
		want := []loss{
			{Message: "events lost", Error: "not confirmed: context deadline exceeded", Dropped: 92, Failed: 1}, // after 200ms
			{Message: "events lost", Error: "not confirmed: context deadline exceeded", Failed: 5},              // after 1.2s
			{Message: "events lost", Error: "not confirmed: context deadline exceeded", Failed: 3},              // after 2.2s
		}
		if diff := cmp.Diff(want, log.losses(t)); diff != "" {
			t.Error(diff)
		}
		if s.most > 1 {
			t.Errorf("%d under way at once", s.most)
		}
	})
}

func TestComesBackAfterFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{err: errors.New("no such stream")}
		p, _ := start(t, events.Config{Queue: s})
		p.Publish(t.Context(), jobs.EventChatCompleted, "", "lost", nil)
		flush(t, p)
		s.set(50*time.Millisecond, nil)
		began := time.Now()
		for range 200 {
			p.Publish(t.Context(), jobs.EventChatCompleted, "", "kept", nil)
		}
		flush(t, p)
		if got := p.Stats(); got != (events.Stats{Published: 200, Failed: 1}) {
			t.Errorf("%+v", got)
		}
		// 1, 2, 4, 8, 16, 32 and so on at once.
		if took := time.Since(began); took != 11*50*time.Millisecond || s.most != 32 {
			t.Errorf("took %s with %d at once", took, s.most)
		}
	})
}

func TestEventThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		p, log := start(t, events.Config{Queue: s})
		p.Publish(t.Context(), jobs.EventChatCompleted, "", "", func() {})
		p.Publish(t.Context(), jobs.EventChatCompleted, "", "kept", nil)
		flush(t, p)
		if diff := cmp.Diff([]string{"kept"}, s.subjects()); diff != "" {
			t.Error(diff)
		}
		if losses := log.losses(t); len(losses) != 1 || !strings.Contains(losses[0].Error, "chat.completed") {
			t.Errorf("%+v", losses)
		}
	})
}

func TestFlush(t *testing.T) {
	t.Parallel()
	t.Run("WaitsForWhatWasPublishedBefore", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &store{delay: 100 * time.Millisecond}
			p, _ := start(t, events.Config{Queue: s})
			p.Publish(t.Context(), jobs.EventChatCompleted, "", "before", nil)
			done := make(chan error, 1)
			began := time.Now()
			go func() { done <- p.Flush(t.Context()) }()
			synctest.Wait()
			p.Publish(t.Context(), jobs.EventChatCompleted, "", "after", nil)
			if err := <-done; err != nil || time.Since(began) != 100*time.Millisecond {
				t.Errorf("%v after %s", err, time.Since(began))
			}
			if diff := cmp.Diff([]string{"before"}, s.subjects()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("EndsWithItsContext", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &store{delay: time.Hour}
			p, _ := start(t, events.Config{Queue: s, Buffer: 1, Timeout: 5 * time.Second})
			p.Publish(t.Context(), jobs.EventChatCompleted, "", "", nil)
			synctest.Wait()
			// The first mark still finds room, the second one does not.
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				began := time.Now()
				if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 200*time.Millisecond {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			}
			s.set(0, nil)
			flush(t, p)
		})
	})
	t.Run("OfNothing", func(t *testing.T) {
		t.Parallel()
		p, _ := start(t, events.Config{Queue: &store{}})
		flush(t, p)
		p.Close()
		flush(t, p)
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	t.Run("PublishesWhatWaits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &store{delay: 10 * time.Millisecond}
			p, log := start(t, events.Config{Queue: s})
			for range 100 {
				p.Publish(t.Context(), jobs.EventChatCompleted, "", "", nil)
			}
			p.Close()
			p.Close()
			if got := p.Stats(); got != (events.Stats{Published: 100}) {
				t.Errorf("%+v, %v", got, log.losses(t))
			}
			p.Publish(t.Context(), jobs.EventChatCompleted, "", "", nil)
			if got := p.Stats(); got != (events.Stats{Published: 100, Dropped: 1}) {
				t.Errorf("after Close: %+v", got)
			}
		})
	})
	t.Run("GivesUpInTime", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			p, log := start(t, events.Config{Queue: &store{delay: time.Hour}, Drain: 500 * time.Millisecond})
			for range 100 {
				p.Publish(t.Context(), jobs.EventChatCompleted, "", "", nil)
			}
			began := time.Now()
			var group sync.WaitGroup
			for range 3 {
				group.Go(p.Close)
			}
			group.Wait()
			if took := time.Since(began); took != 500*time.Millisecond {
				t.Errorf("Close took %s", took)
			}
			var failed uint64
			for _, l := range log.losses(t) {
				failed += l.Failed
			}
			if got := p.Stats(); got != (events.Stats{Failed: 100}) || failed != 100 {
				t.Errorf("%+v, told of %d", got, failed)
			}
		})
	})
}

func TestNilPublisher(t *testing.T) {
	t.Parallel()
	var p *events.Publisher
	p.Publish(t.Context(), jobs.EventChatCompleted, "", "", nil)
	flush(t, p)
	if got := p.Stats(); got != (events.Stats{}) {
		t.Errorf("%+v", got)
	}
	p.Close()
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	for _, cfg := range []events.Config{
		{},
		{Queue: &store{}},
		{Source: "/xinghe/chat"},
		{Queue: &store{}, Source: "/xinghe/chat", Buffer: -1},
		{Queue: &store{}, Source: "/xinghe/chat", Timeout: -1},
		{Queue: &store{}, Source: "/xinghe/chat", Drain: -1},
	} {
		if _, err := events.New(cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := &store{}
	p, _ := start(t, events.Config{Queue: s, Buffer: 10_000, Timeout: 20 * time.Second})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 500 {
				p.Publish(t.Context(), jobs.EventChatCompleted, "", "", &jobs.ChatEvent{})
				if i%100 == 0 {
					flush(t, p)
				}
			}
		})
	}
	group.Wait()
	flush(t, p)
	if got := p.Stats(); got != (events.Stats{Published: 4000}) {
		t.Errorf("%+v", got)
	}
}

// The caller's side allocates nothing but what it makes itself.
func TestPublishDoesNotAllocate(t *testing.T) {
	s := &store{delay: time.Hour}
	p, _ := start(t, events.Config{Queue: s, Buffer: 10_000, Timeout: time.Minute, Drain: time.Nanosecond})
	event := &jobs.ChatEvent{Bot: "character:c1"}
	if allocs := testing.AllocsPerRun(1000, func() { p.Publish(t.Context(), jobs.EventChatCompleted, "", event.Bot, event) }); allocs > 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

// A process that is frozen while an event is on its way finds the time over when it thaws.
func TestAFrozenEventIsSentOnceMore(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pause time.Duration
		sent  int
	}{"frozen": {time.Hour, 2}, "not frozen": {time.Millisecond, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &frozen{pause: tc.pause}
			p, log := start(t, events.Config{Queue: f, Now: f.now})
			p.Publish(t.Context(), jobs.EventChatCompleted, "", "one", &jobs.ChatEvent{})
			flush(t, p)
			stats := p.Stats()
			if lost := tc.sent == 1; len(f.ids) != tc.sent || stats.Published == 0 != lost || stats.Failed == 1 != lost {
				t.Errorf("ids %v, %+v, %v", f.ids, stats, log.losses(t))
			}
			if tc.sent == 2 && f.ids[0] != f.ids[1] {
				t.Errorf("the repetition has another id: %v", f.ids)
			}
		})
	}
}

// frozen is a queue whose first event takes longer than it may.
type frozen struct {
	mu    sync.Mutex
	pause time.Duration
	time  time.Time
	ids   []string
}

func (f *frozen) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.time
}

func (f *frozen) PublishEvent(ctx context.Context, _, id string, _ []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.time = f.time.Add(f.pause)
	if f.ids = append(f.ids, id); len(f.ids) > 1 {
		return ctx.Err()
	}
	return context.DeadlineExceeded
}
