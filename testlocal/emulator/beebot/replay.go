package beebot

import (
	"sync"
	"time"
)

// nonceStore remembers the nonces of signed calls for as long as their time stamps are good.
// A stamp may lie one window behind and one ahead, so each of two generations lasts for two.
type nonceStore struct {
	lifetime time.Duration

	mu           sync.Mutex
	young, old   map[uint64]struct{}
	youngStarted time.Time
}

func newNonceStore(window time.Duration) *nonceStore {
	return &nonceStore{lifetime: 2 * window, young: make(map[uint64]struct{})}
}

// admit reports whether the key has not used the nonce before.
func (n *nonceStore) admit(key, nonce string, now time.Time) bool {
	id := mix(0, key, nonce)
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.youngStarted) >= n.lifetime {
		n.old, n.young, n.youngStarted = n.young, make(map[uint64]struct{}), now
	}
	if _, used := n.young[id]; used {
		return false
	}
	if _, used := n.old[id]; used {
		return false
	}
	n.young[id] = struct{}{}
	return true
}

// rateStore counts the calls of each key in windows of one second.
type rateStore struct {
	limit int

	mu      sync.Mutex
	windows map[string]rateWindow
}

type rateWindow struct {
	since time.Time
	used  int
}

func newRateStore(limit int) *rateStore {
	return &rateStore{limit: limit, windows: make(map[string]rateWindow)}
}

// admit counts one call and returns for how long the key must wait, 0 if not at all.
func (r *rateStore) admit(key string, now time.Time) time.Duration {
	if r.limit == 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	window := r.windows[key]
	if now.Sub(window.since) >= time.Second {
		window = rateWindow{since: now}
	}
	window.used++
	r.windows[key] = window
	if window.used <= r.limit {
		return 0
	}
	return window.since.Add(time.Second).Sub(now)
}
