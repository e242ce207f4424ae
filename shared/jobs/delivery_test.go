package jobs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

func TestWantsEvent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		types []string
		kind  string
		want  bool
	}{
		{[]string{"*"}, "export.done", true},
		{[]string{"xinghe.*"}, "export.done", true},
		{[]string{"export.done"}, "xinghe.export.done", true},
		{[]string{"xinghe.export.done"}, "export.done", true},
		{[]string{"export.*"}, "export.done", true},
		{[]string{"export.*"}, "export", false},
		{[]string{"export.*"}, "exports.done", false},
		{[]string{"export.done"}, "export.done.twice", false},
		{[]string{"image.*", "export.failed"}, "export.failed", true},
		{nil, "export.done", false},
	} {
		if got := (jobs.Webhook{Types: tc.types}).Wants(tc.kind); got != tc.want {
			t.Errorf("%v, %s: %v", tc.types, tc.kind, got)
		}
	}
}

func TestWebhookState(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	later, before := now.Add(time.Hour), now.Add(-time.Hour)
	for _, tc := range []struct {
		record jobs.Webhook
		want   string
	}{
		{jobs.Webhook{}, "ok"},
		{jobs.Webhook{Failures: 1, Since: &before}, "failing"},
		{jobs.Webhook{Failures: 20, RestUntil: &later}, "resting"},
		{jobs.Webhook{Failures: 20, RestUntil: &before}, "failing"},
		{jobs.Webhook{Failures: 20, RestUntil: &later, PausedAt: &before}, "paused"},
		{jobs.Webhook{Failures: 1, PausedAt: &before, Reason: jobs.PauseGone}, "paused"},
	} {
		if got := tc.record.State(now); got != tc.want {
			t.Errorf("%+v is %s, want %s", tc.record, got, tc.want)
		}
		tc.record.Name = "crm"
		tc.record.Resume(now)
		if diff := cmp.Diff(jobs.Webhook{Name: "crm", RestUntil: &now}, tc.record); diff != "" {
			t.Errorf("resumed: %s", diff)
		}
	}
}

func TestDeliveryOnTheWire(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for want, value := range map[string]any{
		`{"target":"crm","host":"https://crm.example.com","reason":"failing","error":"answered 500","since":"2026-05-01T12:00:00Z","failures":7,"resumesAt":"2026-05-01T12:00:00Z"}`: jobs.DeliveryPaused{
			Target: "crm", Host: "https://crm.example.com", Reason: jobs.PauseFailing, Error: "answered 500", Since: at, Failures: 7, ResumesAt: &at,
		},
		`{"target":"crm","host":"","reason":"gone","since":"2026-05-01T12:00:00Z","failures":1}`: jobs.DeliveryPaused{
			Target: "crm", Reason: jobs.PauseGone, Since: at, Failures: 1,
		},
		`{"attempts":[{"target":"crm","eventId":"e","type":"export.done","attempt":1,"time":"2026-05-01T12:00:00Z","durMs":9,"status":204}]}`: jobs.DeliveryLog{
			Attempts: []jobs.DeliveryAttempt{{Target: "crm", EventID: "e", Type: "export.done", Attempt: 1, Time: at, DurMs: 9, Status: 204}},
		},
	} {
		got, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Error(diff)
		}
	}
}
