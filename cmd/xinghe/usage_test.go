package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/queue"
	"xinghe/shared/usage"
	"xinghe/testlocal/natstest"
)

// ledger is a NATS server with usage of today, the day before, and 400 days ago.
func ledger(t *testing.T) (run func(args ...string) result, today string) {
	t.Helper()
	srv := natstest.Listen(t, "user", "canary")
	vars := map[string]string{"NATS_URL": strings.Replace(srv.URL(), "nats://", "nats://user:canary@", 1), "XINGHE_URL": "not looked at"}
	q, err := queue.Open(queue.ConnConfig{URL: vars["NATS_URL"]}, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	all, err := usage.Open(q)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	counts := usage.Counts{Requests: 1, OutputTokens: 5}
	var events []usage.Event
	for i, event := range []usage.Event{
		{At: now, Key: "ci", Bot: "beebot:b"},
		{At: now, Key: "ci", Bot: "character:a"},
		{At: now, Bot: "character:a"},
		{At: now.UTC().AddDate(0, 0, -1), Key: "ci", Bot: "character:a"},
		{At: now.UTC().AddDate(0, 0, -400), Key: "ci", Bot: "character:a"},
	} {
		event.Counts, event.Position = counts, usage.Position{Stream: now, Sequence: uint64(i + 1)}
		events = append(events, event)
	}
	if err := all.Count(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) result {
		t.Helper()
		return commandWith(t, vars, "", append([]string{"usage"}, args...)...)
	}, usage.Day(now)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	run, today := ledger(t)
	if usage.Day(time.Now().Add(time.Minute)) != today { // at midnight, wait for the new day's
		for usage.Day(time.Now()) == today {
			<-time.After(time.Second)
		}
		run, today = ledger(t)
	}
	counted := func(n string) string {
		return `"requests":` + n + `,"failures":0,"inputTokens":0,"outputTokens":` + map[string]string{"1": "5", "2": "10", "3": "15"}[n] + `,"incomplete":0,"throttledMs":0}` + "\n"
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--since", "1d"}, `{"day":"` + today + `","bot":"character:a",` + counted("1") +
			`{"day":"` + today + `","key":"ci","bot":"beebot:b",` + counted("1") + `{"day":"` + today + `","key":"ci","bot":"character:a",` + counted("1")},
		{[]string{"--by", "bot"}, `{"bot":"beebot:b",` + counted("1") + `{"bot":"character:a",` + counted("3")},
		{[]string{"--by", "key", "--since", "400d", "--json"}, `{` + counted("1") + `{"key":"ci",` + counted("3")},
		{[]string{"--by", "day", "--since", "1d"}, `{"day":"` + today + `",` + counted("3")},
	} {
		got := run(tc.args...)
		if diff := cmp.Diff(tc.want, got.stdout); diff != "" || got.code != exitDone || got.stderr != "" {
			t.Errorf("%v: %+v (-want +got):\n%s", tc.args, got, diff)
		}
	}
	for args, want := range map[string]string{
		"--since 7":      `--since "7": want 1d to 400d`,
		"--since 0d":     "want 1d",
		"--since 401d":   "want 1d",
		"--since xd":     "want 1d",
		"--by user":      "none of day, key, bot",
		"extra":          "usage:",
		"--timeout 0s":   "at least 1ms",
		"--no-such-flag": "unknown flag",
	} {
		if got := run(strings.Fields(args)...); got.code != exitUsage || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
}

func TestUsageForReading(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := tabulateUsage(&out, []usage.Row{
		{Day: "2024-05-01", Bot: "character:a", Counts: usage.Counts{Requests: 3, Failures: 1, InputTokens: 10, OutputTokens: 20, Incomplete: 1, ThrottledMs: 1500}},
		{Day: "2024-05-02", Key: "c\x1bi", Bot: "beebot:b", Counts: usage.Counts{Requests: 1, Incomplete: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `DAY         KEY  BOT          REQUESTS  FAILURES  INPUT TOKENS  OUTPUT TOKENS  INCOMPLETE  THROTTLED
2024-05-01  -    character:a  3         1         10            20             1           1.5s
2024-05-02  c·i  beebot:b     1         0         0             0              1           0s
all         -    -            4         1         10            20             2           1.5s
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
