package budget

import (
	"time"

	"xinghe/shared/queue"
)

// saw takes in a record.
func (b *Budget) saw(entry queue.Entry[record]) {
	l := b.lease
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if entry.Time.After(l.newest) {
		l.newest = entry.Time
	}
	rec := entry.Value
	switch {
	case entry.Key != l.key && entry.Deleted:
		delete(l.peers, entry.Key)
	case entry.Key != l.key:
		l.peers[entry.Key] = peer{record: rec, time: entry.Time}
		if rec.Pause > 0 {
			b.pause(now, now+min(time.Duration(rec.Pause)*time.Millisecond-l.newest.Sub(entry.Time), maxPause))
		}
	case !entry.Deleted && rec.Write == l.sent.Write:
		b.came(now, rec)
		return
	}
	b.settle(now, 0)
}

// came takes in our own last record: the share is ours from now on.
func (b *Budget) came(now time.Duration, rec record) {
	l := b.lease
	l.until, l.back = l.sentAt+l.ttl, true
	if l.again {
		signal(l.kicked)
	}
	if l.held {
		b.settle(now, rec.Claim)
		return
	}
	l.held, b.bulkFrom = true, 0
	b.refill(now)
	b.setShare(min(b.share, rec.Claim, max(0, b.unclaimed())))
	b.settle(now, 0)
	signal(l.kicked)
}

// settle brings the share in line with the records: down at once, up as far as claim, which
// has just come back, fits beside the claims of the others.
func (b *Budget) settle(now time.Duration, claim float64) {
	l := b.lease
	b.refill(now)
	if !l.held {
		b.dispatch(now)
		return
	}
	b.bury()
	b.aim()
	share := min(l.target, max(b.share, min(claim, b.unclaimed())))
	if share != b.share {
		b.setShare(share)
	}
	b.dispatch(now)

	step := notable * b.cfg.Rate
	less := l.sent.Claim > share+step
	more := min(l.target, b.unclaimed()) > share+step
	if l.back && (less || more) {
		signal(l.kicked)
	}
}

// bury forgets members whose records were not renewed.
func (b *Budget) bury() {
	for key, p := range b.lease.peers {
		if b.lease.newest.Sub(p.time) > b.lease.ttl {
			delete(b.lease.peers, key)
		}
	}
}

// aim computes what the share should be.
func (b *Budget) aim() {
	l := b.lease
	members := make([]demand, 1, len(l.peers)+1)
	members[0] = demand{member: l.key, chat: l.sent.Chat, bulk: l.sent.Bulk}
	for key, p := range l.peers {
		members = append(members, demand{member: key, chat: p.Chat, bulk: p.Bulk})
	}
	rate := b.common()
	l.target = divide(rate, members)[0]
	members[0].chat = rate
	l.prospect = divide(rate, members)[0]
}

// common is the smallest rate that a member has.
func (b *Budget) common() float64 {
	rate := b.cfg.Rate
	for _, p := range b.lease.peers {
		if p.Rate > 0 {
			rate = min(rate, p.Rate)
		}
	}
	return rate
}

// unclaimed is what the others leave. Those whose records are overdue, though not yet buried,
// leave to chat all that it wants.
func (b *Budget) unclaimed() float64 {
	l := b.lease
	left := b.common()
	forChat := left
	for _, p := range l.peers {
		left -= p.Claim
		if l.newest.Sub(p.time) <= l.overdue {
			forChat -= p.Claim
		}
	}
	return max(left, min(forChat, l.sent.Chat))
}

// expire takes the share back when the record has not been renewed in time.
func (b *Budget) expire(now time.Duration) {
	if b.lease != nil && b.lease.held && now > b.lease.until {
		b.release()
	}
}

// release makes this member one that knows nothing of others. It may have been about to get
// its share, and could wait for ever for them to give way.
func (b *Budget) release() {
	b.lease.held = false
	b.setShare(min(max(b.share, b.lease.target), b.own()))
}

// relieve is for chat that has to wait: if this member's record has not come back in time,
// the others may not hear that it needs more. Then it takes what chat would be given by what
// was last known, up to its own rate.
func (b *Budget) relieve(now time.Duration) {
	l := b.lease
	if l == nil || l.held && now <= l.doubtful() {
		return
	}
	if l.held {
		b.release()
	}
	if share := min(l.prospect, b.own()); share > b.share {
		b.setShare(share)
	}
}

// doubtful is when a share has not been renewed in time, though it is not lost yet.
func (l *lease) doubtful() time.Duration { return l.until - l.ttl + l.overdue }
