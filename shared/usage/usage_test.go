package usage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/usage"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

var (
	noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	born = noon.Add(-time.Hour) // of the stream of events
)

func setup(t *testing.T) *usage.Usage {
	t.Helper()
	q, err := queue.New(natstest.New(t).JetStream(), queue.Config{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	u, err := usage.Open(q)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// event is one of so many tokens.
func event(sequence uint64, at time.Time, key, bot string, tokens int64) usage.Event {
	return usage.Event{
		At: at, Key: key, Bot: bot, Counts: usage.Counts{Requests: 1, OutputTokens: tokens},
		Position: usage.Position{Stream: born, Sequence: sequence},
	}
}

func count(t *testing.T, u *usage.Usage, events ...usage.Event) {
	t.Helper()
	if err := u.Count(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, u *usage.Usage, first, last string) []usage.Row {
	t.Helper()
	rows, err := u.Read(t.Context(), first, last)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func row(day, key, bot string, requests, tokens int64) usage.Row {
	return usage.Row{Day: day, Key: key, Bot: bot, Counts: usage.Counts{Requests: requests, OutputTokens: tokens}}
}

func TestCountsOf(t *testing.T) {
	t.Parallel()
	chat := jobs.ChatEvent{ThrottledMs: 7, Usage: jobs.ChatUsage{InputTokens: 3, OutputTokens: 5, Incomplete: true}}
	want := usage.Counts{Requests: 1, InputTokens: 3, OutputTokens: 5, Incomplete: 1, ThrottledMs: 7}
	if diff := cmp.Diff(want, usage.CountsOf(jobs.EventChatCompleted, chat)); diff != "" {
		t.Error(diff)
	}
	chat.Usage.Incomplete = false
	want.Incomplete, want.Failures = 0, 1
	if diff := cmp.Diff(want, usage.CountsOf(jobs.EventChatFailed, chat)); diff != "" {
		t.Error(diff)
	}
}

func TestReadTellsDaysKeysAndBotsApart(t *testing.T) {
	t.Parallel()
	u := setup(t)
	if rows := read(t, u, "2024-05-01", "2024-05-31"); len(rows) > 0 {
		t.Errorf("before anything was counted: %v", rows)
	}
	shanghai := time.FixedZone("", 8*60*60)
	long := "character:" + strings.Repeat("x", 256)
	count(
		t, u,
		event(1, noon, "ci", "character:a", 1), event(2, noon, "ci", "character:a", 2), event(3, noon, "", "beebot:星", 4),
		event(4, time.Date(2024, 5, 3, 7, 0, 0, 0, shanghai), "a.b *>", "character:a", 8), event(5, noon, "ci", long, 16), event(6, noon, "ci", long+"y", 32),
	)
	want := []usage.Row{
		row("2024-05-01", "", "beebot:星", 1, 4), row("2024-05-01", "ci", "character:a", 2, 3), row("2024-05-01", "ci", usage.Other, 2, 48),
		row("2024-05-02", "a.b *>", "character:a", 1, 8),
	}
	if diff := cmp.Diff(want, read(t, u, "2024-05-01", "2024-05-31")); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[3:], read(t, u, "2024-05-02", "2024-05-02")); diff != "" {
		t.Errorf("rows of one day (-want +got):\n%s", diff)
	}
	for _, days := range [][2]string{{"2024-5-1", "2024-05-02"}, {"2024-05-01", ""}, {"today", "2024-05-02"}} {
		if _, err := u.Read(t.Context(), days[0], days[1]); !errors.Is(err, queue.ErrInvalid) {
			t.Errorf("%v: %v", days, err)
		}
	}
}

func TestSum(t *testing.T) {
	t.Parallel()
	rows := []usage.Row{
		{Day: "2024-05-02", Key: "a", Bot: "x", Counts: usage.Counts{Requests: 1, Failures: 2, InputTokens: 3, OutputTokens: 4, Incomplete: 5, ThrottledMs: 6}},
		{Day: "2024-05-01", Key: "b", Bot: "x", Counts: usage.Counts{Requests: 10, Failures: 20, InputTokens: 30, OutputTokens: 40, Incomplete: 50, ThrottledMs: 60}},
		row("2024-05-01", "a", "y", 100, 400),
	}
	for name, tc := range map[string]struct {
		by   usage.Dimension
		want []usage.Row
	}{
		"day": {usage.ByDay, []usage.Row{
			{Day: "2024-05-01", Counts: usage.Counts{Requests: 110, Failures: 20, InputTokens: 30, OutputTokens: 440, Incomplete: 50, ThrottledMs: 60}},
			{Day: "2024-05-02", Counts: rows[0].Counts},
		}},
		"key": {usage.ByKey, []usage.Row{
			{Key: "a", Counts: usage.Counts{Requests: 101, Failures: 2, InputTokens: 3, OutputTokens: 404, Incomplete: 5, ThrottledMs: 6}},
			{Key: "b", Counts: rows[1].Counts},
		}},
		"bot": {usage.ByBot, []usage.Row{
			{Bot: "x", Counts: usage.Counts{Requests: 11, Failures: 22, InputTokens: 33, OutputTokens: 44, Incomplete: 55, ThrottledMs: 66}},
			row("", "", "y", 100, 400),
		}},
		"all": {usage.InAll, []usage.Row{{Counts: usage.Counts{Requests: 111, Failures: 22, InputTokens: 33, OutputTokens: 444, Incomplete: 55, ThrottledMs: 66}}}},
	} {
		if diff := cmp.Diff(tc.want, usage.Sum(rows, tc.by)); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", name, diff)
		}
	}
}

// Who dies in the midst of a batch has written some rows and others not.
func TestCountAfterHalfABatch(t *testing.T) {
	t.Parallel()
	u := setup(t)
	batch := []usage.Event{event(1, noon, "a", "x", 1), event(2, noon, "b", "x", 2), event(3, noon, "a", "x", 4), event(4, noon, "b", "x", 8)}
	count(t, u, batch[0], batch[2])
	count(t, u, batch...)
	count(t, u, append(batch, event(5, noon, "a", "x", 16))...)
	want := []usage.Row{row("2024-05-01", "a", "x", 3, 21), row("2024-05-01", "b", "x", 2, 10)}
	if diff := cmp.Diff(want, read(t, u, "2024-05-01", "2024-05-01")); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	again := event(1, noon, "a", "x", 32)
	again.Position.Stream = born.Add(time.Second) // a new stream, whose sequences begin anew
	count(t, u, again)
	if got := read(t, u, "2024-05-01", "2024-05-01"); got[0].OutputTokens != 53 {
		t.Errorf("%+v", got[0])
	}
}

func TestManyThatCountTheSameCountOnce(t *testing.T) {
	t.Parallel()
	u := setup(t)
	const total, batch = 120, 20
	var events []usage.Event
	for i := range total {
		events = append(events, event(uint64(i+1), noon, fmt.Sprint("key", i%3), "x", int64(i)))
	}
	var group sync.WaitGroup
	for seed := range uint64(4) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for at := 0; at < total; {
				if err := u.Count(t.Context(), events[at:at+batch]); err != nil {
					t.Error(err)
					return
				}
				if random.IntN(3) > 0 { // else it begins the same batch once more
					at += batch
				}
			}
		})
	}
	group.Wait()
	want := usage.Row{Counts: usage.Counts{Requests: total, OutputTokens: total * (total - 1) / 2}}
	if diff := cmp.Diff([]usage.Row{want}, usage.Sum(read(t, u, "2024-05-01", "2024-05-01"), usage.InAll)); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
}

func TestReaderIsMovedByOneOnly(t *testing.T) {
	t.Parallel()
	u := setup(t)
	ctx := t.Context()
	reader, revision, err := u.Reader(ctx)
	if err != nil || revision != 0 || reader != (usage.Reader{}) {
		t.Fatalf("%+v, %d, %v", reader, revision, err)
	}
	for i := range uint64(2) {
		_, revision, err = u.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		to := usage.Reader{Position: usage.Position{Stream: born, Sequence: i + 1}}
		if err := u.Move(ctx, to, revision); err != nil {
			t.Errorf("move %d: %v", i, err)
		}
		if err := u.Move(ctx, to, revision); !errors.Is(err, queue.ErrConflict) {
			t.Errorf("move %d once more: %v", i, err)
		}
	}
	if reader, _, err = u.Reader(ctx); err != nil || reader.Position.Sequence != 2 {
		t.Errorf("%+v, %v", reader, err)
	}
	if rows := read(t, u, "2024-05-01", "2024-05-01"); len(rows) > 0 {
		t.Errorf("the reader is taken for a row: %v", rows)
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
	all, err := usage.Open(q)
	if err != nil {
		panic(err)
	}
	if err := all.Count(ctx, []usage.Event{event(1, noon, "ci", "character:a", 12)}); err != nil { // the worker does
		panic(err)
	}
	rows, err := all.Read(ctx, usage.Day(noon.AddDate(0, 0, -6)), usage.Day(noon))
	if err != nil {
		panic(err)
	}
	for _, row := range usage.Sum(rows, usage.ByBot) {
		fmt.Println(row.Bot, row.Requests, row.OutputTokens)
	}
	// Output: character:a 1 12
}
