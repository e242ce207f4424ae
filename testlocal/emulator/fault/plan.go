package fault

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Plan is what happens to one request. A nil plan is valid and does nothing. It belongs to one goroutine.
type Plan struct {
	rules  []Rule
	chance *rand.Rand
	refuse func(time.Duration)
}

// add takes the rule unless its fault is planned already.
func (p *Plan) add(rule Rule) bool {
	if p.Has(rule.Fault) {
		return false
	}
	p.rules = append(p.rules, rule)
	return true
}

// Has reports whether the fault strikes.
func (p *Plan) Has(name Name) bool {
	_, ok := p.Rule(name)
	return ok
}

// Rule returns the rule by which the fault strikes.
func (p *Plan) Rule(name Name) (Rule, bool) {
	if p == nil {
		return Rule{}, false
	}
	i := slices.IndexFunc(p.rules, func(r Rule) bool { return r.Fault == name })
	if i < 0 {
		return Rule{}, false
	}
	return p.rules[i], true
}

// Names lists the faults that strike, in the order of the rules.
func (p *Plan) Names() []Name {
	if p == nil {
		return nil
	}
	names := make([]Name, 0, len(p.rules))
	for _, rule := range p.rules {
		names = append(names, rule.Fault)
	}
	return names
}

// IntN returns a number from 0 to n-1, the same each time the run is replayed. It panics if n < 1.
func (p *Plan) IntN(n int) int {
	if p == nil || p.chance == nil {
		return 0
	}
	return p.chance.IntN(n)
}

// Begin does what happens before the answer: it waits (Latency) and drops the connection (Refuse, or Reset and HalfClose
// without a place). It reports false if the client or the connection is gone; the handler must then return.
func (p *Plan) Begin(w http.ResponseWriter, r *http.Request) bool {
	if p == nil {
		return true
	}
	if rule, ok := p.Rule(Latency); ok {
		if rule.Delay == 0 && rule.Jitter == 0 {
			rule.Delay = 100 * time.Millisecond
		}
		if !wait(r.Context(), rule.Delay+p.jitter(rule.Jitter)) {
			return false
		}
	}
	if rule, ok := p.Rule(Refuse); ok && rule.Delay > 0 && p.refuse != nil {
		p.refuse(rule.Delay)
	}
	if p.Has(Refuse) || p.atStart(Reset) {
		drop(w, true)
		return false
	}
	if p.atStart(HalfClose) {
		drop(w, false)
		return false
	}
	return true
}

func (p *Plan) jitter(limit time.Duration) time.Duration {
	if limit <= 0 || p.chance == nil {
		return 0
	}
	return time.Duration(p.chance.Int64N(int64(limit) + 1))
}

func (p *Plan) atStart(name Name) bool {
	rule, ok := p.Rule(name)
	return ok && rule.AtFrame == 0 && rule.AtByte == 0
}

// Refusal is an answer other than 200 that a fault asks for.
type Refusal struct {
	// Status is 429, 500, 502 or 503.
	Status int
	// RetryAfter is 0 if no Retry-After header goes with it.
	RetryAfter time.Duration
	// Fault is what asked for it.
	Fault Name
}

// SetHeader sets Retry-After if there is one.
func (r Refusal) SetHeader(w http.ResponseWriter) {
	if r.RetryAfter > 0 {
		seconds := (r.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
}

// Refusal returns the refusal that is planned, if any. The caller writes it in its own error shape.
func (p *Plan) Refusal() (Refusal, bool) {
	if p == nil {
		return Refusal{}, false
	}
	for _, rule := range p.rules {
		refusal := Refusal{Fault: rule.Fault, RetryAfter: rule.RetryAfter}
		switch rule.Fault {
		case Throttle, Quota:
			refusal.Status = http.StatusTooManyRequests
			if refusal.RetryAfter == 0 {
				refusal.RetryAfter = time.Second
			}
		case ThrottleBare:
			refusal.Status, refusal.RetryAfter = http.StatusTooManyRequests, 0
		case InternalError:
			refusal.Status = http.StatusInternalServerError
		case BadGateway:
			refusal.Status = http.StatusBadGateway
		case Unavailable:
			refusal.Status = http.StatusServiceUnavailable
		default:
			continue
		}
		return refusal, true
	}
	return Refusal{}, false
}

// Rewrites reports whether the text of frame index (the first is 1) differs from what the frames before it promised.
func (p *Plan) Rewrites(index int) bool {
	rule, ok := p.Rule(Rewrite)
	return ok && index >= orDefault(rule.AtFrame, 2)
}

func orDefault(value, fallback int) int {
	if value == 0 {
		return fallback
	}
	return value
}

func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lingering is how long a half-closed connection waits for the client to close its side.
const lingering = time.Second

// drop ends the connection under w: with a reset, or by closing the sending side without the end of the HTTP body. Where
// the connection cannot be had (HTTP/2, a recorder) it aborts the handler instead.
func drop(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if reset {
		_ = tcp.SetLinger(0)
		return
	}
	_ = tcp.CloseWrite()
	_ = tcp.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.Copy(io.Discard, tcp)
}
