package directory

import (
	"sync"
	"time"

	"xinghe/shared/jobs"
)

// recent remembers what stands in the directory for the pairs that came last: at least
// limit of them, and at most twice as many.
type recent struct {
	limit int

	mu         sync.Mutex
	young, old map[string]span
}

// span is an entry's FirstSeen and LastSeen in Unix milliseconds.
type span struct{ first, last int64 }

// due reports whether an event of that time could change the pair's entry.
func (r *recent) due(key string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.young[key]
	if !ok {
		if s, ok = r.old[key]; !ok {
			return true
		}
		r.keep(key, s)
	}
	return at.UnixMilli() < s.first || at.UnixMilli()-s.last >= jobs.DirectoryEvery.Milliseconds()
}

func (r *recent) set(key string, entry jobs.DirectoryEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(key, span{entry.FirstSeen.UnixMilli(), entry.LastSeen.UnixMilli()})
}

func (r *recent) keep(key string, s span) {
	if _, here := r.young[key]; !here && len(r.young) >= r.limit || r.young == nil {
		r.old, r.young = r.young, make(map[string]span)
	}
	r.young[key] = s
}
