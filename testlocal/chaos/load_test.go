package chaos

import (
	"fmt"
	"testing"
	"time"

	"xinghe/testlocal/emulator"
)

// load is what upstream saw of the workers.
type load struct {
	at     []time.Time
	status map[int]int // how often it answered so; 0 if it broke off
}

func loadOf(requests []emulator.Request) load {
	l := load{status: map[int]int{}}
	for _, r := range requests {
		if r.Route == routeHistories {
			l.at = append(l.at, r.Time)
			l.status[r.Status]++
		}
	}
	return l
}

// most is how many requests came within any time of that length.
func (l load) most(span time.Duration) (most int) {
	first := 0
	for i, at := range l.at {
		for at.Sub(l.at[first]) >= span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func (l load) String() string {
	if len(l.at) == 0 {
		return "no requests"
	}
	span := l.at[len(l.at)-1].Sub(l.at[0])
	return fmt.Sprintf("%d requests, %.1f a second, at most %d in one second and %d in ten; answers %v",
		len(l.at), float64(len(l.at))/span.Seconds(), l.most(time.Second), l.most(10*time.Second), l.status)
}

// used tells how much of the rate was used, and expects 95 % of it: from the first request
// on, until the last windows are under way.
func (l load) used(t *testing.T, rate int) {
	t.Helper()
	share := func(requests int) float64 {
		return 100 * float64(requests-1) / l.at[requests-1].Sub(l.at[0]).Seconds() / float64(rate)
	}
	whole, most := share(len(l.at)), share(len(l.at)*95/100)
	t.Logf("%.1f %% of the budget is used from the first request to the last, %.1f %% until 5 %% of them are left", whole, most)
	if most < 95 {
		t.Error("that is less than 95 %")
	}
}
