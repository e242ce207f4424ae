package image

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Questions are asked more and more seldom: by default first after 2 s, and every 15 s in
// the end.
func TestTimesOfPolls(t *testing.T) {
	t.Parallel()
	w := Worker{cfg: Config{}.withDefaults()}
	var ages []time.Duration
	for age := w.cfg.FirstPoll; len(ages) < 10; age += w.wait(age) {
		ages = append(ages, age/time.Millisecond)
	}
	want := []time.Duration{2000, 4000, 6000, 9000, 13500, 20250, 30375, 45375, 60375, 75375}
	if diff := cmp.Diff(want, ages); diff != "" {
		t.Error(diff)
	}
	if w.cfg.Deadline != 10*time.Minute {
		t.Errorf("deadline %s", w.cfg.Deadline)
	}
}
