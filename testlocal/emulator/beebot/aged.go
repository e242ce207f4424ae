package beebot

import (
	"sync"
	"time"
)

// Bounds of what the server remembers; beyond them the oldest is forgotten.
const (
	maxTokens   = 1 << 17
	maxSessions = 1 << 17
	maxMessages = 1 << 16
)

// aged is a map whose entries are forgotten a lifetime after they were last put, or earlier
// when there are more than limit. It is safe for concurrent use.
type aged[V any] struct {
	lifetime time.Duration
	limit    int

	mu      sync.Mutex
	entries map[string]agedEntry[V]
	queue   []agedKey
	turn    uint64
}

type agedEntry[V any] struct {
	value V
	since time.Time
	turn  uint64
}

type agedKey struct {
	key   string
	since time.Time
	turn  uint64
}

func newAged[V any](lifetime time.Duration, limit int) *aged[V] {
	return &aged[V]{lifetime: lifetime, limit: limit, entries: make(map[string]agedEntry[V])}
}

func (a *aged[V]) get(key string, now time.Time) (V, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entry, ok := a.entries[key]
	if !ok || now.Sub(entry.since) >= a.lifetime {
		var none V
		return none, false
	}
	return entry.value, true
}

func (a *aged[V]) put(key string, value V, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(key, value, now)
}

// add puts the value unless the key is there already, and returns what is there now.
func (a *aged[V]) add(key string, value V, now time.Time) (V, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry, ok := a.entries[key]; ok && now.Sub(entry.since) < a.lifetime {
		return entry.value, false
	}
	a.store(key, value, now)
	return value, true
}

func (a *aged[V]) remove(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.entries, key)
}

// removeIf removes the entries that match; it looks at all of them.
func (a *aged[V]) removeIf(match func(V) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, entry := range a.entries {
		if match(entry.value) {
			delete(a.entries, key)
		}
	}
}

func (a *aged[V]) store(key string, value V, now time.Time) {
	a.turn++
	a.entries[key] = agedEntry[V]{value: value, since: now, turn: a.turn}
	a.queue = append(a.queue, agedKey{key: key, since: now, turn: a.turn})
	a.forget(now)
}

// forget drops what is too old or too much from the front of the queue. A key that was put
// again stands there twice; only its last place counts.
func (a *aged[V]) forget(now time.Time) {
	n := 0
	for n < len(a.queue) {
		front := a.queue[n]
		entry, ok := a.entries[front.key]
		current := ok && entry.turn == front.turn
		if current && now.Sub(front.since) < a.lifetime && len(a.entries) <= a.limit {
			break
		}
		if current {
			delete(a.entries, front.key)
		}
		n++
	}
	a.queue = a.queue[n:]
	if len(a.queue) > 2*len(a.entries)+64 {
		a.compact()
	}
}

func (a *aged[V]) compact() {
	kept := make([]agedKey, 0, len(a.entries))
	for _, item := range a.queue {
		if entry, ok := a.entries[item.key]; ok && entry.turn == item.turn {
			kept = append(kept, item)
		}
	}
	a.queue = kept
}
