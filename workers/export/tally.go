package export

import (
	"time"

	"xinghe/shared/jobs"
)

// tally adds up what windows have come to. It keeps little of those that have ended, of
// which there may be a million.
type tally struct {
	round   int
	total   int
	begun   bits
	ended   bits
	done    int // windows that are proven
	failed  int
	sum     sums // of those that have ended
	under   map[int]sums
	fatal   string             // why the export cannot go on
	first   jobs.WindowFailure // the first failure, by number
	started time.Time          // when this run began to count
	before  int64              // rows that there were then
}

// sums of one or many windows.
type sums struct{ rows, bytes, requests, throttled, duplicates, filtered, expected int64 }

func (s *sums) add(other sums, sign int64) {
	s.rows += sign * other.rows
	s.bytes += sign * other.bytes
	s.requests += sign * other.requests
	s.throttled += sign * other.throttled
	s.duplicates += sign * other.duplicates
	s.filtered += sign * other.filtered
	s.expected += sign * other.expected
}

func sumsOf(r jobs.WindowResult) sums {
	s := sums{
		requests: r.Requests, throttled: r.ThrottledMs, duplicates: r.Duplicates, filtered: r.Window.Filtered,
		expected: r.Window.TotalBefore - r.Window.Filtered,
	}
	for _, part := range r.Parts {
		s.rows += part.Rows
		s.bytes += part.Bytes
	}
	return s
}

func newTally(export jobs.Export) tally {
	return tally{round: export.Round, total: export.Progress.Windows, under: map[int]sums{}}
}

// note takes a result in; a later one of the same window replaces the one before.
func (t *tally) note(r jobs.WindowResult) {
	if r.Number < 0 || r.Number >= t.total || t.ended.has(r.Number) {
		return
	}
	t.begun.set(r.Number)
	if !r.Ended(t.round) {
		t.under[r.Number] = sumsOf(r)
		return
	}
	delete(t.under, r.Number)
	t.ended.set(r.Number)
	t.sum.add(sumsOf(r), 1)
	if r.Done {
		t.done++
		return
	}
	t.failed++
	if r.Fatal && t.fatal == "" {
		t.fatal = r.Error
	}
	if t.failed == 1 || r.Number < t.first.Number {
		t.first = jobs.WindowFailure{Number: r.Number, CharacterID: r.Window.CharacterID, UserID: r.Window.UserID, Reason: r.Error}
	}
}

func (t *tally) all() sums {
	all := t.sum
	for _, s := range t.under {
		all.add(s, 1)
	}
	return all
}

// progress is what there is to tell; the remaining time goes by the rows that this run has
// seen written, and takes windows that have not begun to be like those that have.
func (t *tally) progress(now time.Time) jobs.Progress {
	all := t.all()
	p := jobs.Progress{
		Windows: t.total, WindowsDone: t.done + t.failed, Rows: all.rows, Bytes: all.bytes,
		Requests: all.requests, ThrottledMs: all.throttled,
	}
	known := t.done + t.failed + len(t.under)
	if t.started.IsZero() {
		t.started, t.before = now, all.rows
	}
	if fresh := all.rows - t.before; fresh > 0 && known > 0 && p.WindowsDone < p.Windows {
		left := float64(all.expected)*float64(t.total)/float64(known) - float64(all.rows)
		p.EtaMs = int64(float64(now.Sub(t.started).Milliseconds()) * max(left, 0) / float64(fresh))
	}
	return p
}

// bits is a set of small numbers.
type bits []uint64

func (b *bits) set(n int) {
	for len(*b) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bits) has(n int) bool { return n/64 < len(b) && b[n/64]&(1<<(n%64)) != 0 }
