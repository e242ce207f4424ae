package budget

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"xinghe/shared/queue"
)

// shared waits until all members know of one another and the rate is divided as want says,
// give or take a tenth.
func shared(tb testing.TB, want []float64, members ...*member) {
	tb.Helper()
	eventually(tb, func() string {
		for i, m := range members {
			s := m.State()
			if s.Members != len(members) || math.Abs(s.Rate-want[i]) > max(0.1*want[i], 1) {
				return fmt.Sprintf("member %d: %+v, want %g among %d", i, s, want[i], len(members))
			}
		}
		return ""
	})
}

// TestThreeMembersUseTheRate is alone, since it measures; a busy machine gets three chances to
// use the rate, and none to exceed it.
func TestThreeMembersUseTheRate(t *testing.T) {
	b := newBroker(t)
	var members []*member
	var count []func() int64
	for range 3 {
		m := b.join(t, Config{})
		n, _ := m.load(t, Bulk, 2)
		members, count = append(members, m), append(count, n.Load)
	}
	total := func() (n int64) {
		for _, c := range count {
			n += c()
		}
		return n
	}
	for range 3 {
		shared(t, []float64{16.7, 16.7, 16.7}, members...)
		began, before := time.Now(), total()
		<-time.After(1500 * time.Millisecond)
		passed, took := float64(total()-before), time.Since(began).Seconds()
		t.Logf("%g requests in %.3f s: %.1f %%", passed, took, 100*passed/50/took)
		if most := 50*took + 3 + 50*lateness.Seconds(); passed > most {
			t.Fatalf("%g requests in %.3f s, want at most %g", passed, took, most)
		}
		if passed >= 0.95*50*took-1 { // one may be on its way at either end
			return
		}
	}
	t.Error("less than 95 % of the rate was used")
}

func TestChatTakesFromBulk(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	const interval = 500 * time.Millisecond
	one, two := b.join(t, Config{Interval: interval}), b.join(t, Config{Interval: interval})
	one.load(t, Bulk, 2)
	two.load(t, Bulk, 2)
	shared(t, []float64{25, 25}, one, two)

	chat := b.join(t, Config{Interval: interval})
	shared(t, []float64{24.5, 24.5, 0.5}, one, two, chat) // nothing asked, nothing given
	began := time.Now()
	_, stop := chat.load(t, Chat, 40)
	eventually(t, func() string {
		if s := chat.State(); s.Rate < 30 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	t.Logf("chat had its share after %s", time.Since(began))
	stop()
	shared(t, []float64{24.5, 24.5, 0.5}, one, two, chat)
}

func TestADeadMemberReturnsItsShare(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	alive, dead := b.join(t, Config{}), b.join(t, Config{})
	alive.load(t, Bulk, 2)
	dead.load(t, Bulk, 2)
	shared(t, []float64{25, 25}, alive, dead)
	dead.q.Close()
	shared(t, []float64{50}, alive)
	if s := dead.State(); s.Members != 0 || s.Rate > 26 {
		t.Errorf("the dead one: %+v", s)
	}
}

func TestALeavingMemberReturnsItsShareAtOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	const interval = 10 * time.Second // longer than the test waits
	staying, leaving := b.join(t, Config{Interval: interval}), b.join(t, Config{Interval: interval})
	shared(t, []float64{25, 25}, staying, leaving)
	began := time.Now()
	leaving.stop()
	shared(t, []float64{50}, staying)
	if took := time.Since(began); took > interval {
		t.Errorf("that took %s", took)
	}
}

func TestAnOldClaimDoesNotStopChat(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	const interval = 300 * time.Millisecond
	killed := b.join(t, Config{Interval: interval})
	shared(t, []float64{50}, killed)
	killed.q.Close()

	again := b.join(t, Config{Interval: interval})
	again.load(t, Chat, 40)
	eventually(t, func() string {
		if s := again.State(); s.Members == 2 && s.Rate > 40 {
			return "" // before the dead one is buried
		} else if s.Members == 1 {
			t.Errorf("chat waited for the dead: %+v", s)
			return ""
		}
		return "no share"
	})
}

func TestWithoutNATS(t *testing.T) {
	t.Parallel()
	t.Run("FromTheStart", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		b.Stop()
		m := b.join(t, Config{Share: 0.4})
		if _, err := m.Wait(t.Context(), Chat); err != nil {
			t.Error(err)
		}
		waited, err := m.Wait(t.Context(), Bulk)
		if err != nil || waited > 800*time.Millisecond {
			t.Errorf("bulk waited %s, %v", waited, err)
		}
		if s := m.State(); s.Rate != 20 || s.Members != 0 {
			t.Errorf("State = %+v", s)
		}
	})
	t.Run("LostAndFound", func(t *testing.T) {
		t.Parallel()
		b := newBroker(t)
		one, two := b.join(t, Config{}), b.join(t, Config{Share: 0.2})
		one.load(t, Bulk, 2)
		two.load(t, Bulk, 2)
		shared(t, []float64{25, 25}, one, two)
		b.Stop()
		eventually(t, func() string {
			first, second := one.State(), two.State()
			if first.Members+second.Members > 0 || math.Abs(first.Rate-25) > 2 || second.Rate != 10 {
				return fmt.Sprintf("%+v and %+v", first, second)
			}
			return ""
		})
		b.Start()
		shared(t, []float64{25, 25}, one, two)
	})
}

// hog is a member whose bulk work takes the whole rate and gives nothing back, or which does
// nothing.
type hog struct{ takes atomic.Bool }

func (b *broker) newHog(tb testing.TB, interval time.Duration) *hog {
	tb.Helper()
	store, err := queue.OpenStore[record](b.queue(tb), Bucket, queue.StoreConfig{TTL: recordTTL})
	if err != nil {
		tb.Fatal(err)
	}
	h := &hog{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := uint64(1); ctx.Err() == nil; n++ {
			rec := record{Rate: 50, Claim: 1, Write: n}
			if h.takes.Load() {
				rec.Bulk, rec.Claim = 50, 50
			}
			_, _ = store.Put(ctx, "test.hog", rec) // fails without NATS
			select {
			case <-time.After(interval / 5):
			case <-ctx.Done():
			}
		}
	}()
	tb.Cleanup(func() {
		cancel()
		<-ended
	})
	return h
}

// Chat answers also if NATS goes away just while this member waits for others to give way.
func TestNATSDiesWhileOthersAreToGiveWay(t *testing.T) {
	t.Parallel()
	for name, joins := range map[string]bool{"NewMember": true, "IdleMember": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			const interval = 2 * time.Second
			hog := b.newHog(t, interval)
			hog.takes.Store(joins)
			m := b.join(t, Config{Interval: interval, MaxWait: 2 * interval}) // less than 3 intervals in all
			eventually(t, func() string {
				if s := m.State(); s.Members != 2 || !joins && s.Rate < 20 {
					return fmt.Sprintf("%+v", s)
				}
				return ""
			})
			hog.takes.Store(true)
			eventually(t, func() string {
				if s := m.State(); s.Members != 2 || s.Rate > 1 {
					return fmt.Sprintf("%+v", s)
				}
				return ""
			})
			b.Stop()
			answers := make(chan error, 20)
			for range cap(answers) {
				go func() {
					_, err := m.Wait(t.Context(), Chat)
					answers <- err
				}()
			}
			for range cap(answers) {
				if err := <-answers; err != nil {
					t.Errorf("chat without NATS: %v, %+v", err, m.State())
				}
			}
		})
	}
}

func TestTheBucketVanishes(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	one, two := b.join(t, Config{}), b.join(t, Config{})
	shared(t, []float64{25, 25}, one, two)
	if err := b.JetStream().DeleteKeyValue(t.Context(), Bucket); err != nil {
		t.Fatal(err)
	}
	one.load(t, Bulk, 2)
	shared(t, []float64{49, 1}, one, two)
}

func TestAPauseIsTold(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	one, two := b.join(t, Config{}), b.join(t, Config{})
	shared(t, []float64{25, 25}, one, two)
	one.Penalize(10 * time.Second)
	eventually(t, func() string {
		if s := two.State(); s.Paused == 0 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	if s := two.State(); s.Paused > 10*time.Second || s.Paused < time.Second {
		t.Errorf("%+v", s)
	}
	if _, err := two.Wait(t.Context(), Chat); !isExhausted(err) {
		t.Errorf("chat during a pause: %v", err)
	}
	late := b.join(t, Config{})
	eventually(t, func() string {
		if s := late.State(); s.Paused == 0 {
			return fmt.Sprintf("a new member: %+v", s)
		}
		return ""
	})
}

func TestTheSmallestRateHolds(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	one, two := b.join(t, Config{Rate: 100}), b.join(t, Config{Rate: 30})
	shared(t, []float64{15, 15}, one, two)
}

func TestAFrozenMemberHasNoRightToItsShare(t *testing.T) {
	t.Parallel()
	b := newBudget(t, Config{Rate: 50, Share: 0.1, Name: "test", Queue: newBroker(t).queue(t)})
	b.lease.held, b.lease.until = true, time.Nanosecond
	b.setShare(30)
	if s := b.State(); s.Rate != 5 || s.Members != 0 {
		t.Errorf("State = %+v", s)
	}
}

func isExhausted(err error) bool {
	_, ok := errors.AsType[*ExhaustedError](err)
	return ok
}

func BenchmarkWaitShared(b *testing.B) {
	m := newBroker(b).join(b, Config{Rate: 1e12})
	eventually(b, func() string {
		if m.State().Members == 0 {
			return "not shared"
		}
		return ""
	})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if waited, err := m.Wait(ctx, Chat); waited != 0 || err != nil {
			b.Fatal(waited, err)
		}
	}
}
