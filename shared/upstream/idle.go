package upstream

import (
	"sync/atomic"
	"time"
)

// idle watches a stream's waiting. What happens for every frame, begin and end, costs a look
// at the clock and no timer: the timer looks later what has become of the waiting, and is
// set again if that began after it was set.
type idle struct {
	since   atomic.Int64 // when the waiting began, in nanoseconds of [clock]; 0 if nobody waits
	limit   atomic.Int64 // how long to wait
	timer   *time.Timer
	expire  func()
	stopped atomic.Bool
}

// epoch is before all waiting.
var epoch = time.Now().Add(-time.Second)

func clock() int64 { return int64(time.Since(epoch)) }

// watch begins to wait, for limit; after that expire is called, once.
func (i *idle) watch(limit time.Duration, expire func()) {
	i.expire = expire
	i.timer = time.AfterFunc(time.Hour, i.look)
	i.restart(limit) // not before the timer has its name
}

func (i *idle) begin() { i.since.Store(clock()) }

func (i *idle) end() { i.since.Store(0) }

// restart begins to wait, with another limit.
func (i *idle) restart(limit time.Duration) {
	i.limit.Store(int64(limit))
	i.begin()
	i.timer.Reset(limit)
}

func (i *idle) stop() {
	i.stopped.Store(true)
	i.timer.Stop()
}

// look is called by the timer.
func (i *idle) look() {
	limit, since := i.limit.Load(), i.since.Load()
	left := limit
	if since != 0 {
		left = since + limit - clock()
	}
	if left <= 0 {
		i.expire()
		return
	}
	i.timer.Reset(time.Duration(left))
	if i.stopped.Load() {
		i.timer.Stop() // it was stopped before it was set again
	}
}
