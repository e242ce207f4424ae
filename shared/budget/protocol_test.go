package budget

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"xinghe/shared/queue"
)

// TestSharesNeverExceedTheRate runs the protocol over a log that members read with any
// delay up to an interval, while demand changes at random and members come and go.
func TestSharesNeverExceedTheRate(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
	}
}

type entry = queue.Entry[record]

// simulation is a log of records, and members that have read part of it.
type simulation struct {
	t      *testing.T
	random *rand.Rand
	rate   float64
	log    []entry
	all    []*simulated
}

type simulated struct {
	*Budget
	read    int
	written time.Time
	waiting time.Time // since when a record waits to be read
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	s := &simulation{t: t, random: rand.New(rand.NewPCG(seed, 3)), rate: 100}
	s.join()
	for step := range 4000 {
		<-time.After(time.Duration(s.random.IntN(3)) * time.Millisecond)
		m := s.all[s.random.IntN(len(s.all))]
		switch n := s.random.IntN(100); {
		case n < 2 && len(s.all) < 6:
			s.join()
		case n < 3 && len(s.all) > 1:
			s.leave(m)
		case n < 30:
			m.mu.Lock()
			m.meters[s.random.IntN(2)].calls += s.random.IntN(20)
			m.mu.Unlock()
		case n < 80:
			s.deliver(m)
		}
		for _, m := range s.all {
			s.keepTime(m)
		}
		sum := 0.0
		for _, m := range s.all {
			if m.lease.held {
				sum += m.share
			}
		}
		if sum > s.rate*(1+1e-9) {
			t.Fatalf("seed %d, step %d: shares of %g, rate %g", seed, step, sum, s.rate)
		}
	}
	s.quiesce(seed)
}

// keepTime does what must be done by now: a record each 100 ms or when it is worth telling,
// and none unread for longer than 30 ms.
func (s *simulation) keepTime(m *simulated) {
	if m.read < len(s.log) && time.Since(m.waiting) > 30*time.Millisecond {
		s.deliver(m)
	}
	since := time.Since(m.written)
	if since >= 100*time.Millisecond || len(m.lease.kicked) > 0 && since >= 10*time.Millisecond {
		s.write(m)
	}
}

func (s *simulation) join() {
	q, err := queue.Open(queue.ConnConfig{}, queue.Config{})
	if err != nil {
		s.t.Fatal(err)
	}
	m := &simulated{Budget: newBudget(s.t, Config{
		Name: "test", Rate: s.rate, Queue: q, Interval: 100 * time.Millisecond, Member: fmt.Sprint("m", len(s.log)),
	}), waiting: time.Now()}
	s.all = append(s.all, m)
	for range s.log {
		s.deliver(m)
	}
	s.write(m)
}

func (s *simulation) leave(m *simulated) {
	s.append(entry{Key: m.lease.key, Deleted: true, Time: time.Now()})
	for i, other := range s.all {
		if other == m {
			s.all = append(s.all[:i], s.all[i+1:]...)
			return
		}
	}
}

func (s *simulation) write(m *simulated) {
	select {
	case <-m.lease.kicked:
	default:
	}
	if !m.lease.back && !m.written.IsZero() && time.Since(m.written) < 90*time.Millisecond {
		return // as publish does
	}
	m.mu.Lock()
	rec := m.compose(m.now())
	m.mu.Unlock()
	m.written = time.Now()
	s.append(entry{Key: m.lease.key, Value: rec, Time: time.Now()})
}

func (s *simulation) append(e entry) {
	for _, m := range s.all {
		if m.read == len(s.log) {
			m.waiting = time.Now()
		}
	}
	s.log = append(s.log, e)
}

func (s *simulation) deliver(m *simulated) {
	if m.read < len(s.log) {
		m.read++
		m.waiting = time.Now()
		m.saw(s.log[m.read-1])
	}
}

// quiesce lets things settle: the whole rate must then be given away.
func (s *simulation) quiesce(seed uint64) {
	for range 3000 {
		<-time.After(time.Millisecond)
		for _, m := range s.all {
			for m.read < len(s.log) {
				s.deliver(m)
			}
			s.keepTime(m)
		}
	}
	sum := 0.0
	for _, m := range s.all {
		sum += m.share
	}
	if sum < 0.99*s.rate {
		for _, m := range s.all {
			s.t.Logf("%s: share %g, target %g, held %v, sent %+v, peers %d", m.lease.key, m.share, m.lease.target, m.lease.held, m.lease.sent, len(m.lease.peers))
		}
		s.t.Fatalf("seed %d: shares of %g in the end, rate %g", seed, sum, s.rate)
	}
}
