package xingchen

import (
	"sync"
	"time"
)

// quota lets so many requests of an account through in each second of the clock.
type quota struct {
	perSecond int

	mu     sync.Mutex
	second int64
	used   map[string]int
}

func (q *quota) admit(account string, now time.Time) bool {
	if q.perSecond <= 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if second := now.Unix(); q.used == nil || second != q.second {
		q.second, q.used = second, make(map[string]int)
	}
	q.used[account]++
	return q.used[account] <= q.perSecond
}
