package budget

import "time"

// meter measures how many requests a second of a class are wanted: those that came, and,
// as callers that were held up would have come again sooner, more the longer they waited.
type meter struct {
	since   time.Duration // beginning of the window
	calls   int           // that came in the window
	blocked time.Duration // part of the window during which somebody waited
	waiting bool
	from    time.Duration // since when somebody waits
	last    float64       // wanted in the window before, halved with each window
}

// queued notes whether anybody waits.
func (m *meter) queued(now time.Duration, waiting bool) {
	if waiting == m.waiting {
		return
	}
	if m.waiting {
		m.blocked += now - m.from
	}
	m.waiting, m.from = waiting, now
}

// measure returns the demand, at most rate, and begins a new window once this one is an
// interval long. Demand that vanishes fades, as traffic comes in bursts.
func (m *meter) measure(class Class, now, interval time.Duration, rate float64) float64 {
	elapsed := now - m.since
	blocked := m.blocked
	if m.waiting {
		blocked += now - max(m.from, m.since)
	}
	held := 0.0
	if elapsed > 0 {
		held = min(float64(blocked)/float64(elapsed), 1)
	}
	perSecond := float64(m.calls) / max(elapsed, interval).Seconds()
	want := max(wanted(class, perSecond, held, rate), m.last)
	if class == Bulk && m.waiting && m.calls <= 1 {
		want = rate // it has just begun, or gets next to nothing
	}
	if elapsed >= interval*9/10 {
		m.since, m.calls, m.blocked = now, 0, 0
		m.from = now
		m.last = want / 2
	}
	if want < rate/1000 {
		m.last = 0
		return 0
	}
	return min(want, rate)
}

// wanted adds headroom. Chat comes at random moments, and would wait long at a rate that
// barely suffices; bulk work can wait.
func wanted(class Class, perSecond, held, rate float64) float64 {
	if class == Bulk {
		if held > 0.9 {
			return rate
		}
		return 1.1 * perSecond / (1 - held)
	}
	if perSecond == 0 {
		return 0
	}
	return 1.5*perSecond/(1-min(held, 0.5)) + 1
}
