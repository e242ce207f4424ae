package budget

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/queue"
)

// Class says how urgent a request is.
type Class int

// Chat goes before Bulk.
const (
	Chat Class = iota // somebody waits for the answer
	Bulk              // exports, ratings and all that can wait
	classes
)

const (
	minRetryAfter = time.Second
	// defaultPause follows a 429 that does not say how long to wait.
	defaultPause = time.Second
	// maxPause keeps a mistaken Retry-After from stopping everything for days.
	maxPause = 15 * time.Minute
)

// ErrInvalid means that a setting cannot be used.
var ErrInvalid = errors.New("invalid")

// ExhaustedError refuses a chat call for which there would be no request in time.
type ExhaustedError struct {
	// RetryAfter is when the next try is likely to be let through; at least 1s.
	RetryAfter time.Duration
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("the budget of requests is used up for the next %s", e.RetryAfter.Round(time.Millisecond))
}

// Config says what there is to share. Zero values mean the defaults.
type Config struct {
	// Name of the upstream key, the same in all members; not the key itself. Letters, digits,
	// - and _. Needed if there is a Queue.
	Name string
	// Rate is how many requests a second all members together may begin. 0: no limit, and no
	// cost.
	Rate float64
	// Burst is how many requests all members together may begin at once after a quiet time.
	// Default: a tenth of Rate, at least 2.
	Burst float64
	// Share is the part of Rate, above 0 and up to 1, that this member uses while it knows
	// nothing of others. Default 1.
	Share float64
	// MaxWait is how long a chat call waits at most, give or take a quarter. Default 2s.
	MaxWait time.Duration
	// Queue is where members meet. nil: this member is alone.
	Queue *queue.Queue
	// Member is the name of this process among the others, which none of them may have too.
	// Default: a random one.
	Member string
	// Interval is how often a member renews its record, 20ms to 10s, the same in all members.
	// Default 1s.
	Interval time.Duration
	// Logger hears when the others are lost or found. The zero logger is silent.
	Logger zerolog.Logger
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (c Config) withDefaults() (Config, error) {
	if c.Share == 0 {
		c.Share = 1
	}
	if c.Burst == 0 {
		c.Burst = max(2, c.Rate/10)
	}
	if c.MaxWait == 0 {
		c.MaxWait = 2 * time.Second
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	var errs []error
	check := func(ok bool, name string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %v: %w: %s", name, value, ErrInvalid, want))
		}
	}
	check(c.Rate >= 0 && !math.IsInf(c.Rate, 0), "rate", c.Rate, "requests a second, or 0 for no limit")
	check(c.Share > 0 && c.Share <= 1, "share", c.Share, "above 0, at most 1")
	check(c.Burst >= 1 && !math.IsInf(c.Burst, 0), "burst", c.Burst, "at least 1")
	check(c.MaxWait > 0, "longest wait", c.MaxWait, "above 0")
	check(c.Interval >= 20*time.Millisecond && c.Interval <= 10*time.Second, "interval", c.Interval, "20ms to 10s")
	check(c.Queue == nil || c.Rate == 0 || validName.MatchString(c.Name), "name", c.Name, "letters, digits, - and _")
	return c, errors.Join(errs...)
}

// Budget lets requests through. It is safe for concurrent use. A nil Budget has no limit.
type Budget struct {
	cfg   Config
	clock *clock

	mu sync.Mutex
	bucket
	meters [classes]meter
	timer  *time.Timer // runs dispatch; nil before anybody waited
	lease  *lease      // nil if alone
}

// New returns a budget. It does not touch the network: what others take is known while
// [Budget.Run] runs.
func New(cfg Config) (*Budget, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure budget: %w", err)
	}
	b := &Budget{cfg: cfg, clock: newClock(wallClock)}
	if cfg.Rate == 0 {
		return b, nil
	}
	if cfg.Queue != nil {
		if b.lease, err = newLease(cfg); err != nil {
			return nil, fmt.Errorf("configure budget: %w", err)
		}
		b.bulkFrom = 2 * cfg.Interval
	}
	b.setShare(b.own())
	b.tokens = 1
	return b, nil
}

// Wait takes one request of the budget, waiting for it if need be, and returns how long it
// waited. It fails with [*ExhaustedError], for chat only, or with ctx's error; then nothing
// was taken.
func (b *Budget) Wait(ctx context.Context, class Class) (waited time.Duration, err error) {
	if b == nil || b.cfg.Rate == 0 {
		return 0, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, waitError(err)
	}
	b.mu.Lock()
	now := b.now()
	b.meters[class].calls++
	b.refill(now)
	if first, queue := b.first(); (!queue || class < first) && b.free(class, now) {
		b.tokens--
		b.mu.Unlock()
		return 0, nil
	}
	if class == Chat {
		b.relieve(now)
		if wait := b.estimate(now); wait > b.cfg.MaxWait {
			b.kick()
			b.mu.Unlock()
			return 0, exhausted(wait - b.cfg.MaxWait)
		}
	}
	w := &waiter{done: make(chan struct{}), since: now}
	b.queues[class] = append(b.queues[class], w)
	b.dispatch(now)
	b.kick()
	b.mu.Unlock()
	return b.wait(ctx, class, w)
}

func (b *Budget) wait(ctx context.Context, class Class, w *waiter) (time.Duration, error) {
	var tooLong <-chan time.Time
	if class == Chat { // the estimate may have been wrong
		timer := time.NewTimer(b.cfg.MaxWait + b.cfg.MaxWait/4)
		defer timer.Stop()
		tooLong = timer.C
	}
	var err error
	select {
	case <-w.done:
		return b.now() - w.since, w.err
	case <-tooLong:
		err = exhausted(0)
	case <-ctx.Done():
		err = waitError(ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if !b.remove(class, w) {
		if w.err != nil || ctx.Err() == nil {
			return now - w.since, w.err
		}
		b.tokens++ // granted at the same moment, and not used
	}
	b.dispatch(now)
	return now - w.since, err
}

// Penalize stops all requests of all members for d, as upstream asked with a 429; without a
// word from upstream, d of 0, for 1s. A pause is 15m at most, and never ends one that lasts
// longer. Chat calls that would have to wait too long are refused at once.
func (b *Budget) Penalize(d time.Duration) {
	if b == nil || b.cfg.Rate == 0 {
		return
	}
	if d <= 0 {
		d = defaultPause
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	until := now + min(d, maxPause)
	if b.lease != nil {
		b.lease.pause = max(b.lease.pause, until)
	}
	b.pause(now, until)
	b.kick()
}

// pause is for calls under mu.
func (b *Budget) pause(now, until time.Duration) {
	if until <= b.paused {
		return
	}
	b.refill(now)
	b.paused, b.tokens = until, min(b.tokens, 1)
	kept := b.queues[Chat][:0]
	for _, w := range b.queues[Chat] {
		if until-w.since <= b.cfg.MaxWait {
			kept = append(kept, w)
			continue
		}
		w.err = exhausted(until - now)
		close(w.done)
	}
	clear(b.queues[Chat][len(kept):])
	b.queues[Chat] = kept
	b.dispatch(now)
}

// State is what a budget does at the moment.
type State struct {
	// Rate is how many requests a second this process may begin; 0 if there is no limit.
	Rate float64
	// Members is how many processes share, this one included; 0 if that is not known.
	Members int
	// Paused is how long all requests are stopped.
	Paused time.Duration
	// WaitingChat and WaitingBulk are the calls that wait.
	WaitingChat, WaitingBulk int
}

// State returns what the budget does at the moment, for metrics and logs.
func (b *Budget) State() State {
	if b == nil || b.cfg.Rate == 0 {
		return State{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.expire(now)
	s := State{Rate: b.share, Paused: max(0, b.paused-now), WaitingChat: len(b.queues[Chat]), WaitingBulk: len(b.queues[Bulk])}
	switch {
	case b.lease == nil:
		s.Members = 1
	case b.lease.held:
		s.Members = len(b.lease.peers) + 1
	}
	return s
}

func (b *Budget) now() time.Duration { return b.clock.now() }

// own is the rate of this member while it knows nothing of others.
func (b *Budget) own() float64 { return b.cfg.Rate * b.cfg.Share }

func (b *Budget) setShare(share float64) {
	b.share = share
	b.capacity = max(min(b.cfg.Burst, 2), b.cfg.Burst*share/b.cfg.Rate)
}

// refill shadows the bucket's to notice first that the share is not ours any more.
func (b *Budget) refill(now time.Duration) {
	b.expire(now)
	b.bucket.refill(now)
}

// dispatch lets calls go on that can, and sees to it that it is called again when the next
// one can.
func (b *Budget) dispatch(now time.Duration) {
	b.refill(now)
	if len(b.queues[Chat]) > 0 {
		b.relieve(now)
	}
	for b.pop(now) {
	}
	for class := range classes {
		b.meters[class].queued(now, len(b.queues[class]) > 0)
	}
	at, ok := b.next(now)
	if l := b.lease; l != nil && l.held && len(b.queues[Chat]) > 0 {
		relief := l.doubtful() + 1
		if !ok || relief < at {
			at, ok = relief, true
		}
	}
	switch {
	case !ok && b.timer != nil:
		b.timer.Stop()
	case ok && b.timer != nil:
		b.timer.Reset(at - now)
	case ok:
		b.timer = time.AfterFunc(at-now, b.tick)
	}
}

func (b *Budget) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dispatch(b.now())
}

// estimate is how long another chat call would wait. A member whose share is small because
// it wanted nothing can count on more within an interval.
func (b *Budget) estimate(now time.Duration) time.Duration {
	missing := float64(len(b.queues[Chat])+1) - b.tokens
	wait, _ := seconds(missing / b.share)
	if b.lease != nil && b.lease.held && b.lease.prospect > b.share {
		soon, _ := seconds(missing / b.lease.prospect)
		wait = min(wait, soon+b.cfg.Interval)
	}
	return wait + max(0, b.paused-now)
}

func exhausted(after time.Duration) error {
	return &ExhaustedError{RetryAfter: max(after, minRetryAfter)}
}

func waitError(err error) error { return fmt.Errorf("wait for the budget: %w", err) }
