// Package turn lets each user hold one conversation at a time, as upstream demands: calls of
// one user wait their turn in the order in which they came, in a bounded queue, and are
// refused when the queue is full or the wait becomes too long. Users do not hinder one
// another.
//
//	turns := turn.New(turn.Config{})
//	leave, err := turns.Take(ctx, userID)
//	if full, ok := errors.AsType[*turn.FullError](err); ok {
//		// answer 409 with full.RetryAfter
//	}
//	if err != nil {
//		return err // the caller went away
//	}
//	defer leave()
//
// A turn costs about 100 ns and one allocation while nobody waits. There is no goroutine,
// and a user takes memory only between the first Take and the last leave.
//
// # What it does not do
//
// Turns hold within one process: another instance knows nothing of them, and upstream's own
// refusal is the answer there. A turn has no time limit of its own, since the call that holds
// it has one. Whoever forgets to leave locks the user out.
package turn

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// minRetryAfter is the least that a refused caller is asked to wait.
	minRetryAfter = time.Second
	// maxSpare is how many unused lines are kept for the next users.
	maxSpare = 256
)

// Config says how long the queues are. Zero values mean the defaults.
type Config struct {
	// Waiting is how many calls of one user may wait while another one runs. Default 4;
	// negative: none may.
	Waiting int
	// MaxWait is how long a call waits at most. Default 30s.
	MaxWait time.Duration
}

// FullError refuses a call because its user's queue is full, or because its turn did not
// come within Config.MaxWait.
type FullError struct {
	// RetryAfter is when the next try is likely to get its turn, judged by how long turns of
	// this process have taken lately; at least 1s.
	RetryAfter time.Duration
	// Waited is how long the call waited; 0 if the queue was full.
	Waited time.Duration
}

func (e *FullError) Error() string {
	if e.Waited > 0 {
		return fmt.Sprintf("the user's turn did not come within %s", e.Waited)
	}
	return "too many calls of the user wait already"
}

// Turns hands out the turns of all users. It is safe for concurrent use.
type Turns struct {
	waiting int
	maxWait time.Duration
	epoch   time.Time // times below are counted from here, which costs half of time.Now

	mu    sync.Mutex
	lines map[string]*line // of users whose turn is taken
	spare []*line
	mean  time.Duration // of the last turns, the latest counting most; 0 before the first
}

// line is one user's turn and those who wait for it.
type line struct {
	user    string
	holder  uint64        // counts up with each turn, so that leaving twice does nothing
	since   time.Duration // when the holder's turn began
	waiting []*waiter     // first come, first
}

type waiter struct {
	granted chan struct{} // closed when it is this waiter's turn
	holder  uint64        // set before granted is closed
}

// New returns turns that nobody has taken.
func New(cfg Config) *Turns {
	if cfg.Waiting == 0 {
		cfg.Waiting = 4
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = 30 * time.Second
	}
	return &Turns{waiting: max(cfg.Waiting, 0), maxWait: cfg.MaxWait, epoch: time.Now(), lines: map[string]*line{}}
}

// Take waits for the user's turn, which lasts until leave is called; leave can be called more
// than once. It fails with [*FullError], or with ctx's error when the caller goes away, whose
// place in the queue is then given up. leave is nil if there is an error. The empty user is
// nobody: such calls never wait.
func (t *Turns) Take(ctx context.Context, user string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, waitError(err)
	}
	if user == "" {
		return func() {}, nil
	}
	t.mu.Lock()
	now := time.Since(t.epoch)
	l := t.lines[user]
	if l == nil {
		l = t.open(user, now)
		holder := l.holder
		t.mu.Unlock()
		return func() { t.leave(l, holder) }, nil
	}
	if len(l.waiting) >= t.waiting {
		err := &FullError{RetryAfter: t.retryAfter(l, now)}
		t.mu.Unlock()
		return nil, err
	}
	w := &waiter{granted: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	t.mu.Unlock()
	return t.wait(ctx, l, w)
}

func (t *Turns) wait(ctx context.Context, l *line, w *waiter) (func(), error) {
	timer := time.NewTimer(t.maxWait)
	defer timer.Stop()
	select {
	case <-w.granted:
	case <-timer.C:
		if err := t.giveUp(l, w); err != nil {
			return nil, err
		}
	case <-ctx.Done():
		if t.giveUp(l, w) == nil {
			t.leave(l, w.holder) // the turn came at the same moment: on to the next
		}
		return nil, waitError(ctx.Err())
	}
	return func() { t.leave(l, w.holder) }, nil
}

// giveUp takes a waiter out of its line; nil means that its turn has come in the meantime.
func (t *Turns) giveUp(l *line, w *waiter) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(l.waiting, w)
	if i < 0 {
		return nil
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return &FullError{RetryAfter: t.retryAfter(l, time.Since(t.epoch)), Waited: t.maxWait}
}

// leave ends the turn of a holder, and begins that of the first who waits.
func (t *Turns) leave(l *line, holder uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.holder != holder {
		return
	}
	now := time.Since(t.epoch)
	t.learn(now - l.since)
	l.holder++
	if len(l.waiting) == 0 {
		t.close(l)
		return
	}
	next := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	l.since, next.holder = now, l.holder
	close(next.granted)
}

func (t *Turns) open(user string, now time.Duration) *line {
	var l *line
	if last := len(t.spare) - 1; last >= 0 {
		l, t.spare = t.spare[last], t.spare[:last]
	} else {
		l = &line{}
	}
	l.user, l.since = user, now
	t.lines[user] = l
	return l
}

func (t *Turns) close(l *line) {
	delete(t.lines, l.user)
	l.user = ""
	if len(t.spare) < maxSpare {
		t.spare = append(t.spare, l)
	}
}

// learn lets a turn count an eighth of the mean.
func (t *Turns) learn(took time.Duration) {
	if t.mean == 0 {
		t.mean = took
		return
	}
	t.mean += (took - t.mean) / 8
}

// retryAfter is when a place in the line is likely to be free, and the line short enough for
// MaxWait to suffice. Of a turn that has lasted longer than most, nothing is known but that
// turns last so long.
func (t *Turns) retryAfter(l *line, now time.Duration) time.Duration {
	rest := l.since + t.mean - now
	if rest <= 0 {
		rest = t.mean
	}
	turn := rest + time.Duration(len(l.waiting))*t.mean // when the line is empty
	after := turn - t.maxWait
	if len(l.waiting) >= t.waiting {
		after = max(after, rest)
	}
	return max(after, minRetryAfter)
}

func waitError(err error) error { return fmt.Errorf("wait for the user's turn: %w", err) }
