package budget

import (
	"testing"
	"time"
)

// setWall gives a budget a wall clock that can be moved.
func setWall(b *Budget) (move func(time.Duration)) {
	ahead := time.Duration(0)
	b.clock = newClock(func() time.Time { return wallClock().Add(ahead) })
	return func(d time.Duration) { ahead += d }
}

func TestClockBelievesAThaw(t *testing.T) {
	t.Parallel()
	b := newBudget(t, Config{Rate: 1})
	move := setWall(b)
	for _, step := range []struct{ moved, want time.Duration }{
		{0, 0}, {time.Hour, time.Hour}, {-time.Hour, time.Hour}, {leap / 2, time.Hour}, {leap / 2, time.Hour}, {2 * time.Hour, 3 * time.Hour},
	} {
		move(step.moved)
		if got := b.now(); got < step.want || got > step.want+patience {
			t.Errorf("moved by %s: %s, want %s", step.moved, got, step.want)
		}
	}
}

// The monotonic clock stood still for an hour, in which the others have divided the share.
func TestAShareIsLostInAFreeze(t *testing.T) {
	t.Parallel()
	b := newBudget(t, Config{Rate: 50, Share: 0.1, Name: "test", Queue: newBroker(t).queue(t)})
	move := setWall(b)
	b.lease.held, b.lease.until = true, b.now()+time.Minute
	b.setShare(30)
	if s := b.State(); s.Rate != 30 {
		t.Errorf("before: %+v", s)
	}
	move(time.Hour)
	if s := b.State(); s.Rate != 5 || s.Members != 0 {
		t.Errorf("after the freeze: %+v", s)
	}
	if waited, err := b.Wait(t.Context(), Chat); waited != 0 || err != nil {
		t.Errorf("a chat call after the freeze waited %s: %v", waited, err)
	}
}
