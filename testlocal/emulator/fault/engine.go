package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Request is what rules select by.
type Request struct {
	// Route as in [Rule].
	Route string
	// Key is the caller's key or access key id.
	Key string
	// User is the end user, empty where a route has none.
	User string
}

// Engine holds the rules in force. It is safe for concurrent use.
type Engine struct {
	now    func() time.Time
	refuse func(time.Duration)

	mu     sync.Mutex
	seed   uint64
	rules  []Rule
	struck []int
	seen   map[uint64]uint64
	quotas map[quotaKey]quotaWindow
}

type quotaKey struct {
	rule int
	key  string
}

type quotaWindow struct {
	since time.Time
	used  int
}

// New makes an engine without rules. The seed decides every chance.
func New(seed uint64) *Engine { return &Engine{seed: seed, now: time.Now} }

// SetClock replaces the clock of quota windows (default time.Now). Call it before the engine is used.
func (e *Engine) SetClock(now func() time.Time) { e.now = now }

// OnRefuse names who closes the port when Refuse strikes with a Delay; it is told the delay. Call it before the engine is
// used.
func (e *Engine) OnRefuse(shut func(time.Duration)) { e.refuse = shut }

// Set replaces all rules and begins to count anew. It keeps the old rules if one of the new is invalid.
func (e *Engine) Set(rules ...Rule) error { return e.Apply(Set{Rules: rules}) }

// Apply replaces all rules, and the seed unless it is 0. It keeps the old rules if one of the new is invalid.
func (e *Engine) Apply(set Set) error {
	for i, rule := range set.Rules {
		if err := rule.Validate(); err != nil {
			return fmt.Errorf("rules[%d]: %w", i, err)
		}
	}
	e.mu.Lock()
	if set.Seed != 0 {
		e.seed = set.Seed
	}
	e.rules = slices.Clone(set.Rules)
	e.struck = make([]int, len(e.rules))
	e.seen = make(map[uint64]uint64)
	e.quotas = make(map[quotaKey]quotaWindow)
	e.mu.Unlock()
	return nil
}

// Clear removes all rules and keeps the seed.
func (e *Engine) Clear() { _ = e.Apply(Set{}) }

// Snapshot returns the rules in force and the seed that replays them.
func (e *Engine) Snapshot() Set {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Set{Seed: e.seed, Rules: slices.Clone(e.rules)}
}

// Match decides what happens to one request; nil if nothing does. It leaves a note in the context's [Trace], if any.
// Rules of meaning may be matched again: each call counts as one more request.
func (e *Engine) Match(ctx context.Context, req Request) *Plan {
	plan := e.match(req)
	if trace := traceFrom(ctx); trace != nil {
		trace.note(req, plan)
	}
	return plan
}

func (e *Engine) match(req Request) *Plan {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.rules) == 0 {
		return nil
	}
	var plan *Plan
	for i, rule := range e.rules {
		if !rule.selects(req) || rule.Times > 0 && e.struck[i] >= rule.Times {
			continue
		}
		chance := e.chance(i, req)
		if rule.Share > 0 && chance.Float64() >= rule.Share {
			continue
		}
		if rule.Fault == Quota && e.withinQuota(i, rule, req.Key) {
			continue
		}
		if plan == nil {
			plan = &Plan{chance: chance, refuse: e.refuse}
		}
		if plan.add(rule) {
			e.struck[i]++
		}
	}
	return plan
}

// maxSeen bounds the counters; beyond it requests of unknown callers share one.
const maxSeen = 1 << 20

// chance is the source of randomness of one rule for one request: the nth that this caller sent, whatever others do
// meanwhile.
func (e *Engine) chance(rule int, req Request) *rand.Rand {
	id := mix(uint64(rule)+1, req.Route, req.Key, req.User)
	if _, known := e.seen[id]; !known && len(e.seen) >= maxSeen {
		id = 0
	}
	nth := e.seen[id]
	e.seen[id] = nth + 1
	return rand.New(rand.NewPCG(e.seed^id, nth))
}

func (e *Engine) withinQuota(index int, rule Rule, key string) bool {
	id := quotaKey{rule: index, key: key}
	now := e.now()
	window, known := e.quotas[id]
	if !known || rule.Window > 0 && now.Sub(window.since) >= rule.Window {
		window = quotaWindow{since: now}
	}
	window.used++
	if len(e.quotas) < maxSeen || known {
		e.quotas[id] = window
	}
	return window.used <= rule.Limit
}

// mix is FNV-1a over the parts, so that a run can be replayed in another process.
func mix(seed uint64, parts ...string) uint64 {
	const prime = 1099511628211
	sum := uint64(14695981039346656037) ^ seed
	for _, part := range parts {
		for i := range len(part) {
			sum = (sum ^ uint64(part[i])) * prime
		}
		sum = (sum ^ 0xff) * prime
	}
	return sum
}
