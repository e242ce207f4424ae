package delivery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

func TestIll(t *testing.T) {
	t.Parallel()
	cfg := Config{Rest: func(times int) time.Duration { return time.Duration(times) * time.Minute }}.withDefaults()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(after time.Duration) *time.Time {
		then := now.Add(after)
		return &then
	}
	for _, tc := range []struct {
		name   string
		before jobs.Webhook
		f      failure
		want   jobs.Webhook
	}{
		{
			"the first",
			jobs.Webhook{},
			failure{count: 1},
			jobs.Webhook{Failures: 1, Since: at(0)},
		},
		{
			"some more",
			jobs.Webhook{Failures: 3, Since: at(-time.Hour)},
			failure{count: 4},
			jobs.Webhook{Failures: 7, Since: at(-time.Hour)},
		},
		{
			"too many in a row",
			jobs.Webhook{Failures: 19, Since: at(-time.Hour)},
			failure{count: 1, resting: true},
			jobs.Webhook{Failures: 20, Since: at(-time.Hour), Rests: 1, RestUntil: at(time.Minute)},
		},
		{
			"the event that was let through",
			jobs.Webhook{Failures: 20, Since: at(-time.Hour), Rests: 2, RestUntil: at(-1)},
			failure{count: 1, probe: true},
			jobs.Webhook{Failures: 21, Since: at(-time.Hour), Rests: 3, RestUntil: at(3 * time.Minute)},
		},
		{
			"one that was under way",
			jobs.Webhook{Failures: 20, Since: at(-time.Hour), Rests: 2, RestUntil: at(time.Minute)},
			failure{count: 1},
			jobs.Webhook{Failures: 21, Since: at(-time.Hour), Rests: 2, RestUntil: at(time.Minute)},
		},
		{
			"asked to wait",
			jobs.Webhook{},
			failure{count: 1, after: time.Hour},
			jobs.Webhook{Failures: 1, Since: at(0), RestUntil: at(time.Hour)},
		},
		{
			"asked to wait for less than is left",
			jobs.Webhook{Failures: 1, Since: at(0), RestUntil: at(time.Hour)},
			failure{count: 1, after: time.Minute},
			jobs.Webhook{Failures: 2, Since: at(0), RestUntil: at(time.Hour)},
		},
		{
			"asked to wait, and too many",
			jobs.Webhook{Failures: 1, Since: at(0)},
			failure{count: 1, after: time.Hour, resting: true},
			jobs.Webhook{Failures: 2, Since: at(0), Rests: 1, RestUntil: at(time.Hour)},
		},
		{
			"for too long",
			jobs.Webhook{Failures: 4, Since: at(-12 * time.Hour)},
			failure{count: 1},
			jobs.Webhook{Failures: 5, Since: at(-12 * time.Hour), PausedAt: at(0), Reason: jobs.PauseFailing, RestUntil: at(6 * time.Hour)},
		},
		{
			"for long, but too few",
			jobs.Webhook{Failures: 3, Since: at(-12 * time.Hour)},
			failure{count: 1},
			jobs.Webhook{Failures: 4, Since: at(-12 * time.Hour)},
		},
		{
			"in a pause",
			jobs.Webhook{Failures: 9, Since: at(-20 * time.Hour), PausedAt: at(-time.Hour), Reason: jobs.PauseFailing, RestUntil: at(time.Hour)},
			failure{count: 1, resting: true},
			jobs.Webhook{Failures: 10, Since: at(-20 * time.Hour), PausedAt: at(-time.Hour), Reason: jobs.PauseFailing, RestUntil: at(time.Hour)},
		},
		{
			"at the end of a pause",
			jobs.Webhook{Failures: 9, Since: at(-20 * time.Hour), PausedAt: at(-6 * time.Hour), Reason: jobs.PauseFailing, RestUntil: at(-1)},
			failure{count: 1, probe: true},
			jobs.Webhook{Failures: 10, Since: at(-20 * time.Hour), PausedAt: at(-6 * time.Hour), Reason: jobs.PauseFailing, RestUntil: at(6 * time.Hour)},
		},
		{
			"gone",
			jobs.Webhook{Failures: 2, Since: at(-time.Hour), Rests: 1, RestUntil: at(time.Hour)},
			failure{count: 1, gone: true},
			jobs.Webhook{Failures: 3, Since: at(-time.Hour), Rests: 1, PausedAt: at(0), Reason: jobs.PauseGone},
		},
		{
			"gone after a pause",
			jobs.Webhook{Failures: 9, Since: at(-20 * time.Hour), PausedAt: at(-6 * time.Hour), Reason: jobs.PauseFailing, RestUntil: at(-1)},
			failure{count: 1, gone: true, probe: true},
			jobs.Webhook{Failures: 10, Since: at(-20 * time.Hour), PausedAt: at(-6 * time.Hour), Reason: jobs.PauseGone},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.f.text, tc.want.Error = "answered 500", "answered 500"
			if diff := cmp.Diff(tc.want, cfg.ill(tc.before, tc.f, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ types, want []string }{
		{[]string{"*"}, []string{"xinghe.events.>"}},
		{[]string{"xinghe.*"}, []string{"xinghe.events.>"}},
		{[]string{"export.done", "xinghe.export.done"}, []string{"xinghe.events.export.done"}},
		{[]string{"export.done", "export.*", "image.ready"}, []string{"xinghe.events.export.>", "xinghe.events.image.ready"}},
		{[]string{"a.*", "a.b.*", "a.b.c", "ab.c"}, []string{"xinghe.events.a.>", "xinghe.events.ab.c"}},
		{[]string{"a.*", "*", "b"}, []string{"xinghe.events.>"}},
	} {
		if diff := cmp.Diff(tc.want, filters(tc.types)); diff != "" {
			t.Errorf("%v: %s", tc.types, diff)
		}
	}
}
