package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/schedule"
	"xinghe/testlocal/natstest"
)

const nightly = `{"name":"nightly","characters":"my","users":"directory","from":"2024-05-01T00:00:00Z","watermark":{"name":"nightly"}}`

// calendar is a NATS server with a stream of schedules, and runs commands against it.
func calendar(t *testing.T) (run func(stdin string, args ...string) result) {
	t.Helper()
	srv := natstest.Listen(t, "user", "canary")
	vars := map[string]string{"NATS_URL": strings.Replace(srv.URL(), "nats://", "nats://user:canary@", 1), "XINGHE_URL": "not looked at"}
	q, err := queue.Open(queue.ConnConfig{URL: vars["NATS_URL"]}, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	if err := q.EnsureSchedules(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func(stdin string, args ...string) result {
		t.Helper()
		return commandWith(t, vars, stdin, append([]string{"schedule"}, args...)...)
	}
}

func TestScheduleSetListRemove(t *testing.T) {
	t.Parallel()
	run := calendar(t)
	file := filepath.Join(t.TempDir(), "spec.json")
	if err := os.WriteFile(file, []byte(nightly), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(nightly, "set", "b", "--cron", "0 30 4 * * mon", "-")
	if want := `{"name":"b","cron":"0 30 4 * * mon","timeZone":"UTC",`; got.code != exitDone || !strings.HasPrefix(got.stdout, want) {
		t.Errorf("set: %+v", got)
	}
	for _, cron := range []string{"0 0 0 1 1 *", "0 0 3 * * *"} { // the second takes the place of the first
		if got := run("", "set", "a", "--cron", cron, "--time-zone", "Asia/Shanghai", file); got.code != exitDone {
			t.Errorf("set: %+v", got)
		}
	}
	var list []schedule.Status
	got = run("", "list")
	for line := range strings.Lines(got.stdout) {
		var status schedule.Status
		if err := json.Unmarshal([]byte(line), &status); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, status)
	}
	if got.code != exitDone || len(list) != 2 || list[0].Name != "a" || list[0].Cron != "0 0 3 * * *" || string(list[0].Spec) != nightly || list[0].Last != nil {
		t.Fatalf("list: %+v", got)
	}
	if next := list[0].Next; next.Format("15:04:05") != "19:00:00" || time.Until(next) > 25*time.Hour {
		t.Errorf("a is due at %s", next)
	}
	if got := run("", "remove", "a"); got != (result{}) {
		t.Errorf("remove: %+v", got)
	}
	if got := run("", "remove", "a"); got.code != exitFailed || got.stderr != "xinghe: there is no schedule \"a\"\n" {
		t.Errorf("remove again: %+v", got)
	}
	if got := run("", "list", "--json"); strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("list: %+v", got)
	}
}

func TestScheduleUsage(t *testing.T) {
	t.Parallel()
	run := calendar(t)
	for _, tc := range []struct {
		stdin, want string
		args        []string
	}{
		{"", "which command?", nil},
		{"", "usage:", []string{"set", "a"}},
		{nightly, "0 fields, want six", []string{"set", "a", "-"}},
		{nightly, "5 fields, want six", []string{"set", "a", "-", "--cron", "0 3 * * *"}},
		{nightly, `hour "25": "25" is no number from 0 to 23`, []string{"set", "a", "-", "--cron", "0 0 25 * * *"}},
		{nightly, `time zone "Asia/Nowhere"`, []string{"set", "a", "-", "--cron", "0 0 3 * * *", "--time-zone", "Asia/Nowhere"}},
		{nightly, "name: only letters", []string{"set", "a b", "-", "--cron", "0 0 3 * * *"}},
		{`{"name":"n"}`, "spec: characters: missing", []string{"set", "a", "-", "--cron", "0 0 3 * * *"}},
		{"", "read the spec: ", []string{"set", "a", "no/such/file", "--cron", "0 0 3 * * *"}},
		{"", "usage:", []string{"list", "a"}},
		{"", "usage:", []string{"remove"}},
	} {
		if got := run(tc.stdin, tc.args...); got.code != exitUsage || !strings.Contains(got.stderr, tc.want) || got.stdout != "" {
			t.Errorf("%v: %+v, want %q", tc.args, got, tc.want)
		}
	}
	if got := run("", "list"); got != (result{}) {
		t.Errorf("something was stored: %+v", got)
	}
	srv := natstest.Listen(t, "", "")
	got := commandWith(t, map[string]string{"NATS_URL": srv.URL()}, "", "schedule", "list")
	if want := "stream XINGHE_SCHEDULES does not exist: is a worker running?\n"; got.code != exitFailed || !strings.HasSuffix(got.stderr, want) {
		t.Errorf("without a stream: %+v", got)
	}
}

func TestSchedulesForReading(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 5, 1, 19, 0, 0, 0, time.UTC)
	s := schedule.Schedule{Name: "a", Cron: "0 0 3 * * *", TimeZone: "Asia/Shanghai"}
	run := func(outcome schedule.Outcome, id, reason string) *schedule.Run {
		return &schedule.Run{Due: at, Outcome: outcome, ExportID: id, Reason: reason}
	}
	var out bytes.Buffer
	err := tabulateSchedules(&out, []schedule.Status{
		{Schedule: s, Next: at},
		{Schedule: s, Next: at, Last: run(schedule.Started, "exp_1", ""), Export: jobs.StatePartial},
		{Schedule: s, Next: at, Last: run(schedule.Started, "exp_2", "")},
		{Schedule: s, Next: at, Last: run(schedule.Skipped, "", "busy\x1b[2J")},
		{Schedule: s, Fault: "cannot be read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `NAME  CRON         TIME ZONE      NEXT                  LAST                  WHAT BECAME OF IT
a     0 0 3 * * *  Asia/Shanghai  2024-05-01T19:00:00Z                        
a     0 0 3 * * *  Asia/Shanghai  2024-05-01T19:00:00Z  2024-05-01T19:00:00Z  exp_1 partial
a     0 0 3 * * *  Asia/Shanghai  2024-05-01T19:00:00Z  2024-05-01T19:00:00Z  exp_2 is not known any more
a     0 0 3 * * *  Asia/Shanghai  2024-05-01T19:00:00Z  2024-05-01T19:00:00Z  skipped: busy·[2J
a     0 0 3 * * *  Asia/Shanghai                                              cannot be read
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
