package directory

import (
	"strconv"
	"testing"
	"time"

	"xinghe/shared/jobs"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func TestDue(t *testing.T) {
	t.Parallel()
	r := recent{limit: 1}
	r.set("a", jobs.DirectoryEntry{FirstSeen: noon, LastSeen: noon.Add(time.Hour)})
	for _, tc := range []struct {
		key  string
		at   time.Time
		want bool
	}{
		{"b", noon, true},
		{"a", noon, false},
		{"a", noon.Add(-time.Millisecond), true},
		{"a", noon.Add(2*time.Hour - time.Millisecond), false},
		{"a", noon.Add(2 * time.Hour), true},
	} {
		if got := r.due(tc.key, tc.at); got != tc.want {
			t.Errorf("due(%s, %s): %v", tc.key, tc.at, got)
		}
	}
}

func TestRecentIsBoundedAndKeepsTheLatest(t *testing.T) {
	t.Parallel()
	const limit = 20
	entry := jobs.DirectoryEntry{FirstSeen: noon, LastSeen: noon}
	for count := 1; count < 5*limit; count++ {
		r := recent{limit: limit}
		for i := range count {
			r.set(strconv.Itoa(i), entry)
			if r.due("0", noon) { // which is in use all the time
				t.Fatalf("after %d others a pair in use is forgotten", i)
			}
			if n := len(r.young) + len(r.old); n > 2*limit {
				t.Fatalf("%d pairs are remembered", n)
			}
		}
		// Oldest first: what is asked for counts as used.
		for i := max(1, count-limit+2); i < count; i++ {
			if r.due(strconv.Itoa(i), noon) {
				t.Errorf("of %d pairs number %d is forgotten", count, i)
			}
		}
		if count > 3*limit && !r.due("1", noon) {
			t.Errorf("of %d pairs the oldest is not forgotten", count)
		}
	}
}
