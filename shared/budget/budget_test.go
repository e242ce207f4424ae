package budget

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNoLimit(t *testing.T) {
	t.Parallel()
	var none *Budget
	for name, b := range map[string]*Budget{"Nil": none, "RateZero": newBudget(t, Config{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.Penalize(time.Hour)
			b.Run(t.Context())
			for range 1000 {
				if waited, err := b.Wait(t.Context(), Bulk); waited != 0 || err != nil {
					t.Fatalf("Wait = %s, %v", waited, err)
				}
			}
			if diff := cmp.Diff(State{}, b.State()); diff != "" {
				t.Errorf("State (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"Rate":     {Rate: -1},
		"NoNumber": {Rate: math.NaN()},
		"Infinite": {Rate: math.Inf(1)},
		"Share":    {Rate: 1, Share: 1.5},
		"Burst":    {Rate: 1, Burst: 0.5},
		"MaxWait":  {Rate: 1, MaxWait: -1},
		"Interval": {Rate: 1, Interval: time.Minute},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{Rate: 1, Name: "a.b", Queue: newBroker(t).queue(t)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("name: %v", err)
	}
}

// passed counts the calls of a class that pass within d.
func passed(t *testing.T, b *Budget, class Class, callers int, d time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for range callers {
		wg.Go(func() {
			for {
				if _, err := b.Wait(ctx, class); err != nil {
					return
				}
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return n
}

func TestRate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		cfg     Config
		class   Class
		callers int
		want    int // in 10 s
	}{
		{"Bulk", Config{Rate: 20}, Bulk, 3, 200},
		{"OneCaller", Config{Rate: 20}, Bulk, 1, 200},
		{"Chat", Config{Rate: 20}, Chat, 10, 200},
		{"OwnShare", Config{Rate: 20, Share: 0.5}, Bulk, 3, 100},
		{"Slow", Config{Rate: 0.5, Burst: 1}, Bulk, 3, 5},
		{"Fast", Config{Rate: 5000}, Bulk, 100, 50_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := passed(t, newBudget(t, test.cfg), test.class, test.callers, 10*time.Second)
				if slack := max(1.0, test.cfg.Rate/10); math.Abs(float64(got-test.want)) > slack {
					t.Errorf("%d passed in 10 s, want %d", got, test.want)
				}
			})
		})
	}
}

func TestBurstAfterAQuietTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Config{Rate: 10, Burst: 5})
		<-time.After(time.Hour)
		for i := range 6 {
			waited, err := b.Wait(t.Context(), Chat)
			if want := time.Duration(i/5) * 100 * time.Millisecond; waited.Round(time.Millisecond) != want || err != nil {
				t.Errorf("call %d waited %s, want %s, %v", i, waited, want, err)
			}
		}
		<-time.After(time.Hour)
		for range 4 { // bulk work leaves four of five to chat
			_, _ = b.Wait(t.Context(), Bulk)
		}
		for range 4 {
			if waited, err := b.Wait(t.Context(), Chat); waited != 0 || err != nil {
				t.Errorf("chat waited %s behind bulk work, %v", waited, err)
			}
		}
	})
}

func TestLateTimersLoseNothing(t *testing.T) {
	t.Parallel()
	b := newBudget(t, Config{Rate: 100, Burst: 1})
	b.queues[Bulk] = []*waiter{{done: make(chan struct{})}, {done: make(chan struct{})}, {done: make(chan struct{})}}
	b.tokens, b.filled = 0, 0
	b.bucket.refill(24 * time.Millisecond) // 14 ms late
	for b.pop(24 * time.Millisecond) {
	}
	if len(b.queues[Bulk]) != 1 {
		t.Errorf("%d wait, want 1", len(b.queues[Bulk]))
	}
	b.bucket.refill(time.Hour) // frozen
	if b.tokens > 1+100*lateness.Seconds() {
		t.Errorf("%g tokens after being frozen", b.tokens)
	}
}

func TestChatGoesBeforeBulk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Config{Rate: 10, Burst: 1})
		_, _ = b.Wait(t.Context(), Chat)
		var mu sync.Mutex
		var got []string
		var wg sync.WaitGroup
		for _, call := range []struct {
			name  string
			class Class
		}{{"bulk 1", Bulk}, {"bulk 2", Bulk}, {"chat 1", Chat}, {"chat 2", Chat}} {
			wg.Go(func() {
				if _, err := b.Wait(t.Context(), call.class); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, call.name)
			})
			synctest.Wait()
		}
		if s := b.State(); s.WaitingChat != 2 || s.WaitingBulk != 2 || s.Members != 1 || s.Rate != 10 {
			t.Errorf("State = %+v", s)
		}
		wg.Wait()
		if diff := cmp.Diff([]string{"chat 1", "chat 2", "bulk 1", "bulk 2"}, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestChatIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Config{Rate: 2, Burst: 1})
		var wg sync.WaitGroup
		for range 5 { // one passes, four wait for up to 2 s
			wg.Go(func() {
				if _, err := b.Wait(t.Context(), Chat); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		_, err := b.Wait(t.Context(), Chat)
		none, ok := errors.AsType[*ExhaustedError](err)
		if !ok || none.RetryAfter != time.Second || time.Since(began) != 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		waited, err := b.Wait(t.Context(), Bulk) // waits however long
		if err != nil || waited.Round(time.Millisecond) != 2500*time.Millisecond {
			t.Errorf("bulk waited %s, %v", waited, err)
		}
		wg.Wait()
	})
}

func TestChatIsRefusedWhenTheShareShrinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Config{Rate: 2, Burst: 1})
		_, _ = b.Wait(t.Context(), Chat)
		go func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.setShare(0.01)
			b.dispatch(b.now())
		}()
		waited, err := b.Wait(t.Context(), Chat)
		if _, ok := errors.AsType[*ExhaustedError](err); !ok || waited != 2500*time.Millisecond {
			t.Errorf("waited %s, %v", waited, err)
		}
	})
}

func TestCancelledCallsTakeNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Config{Rate: 10, Burst: 1})
		_, _ = b.Wait(t.Context(), Bulk)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := b.Wait(ctx, Bulk); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait of someone who is gone: %v", err)
				}
			})
		}
		synctest.Wait()
		waited, err := b.Wait(t.Context(), Bulk)
		if err != nil || waited.Round(time.Millisecond) != 100*time.Millisecond {
			t.Errorf("waited %s, %v", waited, err)
		}
		wg.Wait()
		if _, err := b.Wait(ctx, Bulk); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait of someone who was gone before: %v", err)
		}
	})
}

func TestPenalize(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Config{Rate: 100})
		b.Penalize(0) // one second
		b.Penalize(time.Millisecond)
		if waited, err := b.Wait(t.Context(), Chat); waited != time.Second || err != nil {
			t.Errorf("chat waited %s, %v", waited, err)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			if waited, err := b.Wait(t.Context(), Bulk); waited != 5*time.Second || err != nil {
				t.Errorf("bulk waited %s, %v", waited, err)
			}
		})
		b.mu.Lock()
		b.tokens = 0
		b.mu.Unlock()
		wg.Go(func() { // waits for a token, and then is told
			_, err := b.Wait(t.Context(), Chat)
			if none, ok := errors.AsType[*ExhaustedError](err); !ok || none.RetryAfter != 5*time.Second {
				t.Errorf("chat that waited: %v", err)
			}
		})
		synctest.Wait()
		b.Penalize(5 * time.Second)
		_, err := b.Wait(t.Context(), Chat)
		if none, ok := errors.AsType[*ExhaustedError](err); !ok || none.RetryAfter < 3*time.Second {
			t.Errorf("chat: %v", err)
		}
	})
}

func BenchmarkWaitNoLimit(b *testing.B) {
	budget := newBudget(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		_, _ = budget.Wait(b.Context(), Chat)
	}
}

func BenchmarkWait(b *testing.B) {
	budget := newBudget(b, Config{Rate: 1e12})
	b.ReportAllocs()
	for b.Loop() {
		if waited, err := budget.Wait(b.Context(), Chat); waited != 0 || err != nil {
			b.Fatal(waited, err)
		}
	}
}

func BenchmarkDivide(b *testing.B) {
	members := make([]demand, 50)
	for i := range members {
		members[i] = demand{member: string(rune('a' + i)), chat: float64(i), bulk: float64(i % 7)}
	}
	b.ReportAllocs()
	for b.Loop() {
		divide(100, members)
	}
}
