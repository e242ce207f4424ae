package export_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/directory"
	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
	"xinghe/workers/export"
)

// owner owns so many characters.
type owner int

func (o owner) SearchCharacters(_ context.Context, q xingchen.CharacterQuery, _ ...xingchen.CallOption) (xingchen.Page[xingchen.Character], error) {
	page := xingchen.Page[xingchen.Character]{Total: int(o)}
	if q.Where.Scope != "my" {
		return page, nil
	}
	first := (q.PageNum - 1) * q.PageSize
	for i := first; i < min(first+q.PageSize, int(o)); i++ {
		page.List = append(page.List, xingchen.Character{CharacterRef: xingchen.CharacterRef{CharacterID: fmt.Sprintf("c%03d", i)}})
	}
	return page, nil
}

func TestWordsThatStandForLists(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name              string
		characters, users []string
		windows           []string
	}{
		{"directory", []string{"c001"}, []string{"directory"}, []string{"c001/一", "c001/b", "c001/c"}},
		{"my", []string{"my"}, []string{"b"}, nil},
		{"both", []string{"my"}, []string{"directory"}, []string{"c001/一", "c001/b", "c001/c", "c007/b"}},
		{"nobody", []string{"c002"}, []string{"directory"}, []string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			users, err := directory.Open(b.queue)
			if err != nil {
				t.Fatal(err)
			}
			for _, pair := range [][2]string{{"c001", "c"}, {"c001", "b"}, {"c001", "一"}, {"c007", "b"}, {"c999", "z"}} {
				if _, err := users.Seen(t.Context(), jobs.Bot(jobs.BotCharacter, pair[0]), pair[1], day); err != nil {
					t.Fatal(err)
				}
			}
			want := tc.windows
			if tc.name == "my" {
				for i := range 120 {
					want = append(want, fmt.Sprintf("c%03d/b", i))
				}
			}
			for _, window := range want {
				character, user, _ := strings.Cut(window, "/")
				b.upstream.fill(character, user, 2)
			}
			b.work(func(c *export.Config) { c.Characters = owner(120) })
			e := b.end(b.start(tc.characters, tc.users).ID)
			if e.State != jobs.StateDone || e.Progress.Windows != len(want) {
				t.Fatalf("%s: %d windows, %v", e.State, e.Progress.Windows, e.Error)
			}
			manifest, rows := b.files(e)
			got := []string{}
			for _, w := range manifest.Windows {
				got = append(got, w.CharacterID+"/"+w.UserID)
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" || len(rows) != 2*len(want) {
				t.Errorf("%d rows; windows:\n%s", len(rows), diff)
			}
		})
	}
}

func TestSpecsThatCannotBePlanned(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*jobs.ExportSpec)
		reason string
	}{
		{"no mark and no beginning", func(s *jobs.ExportSpec) {
			s.From, s.To, s.Watermark = time.Time{}, time.Time{}, &jobs.Watermark{Name: "fresh"}
		}, `the watermark "fresh" has no value yet`},
		{"another sink", func(s *jobs.ExportSpec) { s.Sink.Type = jobs.SinkS3 }, `this deployment writes to "folder"`},
		{"characters that cannot be listed", func(s *jobs.ExportSpec) { s.Characters = jobs.Names{"my"} }, "cannot be listed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.work(nil)
			s := spec([]string{"c"}, []string{"u"})
			tc.change(&s)
			e := b.end(b.startSpec("exp_NO", s).ID)
			if e.State != jobs.StateFailed || e.Error == nil || !strings.Contains(*e.Error, tc.reason) {
				t.Errorf("%s: %v", e.State, e.Error)
			}
			b.told(e, "xinghe.export.failed")
		})
	}
}

func TestWatermarkStaysWhereNothingIsProven(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "good", 10)
	b.upstream.trouble = func(_ int, q xingchen.HistoryQuery, _ *xingchen.Page[xingchen.HistoryMessage]) error {
		if q.Where.BizUserID == "bad" {
			return &xingchen.Error{HTTPStatus: 400, Code: 404, Key: "aca.error.notfound"}
		}
		return nil
	}
	clock := day.Add(time.Hour)
	b.work(func(c *export.Config) { c.Now = func() time.Time { return clock } })
	marks := open[jobs.Mark](b, jobs.BucketMarks)
	run := func(id string, users ...string) jobs.Export {
		t.Helper()
		s := spec([]string{"c"}, users)
		s.To, s.Watermark = time.Time{}, &jobs.Watermark{Name: "m", Lag: jobs.Duration(time.Minute)}
		return b.end(b.startSpec(id, s).ID)
	}
	if e := run("exp_1", "good", "bad"); e.State != jobs.StatePartial {
		t.Errorf("%s", e.State)
	}
	if mark, err := marks.Get(t.Context(), "m"); err == nil {
		t.Errorf("a partial run has moved the mark: %+v", mark.Value)
	}
	if e := run("exp_2", "good"); e.State != jobs.StateDone {
		t.Errorf("%s", e.State)
	}
	mark, err := marks.Get(t.Context(), "m")
	if err != nil || !mark.Value.To.Equal(clock.Add(-time.Minute)) {
		t.Errorf("mark %+v, %v", mark.Value, err)
	}
	// The clock stands still: there is nothing to read, and the mark stays.
	e := run("exp_3", "good")
	manifest, rows := b.files(e)
	if e.State != jobs.StateDone || e.Progress.Windows != 0 || len(rows) != 0 || !manifest.Complete {
		t.Errorf("empty run: %+v", e)
	}
	if again, err := marks.Get(t.Context(), "m"); err != nil || again.Revision != mark.Revision {
		t.Errorf("an empty run has moved the mark to %+v, %v", again.Value, err)
	}
}

func TestFilterLeavesOutAndCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 300)
	rows := b.upstream.rows["c/u"]
	var want []xingchen.HistoryMessage
	for i := range rows {
		if i%2 == 1 {
			rows[i].MessageType = "character"
		}
		if i%5 == 0 {
			rating := float64(i % 7)
			rows[i].Rating = &rating
		}
		if i%2 == 1 && rows[i].Rating != nil && *rows[i].Rating >= 2 && *rows[i].Rating <= 4 {
			want = append(want, rows[i])
		}
	}
	low, high := 2.0, 4.0
	s := spec([]string{"c"}, []string{"u"})
	s.Filter = &jobs.Filter{MessageTypes: []string{"character"}, MinRating: &low, MaxRating: &high}
	b.work(func(c *export.Config) { c.PartBytes = 1500 })
	e := b.end(b.startSpec("exp_F", s).ID)
	manifest, got := b.files(e)
	same(t, want, got)
	ordered(t, got)
	w := manifest.Windows[0]
	if !manifest.Complete || manifest.Filtered != int64(300-len(want)) || w.Filtered != manifest.Filtered || w.TotalAfter != 300 || w.Rows != int64(len(want)) {
		t.Errorf("%d of 300 taken: filtered %d; window %+v", len(want), manifest.Filtered, w)
	}
}

func TestCellsOfCSV(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 9)
	texts := []string{`=HYPERLINK("x")`, "+1", "-1", "@x", "\tx", "\rx", "a \"b\", c\nd\r\ne", "", "你好 😀 <&>"}
	want := []string{`'=HYPERLINK("x")`, "'+1", "'-1", "'@x", "'\tx", "'\rx", "a \"b\", c\nd\r\ne", "", "你好 😀 <&>"}
	rating := -1.0
	for i, text := range texts {
		row := &b.upstream.rows["c/u"][i]
		row.Content, row.MessageID, row.Rating = text, fmt.Sprintf("m%d", i), &rating
	}
	s := spec([]string{"c"}, []string{"u"})
	s.Format = jobs.FormatCSV
	b.work(nil)
	e := b.end(b.startSpec("exp_CSV", s).ID)
	manifest, rows := b.files(e)
	if got := string(b.read(manifest.Parts[0].Path)); !strings.HasPrefix(got, "\ufeffmessageId,chatId,") || !strings.Contains(got, "\"a \"\"b\"\", c\nd\r\ne\",-1,") {
		t.Errorf("file: %q", got)
	}
	for i, row := range rows {
		if got := row.Content; strings.ReplaceAll(got, "\r\n", "\n") != strings.ReplaceAll(want[i], "\r\n", "\n") {
			t.Errorf("cell %q, want %q", got, want[i])
		}
		if row.Rating == nil || *row.Rating != -1 {
			t.Errorf("rating %v", row.Rating)
		}
	}
}
