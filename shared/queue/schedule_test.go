package queue

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"
)

func yearly(name, data string) Schedule {
	return Schedule{Name: name, Cron: "0 0 0 1 1 *", TimeZone: "Asia/Shanghai", Data: []byte(data)}
}

func TestSchedulesAreSetReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	ctx := t.Context()
	_, listed := q.Schedules(ctx)
	for verb, err := range map[string]error{"set": q.SetSchedule(ctx, yearly("a", "1")), "remove": q.RemoveSchedule(ctx, "a"), "list": listed} {
		if missing, ok := errors.AsType[*MissingStreamError](err); !ok || missing.Stream != StreamSchedules {
			t.Errorf("%s without a stream: %v", verb, err)
		}
	}
	for range 2 {
		if err := q.EnsureSchedules(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []Schedule{yearly("b.c", "1"), yearly("a", "2"), yearly("b.c", "3")} {
		if err := q.SetSchedule(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...Schedule) {
		t.Helper()
		got, err := q.Schedules(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Schedule{}, "SetAt"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("schedules (-want +got):\n%s", diff)
		}
	}
	expect(yearly("a", "2"), yearly("b.c", "3"))
	if err := q.RemoveSchedule(ctx, "b.c"); err != nil {
		t.Error(err)
	}
	expect(yearly("a", "2"))
	if err := q.RemoveSchedule(ctx, "b.c"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed again: %v", err)
	}
}

func TestScheduleThatCannotBe(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	if err := q.EnsureSchedules(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Schedule)
		want   error
	}{
		"a wildcard":    {func(s *Schedule) { s.Name = "a.*" }, ErrInvalid},
		"no name":       {func(s *Schedule) { s.Name = "" }, ErrInvalid},
		"a bad line":    {func(s *Schedule) { s.Cron = "0 0 3 * *" }, ErrInvalid},
		"a bad zone":    {func(s *Schedule) { s.TimeZone = "Nowhere" }, ErrInvalid},
		"another line":  {func(s *Schedule) { s.Cron += "\r\nX: y" }, ErrInvalid},
		"too much data": {func(s *Schedule) { s.Data = []byte(strings.Repeat("x", 1<<20-reserve)) }, ErrTooLarge},
	} {
		s := yearly("a", "")
		tc.change(&s)
		if err := q.SetSchedule(t.Context(), s); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Run("OnAServerWithoutSchedules", func(t *testing.T) {
		js, err := jetstream.New(b.connect(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), StreamSchedules); err != nil {
			t.Fatal(err)
		}
		// An older server makes the stream as asked, but for what it does not know.
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: StreamSchedules, Subjects: []string{PrefixSchedules + ">"}}); err != nil {
			t.Fatal(err)
		}
		if err := q.EnsureSchedules(t.Context()); !errors.Is(err, ErrUnsupported) {
			t.Errorf("ensure: %v", err)
		}
		if err := q.SetSchedule(t.Context(), yearly("a", "")); !errors.Is(err, ErrUnsupported) {
			t.Errorf("set: %v", err)
		}
	})
}
