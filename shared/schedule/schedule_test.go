package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/schedule"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

const (
	spec   = `{"name":"nightly","characters":"my","users":"directory","from":"2024-05-01T00:00:00Z","watermark":{"name":"nightly"}}`
	yearly = "0 0 0 1 1 *"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func setup(t *testing.T) (*schedule.Schedules, *queue.Queue) {
	t.Helper()
	q, err := queue.New(natstest.New(t).JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := schedule.Open(q)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.EnsureSchedules(t.Context()); err != nil {
		t.Fatal(err)
	}
	return all, q
}

func made(t *testing.T, name, cron, zone string) schedule.Schedule {
	t.Helper()
	s, err := schedule.New(name, cron, zone, []byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := schedule.New("a/b", "0 0 99 * * *", "UTC", []byte(`{"name":"n","format":"odt"}`))
	for _, want := range []string{`name: only letters`, `hour "99"`, "spec: characters: missing", "spec: users: missing", "spec: from: missing", `spec: format: "odt"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell %q", err, want)
		}
	}
	for _, text := range []string{"", "{", "[]", spec + "{}", `{"nom":"n"}`} {
		if _, err := schedule.New("n", yearly, "", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "spec: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What we take the server takes, and what we refuse it refuses.
func TestLinesAreThoseOfTheServer(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	for _, tc := range faulty {
		s := queue.Schedule{Name: "s", Cron: tc.line, TimeZone: tc.zone}
		shorthand := strings.HasPrefix(tc.line, "@") // of which the server knows some
		if err := q.SetSchedule(t.Context(), s); tc.line != "" && !shorthand && !errors.Is(err, queue.ErrInvalid) {
			t.Errorf("%q in %s: the server says %v", tc.line, tc.zone, err)
		}
	}
	for _, line := range []string{yearly, "* * * * * *", "*/7,3-9/2 ?/3 1,2 */2 feb-NOV/3 sun", "0 10/20 ? * * ?", "0 0 0 29 2 *", "1,2 3-4 5/6 7-8/9 ? Mon-fri"} {
		made(t, "s", line, "Europe/Berlin")
		if err := q.SetSchedule(t.Context(), queue.Schedule{Name: "s", Cron: line, TimeZone: "Europe/Berlin"}); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestDueIsTheSameHoweverOftenItIsTold(t *testing.T) {
	t.Parallel()
	data := fmt.Appendf(nil, `{"name":"nightly","cron":"0 0 3 * * *","timeZone":"Asia/Shanghai","spec":%s}`, spec)
	s, due, err := schedule.Due(data, "2024-05-02T03:00:00+08:00")
	if err != nil || due.Format(time.RFC3339) != "2024-04-30T19:00:00Z" || s.Name != "nightly" || string(s.Spec) != spec {
		t.Fatalf("%+v due at %s, %v", s, due, err)
	}
	if _, again, err := schedule.Due(data, "2024-05-01T19:00:00Z"); err != nil || again != due {
		t.Errorf("due at %s, %v", again, err)
	}
	id := s.ExportID(due)
	if want := "exp_01HWR61HW040Q8R4A4ZR63S8RQ"; id != want || s.ExportID(due.Local()) != want {
		t.Errorf("id %s, want %s", id, want)
	}
	other := s
	other.Name = "weekly"
	if s.ExportID(due.Add(time.Second)) == id || other.ExportID(due) == id {
		t.Error("another time, or another schedule, has the same id")
	}
	for text, next := range map[string]string{string(data): "soon", "{": "2024-05-02T03:00:00Z", `{"name":"n","cron":"x"}`: "2024-05-02T03:00:00Z"} {
		if _, _, err := schedule.Due([]byte(text), next); err == nil {
			t.Errorf("%s, next at %s: no error", text, next)
		}
	}
}

func TestListTellsWhatBecameOfTheLastRun(t *testing.T) {
	t.Parallel()
	all, q := setup(t)
	ctx := t.Context()
	for _, name := range []string{"d", "c", "b", "a"} {
		if err := all.Set(ctx, made(t, name, " 0  0 3 * * *", "Asia/Shanghai")); err != nil {
			t.Fatal(err)
		}
	}
	exports, err := queue.OpenStore[jobs.Export](q, jobs.BucketExports, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exports.Create(ctx, "exp_1", jobs.Export{ID: "exp_1", State: jobs.StatePartial}); err != nil {
		t.Fatal(err)
	}
	started := schedule.Run{Due: noon, At: noon, ExportID: "exp_1", Outcome: schedule.Started}
	skipped := schedule.Run{Due: noon, At: noon, Outcome: schedule.Skipped, Reason: "busy"}
	forgotten := schedule.Run{Due: noon, At: noon, ExportID: "exp_2", Outcome: schedule.Started}
	earlier := schedule.Run{Due: noon.Add(-time.Hour), Outcome: schedule.Refused}
	for _, note := range []struct {
		name string
		run  schedule.Run
	}{{"a", earlier}, {"a", started}, {"a", earlier}, {"b", skipped}, {"c", forgotten}} {
		if err := all.Note(ctx, note.name, note.run); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.SetSchedule(ctx, queue.Schedule{Name: "foreign", Cron: yearly, TimeZone: "UTC", Data: []byte("?")}); err != nil {
		t.Fatal(err)
	}
	got, err := all.List(ctx, noon)
	if err != nil {
		t.Fatal(err)
	}
	status := func(name string, last *schedule.Run, state jobs.State) schedule.Status {
		s := made(t, name, "0 0 3 * * *", "Asia/Shanghai")
		return schedule.Status{Schedule: s, Next: time.Date(2024, 5, 1, 19, 0, 0, 0, time.UTC), Last: last, Export: state}
	}
	want := []schedule.Status{
		status("a", &started, jobs.StatePartial), status("b", &skipped, ""), status("c", &forgotten, ""), status("d", nil, ""),
		{Schedule: schedule.Schedule{Name: "foreign", Cron: yearly, TimeZone: "UTC"}, Fault: "invalid character '?' looking for beginning of value"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(schedule.Status{}, "SetAt")); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if err := all.Remove(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := all.Set(ctx, made(t, "a", yearly, "")); err != nil {
		t.Fatal(err)
	}
	if got, err = all.List(ctx, noon); err != nil || got[0].Last != nil || got[0].TimeZone != "UTC" {
		t.Errorf("removed and set again: %+v, %v", got[0], err)
	}
	if err := all.Remove(ctx, "none"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("remove what is not there: %v", err)
	}
}

func Example() {
	srv, stop := natstest.Example()
	defer stop()
	q, err := queue.New(srv.JetStream(), queue.Config{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if err := q.EnsureSchedules(ctx); err != nil { // the worker does
		panic(err)
	}
	all, err := schedule.Open(q)
	if err != nil {
		panic(err)
	}
	s, err := schedule.New("nightly", "0 0 3 * * *", "Asia/Shanghai", []byte(spec))
	if err != nil {
		panic(err)
	}
	if err := all.Set(ctx, s); err != nil {
		panic(err)
	}
	list, err := all.List(ctx, noon)
	if err != nil {
		panic(err)
	}
	for _, status := range list {
		fmt.Println(status.Name, status.Next, status.Last)
	}
	// Output: nightly 2024-05-01 19:00:00 +0000 UTC <nil>
}
