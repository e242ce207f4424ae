package faas

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"xinghe/shared/env"
)

// Headroom is the garbage, in bytes, that a function collects at a time.
const Headroom = 88 << 20

// BoundGarbage lets the heap grow by about headroom bytes between collections rather than
// by its own size again: a small function collects seldom, and one that holds thousands of
// streams does not take twice what it needs. The growth stays between a quarter and four
// times what is live. It holds for the whole process, from the first call on; programs whose
// users set GOGC should not call it.
func BoundGarbage(headroom uint64) {
	bounded.Do(func() { bound(headroom) })
}

var bounded sync.Once

// LimitMemory makes the collector work harder as the process comes near the memory that its
// platform gives it, instead of being killed: the limit is nine tenths of that, unless
// GOMEMLIMIT sets another.
func LimitMemory(vars *env.Vars) {
	if limit := memoryLimit(vars); limit > 0 && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(limit)
	}
}

// memoryLimit is in bytes, of what the platforms tell in MB; 0 if they tell nothing.
func memoryLimit(vars *env.Vars) int64 {
	size := vars.Int("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0, 0)
	if size == 0 {
		size = vars.Int("FC_FUNCTION_MEMORY_SIZE", 0, 0)
	}
	return int64(size) << 20 / 10 * 9
}

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
