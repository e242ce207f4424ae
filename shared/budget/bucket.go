package budget

import (
	"math"
	"slices"
	"time"
)

const (
	// lateness is how much of a second's tokens a bucket holds above its capacity while
	// somebody waits, so that timers that fire late lose nothing.
	lateness = 50 * time.Millisecond
	// almost makes up for the rounding of sums of tokens.
	almost = 1e-6
)

// bucket holds the tokens of this member and the calls that wait for them. It is guarded by
// Budget.mu; times are those of Budget.clock.
type bucket struct {
	share    float64 // tokens per second
	capacity float64 // at least 1
	tokens   float64
	filled   time.Duration // when tokens was right
	paused   time.Duration // nobody passes before
	bulkFrom time.Duration // no bulk call passes before
	queues   [classes][]*waiter
}

type waiter struct {
	done  chan struct{} // closed when the call may go on, or is refused
	err   error         // set before done is closed
	since time.Duration
}

func (k *bucket) refill(now time.Duration) {
	if now <= k.filled {
		return
	}
	limit := k.capacity
	if len(k.queues[Chat])+len(k.queues[Bulk]) > 0 {
		limit += k.share * lateness.Seconds()
	}
	k.tokens = min(limit, k.tokens+k.share*(now-k.filled).Seconds())
	k.filled = now
}

// need is how many tokens must be there for a call to take one: bulk calls leave the last
// ones to chat.
func (k *bucket) need(class Class) float64 {
	if class == Bulk {
		return k.capacity
	}
	return 1
}

// free reports whether a call can go on at once, those that wait aside.
func (k *bucket) free(class Class, now time.Duration) bool {
	return now >= k.paused && (class == Chat || now >= k.bulkFrom) && k.tokens >= k.need(class)-almost
}

// first is the class of the call that is next, if any waits.
func (k *bucket) first() (Class, bool) {
	for class := range classes {
		if len(k.queues[class]) > 0 {
			return class, true
		}
	}
	return 0, false
}

// pop lets the first call that waits go on, if it can.
func (k *bucket) pop(now time.Duration) bool {
	class, ok := k.first()
	if !ok || !k.free(class, now) {
		return false
	}
	k.tokens--
	w := k.queues[class][0]
	k.queues[class] = slices.Delete(k.queues[class], 0, 1)
	close(w.done)
	return true
}

// next is when the first call that waits may be able to go on; false if none does or nothing
// is known.
func (k *bucket) next(now time.Duration) (time.Duration, bool) {
	class, ok := k.first()
	if !ok {
		return 0, false
	}
	after, ok := seconds((k.need(class) - k.tokens) / k.share)
	if !ok {
		return 0, false
	}
	at := max(now+after, k.paused)
	if class == Bulk {
		at = max(at, k.bulkFrom)
	}
	return at, true
}

// seconds converts; false if that is too long to wait for.
func seconds(s float64) (time.Duration, bool) {
	if math.IsNaN(s) || s > 24*3600 {
		return 24 * time.Hour, false
	}
	return time.Duration(math.Ceil(max(0, s) * float64(time.Second))), true
}

func (k *bucket) remove(class Class, w *waiter) bool {
	i := slices.Index(k.queues[class], w)
	if i >= 0 {
		k.queues[class] = slices.Delete(k.queues[class], i, i+1)
	}
	return i >= 0
}
