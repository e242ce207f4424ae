package budget

import (
	"context"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"xinghe/shared/queue"
)

// Bucket is the key-value bucket in which members meet; keys are <name>.<member>.
const Bucket = "xinghe_budgets"

const (
	// recordTTL clears away what the dead have left; whether a member lives is judged by its
	// record's age.
	recordTTL = time.Minute
	// writeTimeout bounds the writing of a record.
	writeTimeout = 2 * time.Second
	// leaveTimeout bounds the removal of the record in the end.
	leaveTimeout = time.Second
	// notable is the part of the rate by which a share must differ for the others to be told
	// before the next interval.
	notable = 0.01
)

// record is what a member tells the others, in requests per second.
type record struct {
	Rate  float64 `json:"rate"`
	Chat  float64 `json:"chat"`
	Bulk  float64 `json:"bulk"`
	Claim float64 `json:"claim"`           // at least what it uses
	Write uint64  `json:"write"`           // counts up
	Pause int64   `json:"pause,omitempty"` // milliseconds for which upstream asked us to wait
}

type peer struct {
	record
	time time.Time // the server's
}

// lease is this member's place among the others. What is below the channels is guarded by
// Budget.mu.
type lease struct {
	store    *queue.Store[record]
	key      string
	filter   string
	ttl      time.Duration // of a share whose record is not renewed
	overdue  time.Duration // age of a record that should have been renewed
	kicked   chan struct{} // something is worth telling
	rewatch  chan struct{} // own records do not come back
	peers    map[string]peer
	newest   time.Time     // of all records seen: the server's present, almost
	sent     record        // the last one written
	sentAt   time.Duration // when
	back     bool          // it has come back
	again    bool          // write another one then
	held     bool          // the share is ours, until
	until    time.Duration
	target   float64       // what the share should be
	prospect float64       // what it could be if chat asked for everything
	pause    time.Duration // until when upstream asked this member to wait
	failing  bool          // the last write failed, and the log knows
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func newLease(cfg Config) (*lease, error) {
	member := unfit.ReplaceAllString(cfg.Member, "-")
	if member == "" {
		member = nuid.Next()
	}
	store, err := queue.OpenStore[record](cfg.Queue, Bucket, queue.StoreConfig{TTL: recordTTL})
	return &lease{
		store: store, key: cfg.Name + "." + member, filter: cfg.Name + ".*", ttl: 3 * cfg.Interval, overdue: cfg.Interval * 3 / 2,
		kicked: make(chan struct{}, 1), rewatch: make(chan struct{}, 1), peers: map[string]peer{},
		sent: record{Write: rand.Uint64N(1 << 52)}, // not that of a former life under the same name
	}, err
}

// Run keeps this member's share in step with the others until ctx ends, and then gives it
// back. It returns at once if there is nothing to share. Run it once.
func (b *Budget) Run(ctx context.Context) {
	if b == nil || b.lease == nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.follow(ctx) })
	b.keep(ctx)
	wg.Wait()

	b.mu.Lock()
	b.release()
	b.mu.Unlock()
	// ctx has ended, but the others are to know.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := b.lease.store.Delete(ctx, b.lease.key); err != nil {
		b.cfg.Logger.Warn().Err(err).Str("budget", b.cfg.Name).Msg("budget share not returned")
	}
}

// keep writes the record every interval, and sooner if something is worth telling, but with
// a tenth of an interval between.
func (b *Budget) keep(ctx context.Context) {
	l := b.lease
	ticker := time.NewTicker(b.cfg.Interval)
	defer ticker.Stop()
	breath := time.NewTimer(0)
	defer breath.Stop()
	for {
		b.publish(ctx)
		breath.Reset(b.cfg.Interval / 10)
		select {
		case <-breath.C:
		case <-ctx.Done():
			return
		}
		select {
		case <-ticker.C:
		case <-l.kicked:
		case <-ctx.Done():
			return
		}
	}
}

func (b *Budget) publish(ctx context.Context) {
	l := b.lease
	b.mu.Lock()
	now := b.now()
	if !l.back && now-l.sentAt < b.cfg.Interval*9/10 && l.sentAt > 0 {
		l.again = true // the last record is on its way
		b.mu.Unlock()
		return
	}
	rec := b.compose(now)
	b.mu.Unlock()
	writing, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := l.store.Put(writing, l.key, rec)
	if ctx.Err() != nil || (err != nil) == l.failing {
		return
	}
	if l.failing = err != nil; l.failing {
		b.cfg.Logger.Warn().Err(err).Str("budget", b.cfg.Name).Msg("budget alone")
		return
	}
	b.cfg.Logger.Info().Str("budget", b.cfg.Name).Msg("budget shared")
}

// compose makes the next record, under mu.
func (b *Budget) compose(now time.Duration) record {
	l := b.lease
	rec := record{
		Rate: b.cfg.Rate, Write: l.sent.Write + 1,
		Chat: b.meters[Chat].measure(Chat, now, b.cfg.Interval, b.cfg.Rate),
		Bulk: b.meters[Bulk].measure(Bulk, now, b.cfg.Interval, b.cfg.Rate),
	}
	if l.pause > now {
		rec.Pause = (l.pause - now).Milliseconds()
	}
	if l.until > 0 && now > l.until+l.ttl { // look anew, once
		l.until, l.newest = 0, time.Time{}
		clear(l.peers)
		signal(l.rewatch)
	}
	l.sent.Chat, l.sent.Bulk = rec.Chat, rec.Bulk
	b.settle(now, 0)
	if rec.Claim = b.share; l.held {
		rec.Claim = max(rec.Claim, min(l.target, b.unclaimed()))
	}
	l.sent, l.sentAt, l.back, l.again = rec, now, false, false
	return rec
}

// follow reads the records of all members as they come.
func (b *Budget) follow(ctx context.Context) {
	for ctx.Err() == nil {
		b.watch(ctx)
		select {
		case <-time.After(b.cfg.Interval):
		case <-ctx.Done():
		}
	}
}

func (b *Budget) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		select {
		case <-b.lease.rewatch:
			cancel()
		case <-ctx.Done():
		}
	})
	for entry, err := range b.lease.store.Watch(ctx, b.lease.filter) {
		switch {
		case err == nil:
			b.saw(entry)
		case entry.Key == "" && ctx.Err() == nil:
			b.cfg.Logger.Debug().Err(err).Str("budget", b.cfg.Name).Msg("budget records not followed")
		}
	}
}

// kick makes the record be written soon, if what a call had to wait for, or was refused, is
// news to the others. It is for calls under mu.
func (b *Budget) kick() {
	l := b.lease
	if l == nil {
		return
	}
	expected := 1.5*float64(b.meters[Chat].calls)/b.cfg.Interval.Seconds() + 1
	pause := l.pause > b.now() && l.sent.Pause == 0
	chat := b.share < l.prospect*(1-notable) && expected > 1.1*l.sent.Chat
	bulk := len(b.queues[Bulk]) > 0 && l.sent.Bulk == 0
	if pause || chat || bulk {
		signal(l.kicked)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
