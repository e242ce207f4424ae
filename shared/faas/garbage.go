package faas

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Headroom is the garbage, in bytes, that a function collects at a time.
const Headroom = 72 << 20

// BoundGarbage lets the heap grow by about headroom bytes between collections rather than
// by its own size again: a small function collects seldom, and one that holds thousands of
// streams does not take twice what it needs. The growth stays between a quarter and four
// times what is live. It holds for the whole process, from the first call on; programs whose
// users set GOGC should not call it.
func BoundGarbage(headroom uint64) {
	bounded.Do(func() { bound(headroom) })
}

var bounded sync.Once

// bound sets the growth until the next collection, after which it is called again.
func bound(headroom uint64) {
	sizes := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sizes)
	var live uint64 // what the percentage is of
	for _, size := range sizes {
		if size.Value.Kind() != metrics.KindUint64 {
			return
		}
		live += size.Value.Uint64()
	}
	percent := headroom * 100 / max(live, 1<<20)
	debug.SetGCPercent(int(min(max(percent, 25), 400)))
	// An object that nobody holds is cleaned up by the next collection.
	runtime.AddCleanup(new([64]byte), bound, headroom)
}
