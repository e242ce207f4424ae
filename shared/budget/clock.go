package budget

import (
	"sync"
	"time"
)

// leap is how far the wall clock must get ahead at once to be believed. Smaller steps are
// corrections.
const leap = time.Second

// clock tells how long a budget has existed, and never goes back. The monotonic clock stands
// still on some platforms while a process or its machine is frozen; the wall clock knows
// better then, and what passed counts. When the wall clock is set back, nothing happens.
type clock struct {
	epoch time.Time
	wall  func() time.Time

	mu    sync.Mutex
	began time.Time     // epoch by the wall clock
	drift time.Duration // by which the wall clock was ahead when last looked at
	ahead time.Duration // what the monotonic clock has missed
}

func newClock(wall func() time.Time) *clock {
	return &clock{epoch: time.Now(), wall: wall, began: wall()}
}

// wallClock has no monotonic reading.
func wallClock() time.Time { return time.Now().Round(0) }

func (c *clock) now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := time.Since(c.epoch)
	drift := c.wall().Sub(c.began) - passed
	if drift-c.drift > leap {
		c.ahead += drift - c.drift
	}
	c.drift = drift
	return passed + c.ahead
}
