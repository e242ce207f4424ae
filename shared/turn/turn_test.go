package turn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func take(tb testing.TB, turns *Turns, user string) func() {
	tb.Helper()
	leave, err := turns.Take(tb.Context(), user)
	if err != nil {
		tb.Fatalf("Take(%q): %v", user, err)
	}
	return leave
}

func (t *Turns) users() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lines)
}

func TestTurnsComeInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := New(Config{})
		leave := take(t, turns, "u")
		var got []int
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				next := take(t, turns, "u")
				got = append(got, i)
				next()
			})
			synctest.Wait() // i is in the queue
		}
		leave()
		wg.Wait()
		if diff := cmp.Diff([]int{0, 1, 2, 3}, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if turns.users() != 0 {
			t.Errorf("%d users are remembered", turns.users())
		}
	})
}

func TestUsersDoNotHinderOneAnother(t *testing.T) {
	t.Parallel()
	turns := New(Config{Waiting: -1})
	defer take(t, turns, "a")()
	defer take(t, turns, "b")()
	defer take(t, turns, "")()
	defer take(t, turns, "")() // nobody in particular
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		waiting int
		want    int
	}{{"Default", 0, 4}, {"Two", 2, 2}, {"None", -1, 0}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := New(Config{Waiting: test.waiting})
				leave := take(t, turns, "u")
				var wg sync.WaitGroup
				for range test.want {
					wg.Go(func() { take(t, turns, "u")() })
				}
				synctest.Wait()
				_, err := turns.Take(t.Context(), "u")
				full, ok := errors.AsType[*FullError](err)
				if !ok || full.RetryAfter != time.Second || full.Waited != 0 {
					t.Errorf("with %d waiting: %v", test.want, err)
				}
				leave()
				wg.Wait()
				take(t, turns, "u")()
			})
		})
	}
}

func TestMaxWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := New(Config{MaxWait: 3 * time.Second})
		leave := take(t, turns, "u")
		began := time.Now()
		_, err := turns.Take(t.Context(), "u")
		full, ok := errors.AsType[*FullError](err)
		if !ok || full.Waited != 3*time.Second || time.Since(began) != 3*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		leave()
		take(t, turns, "u")()
		if turns.users() != 0 {
			t.Errorf("%d users are remembered", turns.users())
		}
	})
}

func TestLeaveIsIdempotent(t *testing.T) {
	t.Parallel()
	turns := New(Config{Waiting: -1})
	first := take(t, turns, "u")
	first()
	second := take(t, turns, "u")
	first() // must not end the second turn, whose line is the same
	if _, err := turns.Take(t.Context(), "u"); err == nil {
		t.Error("two turns at once")
	}
	second()
	second()
	other := take(t, turns, "v") // the line again, for another user
	first()
	second()
	if _, err := turns.Take(t.Context(), "v"); err == nil {
		t.Error("two turns of another user at once")
	}
	other()
}

func TestCancelInTheMiddle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := New(Config{})
		leave := take(t, turns, "u")
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		var wg sync.WaitGroup
		for _, name := range []string{"a", "gone", "b"} {
			wg.Go(func() {
				use := t.Context()
				if name == "gone" {
					use = ctx
				}
				next, err := turns.Take(use, "u")
				if err != nil {
					if !errors.Is(err, context.Canceled) || next != nil {
						t.Errorf("%s: %v", name, err)
					}
					return
				}
				got = append(got, name)
				next()
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if n := len(turns.lines["u"].waiting); n != 2 {
			t.Errorf("%d wait, want 2", n)
		}
		leave()
		wg.Wait()
		if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if _, err := turns.Take(ctx, "u"); !errors.Is(err, context.Canceled) {
			t.Errorf("Take of someone who is gone: %v", err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, test := range []struct {
		name    string
		usual   time.Duration // how long turns take
		elapsed time.Duration // of the present one
		waiting int           // calls that wait, all that may
		want    time.Duration
	}{
		{"NothingKnown", 0, 0, 1, s},
		{"ShortTurns", 100 * time.Millisecond, 0, 4, s},
		{"TheRestOfTheTurn", 8 * s, 3 * s, 1, 5 * s},
		{"LongerThanUsual", 8 * s, 9 * s, 1, 8 * s},
		{"ALongLine", 8 * s, 3 * s, 8, 39 * s}, // 5 s, then eight of 8 s, less the 30 s that may be waited
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := New(Config{Waiting: test.waiting})
				if test.usual > 0 {
					leave := take(t, turns, "before")
					<-time.After(test.usual)
					leave()
				}
				ctx, cancel := context.WithCancel(t.Context())
				leave := take(t, turns, "u")
				<-time.After(test.elapsed)
				var wg sync.WaitGroup
				for range test.waiting {
					wg.Go(func() { _, _ = turns.Take(ctx, "u") })
				}
				synctest.Wait()
				_, err := turns.Take(t.Context(), "u")
				full, ok := errors.AsType[*FullError](err)
				if !ok || full.RetryAfter != test.want {
					t.Errorf("RetryAfter = %v, want %s (%v)", full, test.want, err)
				}
				cancel()
				wg.Wait()
				leave()
			})
		})
	}
}

func TestNeverTwoAtOnce(t *testing.T) {
	t.Parallel()
	const users, calls, callers = 1000, 100, 2
	turns := New(Config{})
	var wg sync.WaitGroup
	for u := range users {
		user := fmt.Sprint(u)
		var inside atomic.Int32
		plain := 0 // the race detector sees a turn that does not order
		for range callers {
			wg.Go(func() {
				for range calls / callers {
					leave := take(t, turns, user)
					if inside.Add(1) != 1 {
						t.Errorf("two turns of user %s at once", user)
					}
					plain++
					inside.Add(-1)
					leave()
				}
			})
		}
		defer func() {
			if plain != calls {
				t.Errorf("user %s: %d calls, want %d", user, plain, calls)
			}
		}()
	}
	wg.Wait()
	if turns.users() != 0 {
		t.Errorf("%d users are remembered", turns.users())
	}
}

// TestRandomSchedules compares with a plain model of who holds and who waits.
func TestRandomSchedules(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			const maxWait = 10 * time.Second
			turns := New(Config{Waiting: 1 + random.IntN(4), MaxWait: maxWait})
			m := &model{t: t, turns: turns, outcome: map[int]error{}, leave: map[int]func(){}, cancel: map[int]func(){}, since: map[int]time.Time{}}
			for id := range 200 {
				switch random.IntN(5) {
				case 0, 1:
					m.arrive(id)
				case 2:
					m.finish()
				case 3:
					m.goAway(random)
				case 4:
					m.pass(time.Duration(random.IntN(3000))*time.Millisecond, maxWait)
				}
				m.compare(seed, id)
			}
			for m.holding {
				m.finish()
				m.compare(seed, 200)
			}
			if turns.users() != 0 {
				t.Errorf("seed %d: %d users are remembered", seed, turns.users())
			}
		})
	}
}

type model struct {
	t       *testing.T
	turns   *Turns
	holding bool
	holder  int
	waiting []int
	since   map[int]time.Time // when the waiting ones came

	mu      sync.Mutex
	outcome map[int]error
	leave   map[int]func()
	cancel  map[int]func()
}

func (m *model) arrive(id int) {
	ctx, cancel := context.WithCancel(m.t.Context())
	m.cancel[id] = cancel
	go func() {
		leave, err := m.turns.Take(ctx, "u")
		m.mu.Lock()
		defer m.mu.Unlock()
		m.outcome[id], m.leave[id] = err, leave
	}()
	synctest.Wait()
	switch {
	case !m.holding:
		m.holding, m.holder = true, id
	case len(m.waiting) < m.turns.waiting:
		m.waiting, m.since[id] = append(m.waiting, id), time.Now()
	default:
		m.expect(id, &FullError{})
	}
}

func (m *model) finish() {
	if !m.holding {
		return
	}
	m.leave[m.holder]()
	m.holding = false
	synctest.Wait()
	m.cancel[m.holder]()
	if len(m.waiting) > 0 {
		m.holding, m.holder, m.waiting = true, m.waiting[0], m.waiting[1:]
	}
}

func (m *model) goAway(random *rand.Rand) {
	if len(m.waiting) == 0 {
		return
	}
	i := random.IntN(len(m.waiting))
	id := m.waiting[i]
	m.cancel[id]()
	synctest.Wait()
	m.waiting = slices.Delete(m.waiting, i, i+1)
	m.expect(id, context.Canceled)
}

func (m *model) pass(d, maxWait time.Duration) {
	<-time.After(d)
	synctest.Wait()
	for len(m.waiting) > 0 && time.Since(m.since[m.waiting[0]]) >= maxWait {
		m.expect(m.waiting[0], &FullError{})
		m.waiting = m.waiting[1:]
	}
}

func (m *model) expect(id int, want error) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.outcome[id]
	_, full := errors.AsType[*FullError](got)
	if _, wantFull := errors.AsType[*FullError](want); full != wantFull || !full && !errors.Is(got, want) {
		m.t.Errorf("call %d: %v, want %v", id, got, want)
	}
	m.cancel[id]()
}

func (m *model) compare(seed uint64, step int) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.waiting {
		if _, done := m.outcome[id]; done {
			m.t.Fatalf("seed %d step %d: call %d has its turn, but %d is before it", seed, step, id, m.holder)
		}
	}
	if m.holding && m.leave[m.holder] == nil {
		m.t.Fatalf("seed %d step %d: call %d has not got its turn: %v", seed, step, m.holder, m.outcome[m.holder])
	}
}

func BenchmarkTake(b *testing.B) {
	turns := New(Config{})
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		leave, err := turns.Take(ctx, "user-1234567")
		if err != nil {
			b.Fatal(err)
		}
		leave()
	}
}

func BenchmarkTakeParallel(b *testing.B) {
	turns := New(Config{})
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		user := fmt.Sprint("user-", n.Add(1))
		for pb.Next() {
			leave, err := turns.Take(context.Background(), user)
			if err != nil {
				b.Fatal(err)
			}
			leave()
		}
	})
}
