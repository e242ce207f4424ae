package export_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/shared/sink"
	"xinghe/shared/sink/sinktest"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	history "xinghe/testlocal/emulator/xingchen"
	"xinghe/workers/export"
)

const routeHistories = "/v2/api/chat/message/histories"

// service is an emulator with a large history, and a client of it.
type service struct {
	*emulator.Emulator
	*xingchen.Client
	history history.History
	url     string
}

func serve(tb testing.TB, h history.History) *service {
	tb.Helper()
	emu, err := emulator.New(emulator.Config{History: &h, RequestLog: -1})
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(emu)
	s := &service{Emulator: emu, history: h, url: server.URL}
	s.Client = s.client(tb, emulator.DefaultXingchenKey)
	tb.Cleanup(func() {
		server.Close()
		_ = emu.Close()
	})
	return s
}

func (s *service) client(tb testing.TB, key string) *xingchen.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	tb.Cleanup(transport.CloseIdleConnections)
	client, err := xingchen.New(xingchen.Config{BaseURL: s.url, APIKey: sign.NewSecret(key), Transport: transport})
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

func (s *service) users() (ids []string) {
	for i := range s.history.Users {
		ids = append(ids, s.history.UserID(i))
	}
	return ids
}

func (s *service) spec(name string) jobs.ExportSpec {
	return jobs.ExportSpec{Name: name, Characters: s.history.CharacterIDs(0), Users: s.users(), From: s.history.From, To: s.history.To}
}

// generated pages through all histories, plainly, by their documented order.
func (s *service) generated(tb testing.TB) (rows []xingchen.HistoryMessage) {
	tb.Helper()
	for _, character := range s.history.CharacterIDs(0) {
		for _, user := range s.users() {
			for number := 1; ; number++ {
				page, err := s.Histories(tb.Context(), xingchen.HistoryQuery{
					Where: xingchen.HistoryWhere{CharacterID: character, BizUserID: user}, OrderBy: []string{"gmtCreate asc"}, PageNum: number, PageSize: 50,
				})
				if err != nil {
					tb.Fatal(err)
				}
				rows = append(rows, page.List...)
				if len(page.List) < 50 {
					break
				}
			}
		}
	}
	if len(rows) != s.history.Messages {
		tb.Fatalf("%d rows of %d", len(rows), s.history.Messages)
	}
	return rows
}

// tied is a history of which about ten rows share each millisecond: within half a second
// for each user there are as many as n/users.
func tied(n, users int) history.History {
	return history.History{Characters: 1, Users: users, Messages: n, From: day, To: day.Add(time.Duration(n/users/10) * time.Millisecond)}
}

// same compares the exported set of rows with the generated one, by their ids and contents,
// and looks for doubles.
func same(t *testing.T, want []xingchen.HistoryMessage, rows []jobs.Row) {
	t.Helper()
	line := func(id, content string) string { return id + " " + content }
	var expected, got []string
	for _, m := range want {
		expected = append(expected, line(m.MessageID, m.Content))
	}
	for _, row := range rows {
		got = append(got, line(row.MessageID, row.Content))
	}
	slices.Sort(expected)
	slices.Sort(got)
	if !slices.Equal(expected, got) { // much faster than a difference
		t.Errorf("exported and generated rows differ:\n%s", cmp.Diff(expected, got))
	}
}

// ordered checks the order of rows within each window.
func ordered(t *testing.T, rows []jobs.Row) {
	t.Helper()
	for i := 1; i < len(rows); i++ {
		a, b := rows[i-1], rows[i]
		if a.CharacterID == b.CharacterID && a.UserID == b.UserID && (a.GmtCreate > b.GmtCreate || a.GmtCreate == b.GmtCreate && a.MessageID >= b.MessageID) {
			t.Fatalf("row %d (%d %s) stands behind (%d %s)", i, b.GmtCreate, b.MessageID, a.GmtCreate, a.MessageID)
		}
	}
}

// troubles are what may be wrong with pages.
func troubles(share float64) []fault.Rule {
	rule := func(name fault.Name) fault.Rule { return fault.Rule{Route: routeHistories, Fault: name, Share: share} }
	retry := rule(fault.Throttle)
	retry.Fault = fault.ThrottleBare
	return []fault.Rule{
		rule(fault.TotalDrift), rule(fault.RepeatRow), rule(fault.DropRow), rule(fault.LateRows),
		rule(fault.InternalError), rule(fault.Unavailable), rule(fault.HalfClose), retry,
	}
}

// altered is an upstream of which each message is changed on its way.
type altered struct {
	upstream export.Histories
	change   func(m *xingchen.HistoryMessage)
}

func (a altered) Histories(ctx context.Context, q xingchen.HistoryQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error) {
	page, err := a.upstream.Histories(ctx, q, opts...)
	for i := range page.List {
		a.change(&page.List[i])
	}
	return page, err
}

// patientConfig is for upstreams that fail a lot.
func patientConfig(s *service, to sink.Sink) func(*export.Config) {
	return func(c *export.Config) {
		c.Histories, c.Characters, c.Sink = s, s, to
		c.Tries, c.Attempts, c.PartBytes = 20, 20, 200_000
		c.Backoff = func(int) time.Duration { return time.Millisecond }
	}
}

func TestExportedSetEqualsGeneratedSet(t *testing.T) {
	t.Parallel()
	const rows = 5000
	s := serve(t, tied(rows, 3))
	want := s.generated(t)
	if err := s.Faults().Set(troubles(0.04)...); err != nil {
		t.Fatal(err)
	}
	sinks := map[string]func(t *testing.T, b *bundle) sink.Sink{
		sink.KindFolder: func(_ *testing.T, b *bundle) sink.Sink { return b.sink },
		sink.KindS3: func(t *testing.T, _ *bundle) sink.Sink {
			t.Helper()
			return sinktest.New(t).Bucket("exports", "all")
		},
	}
	for kind, open := range sinks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.sink = open(t, b)
			b.work(patientConfig(s, b.sink))
			all := []string{jobs.CompressionNone, jobs.CompressionGzip, jobs.CompressionZstd}
			for format, compressions := range map[string][]string{jobs.FormatJSONL: all, jobs.FormatCSV: all, jobs.FormatParquet: all[2:]} {
				for _, compression := range compressions {
					id := fmt.Sprintf("exp_%s_%s", format, compression)
					spec := s.spec("equal")
					spec.Format, spec.Compression, spec.Sink.Type = format, compression, kind
					e := b.end(b.startSpec(id, spec).ID)
					if e.State != jobs.StateDone {
						t.Fatalf("%s: %s: %v", id, e.State, e.Error)
					}
					manifest, got := b.files(e)
					same(t, want, got)
					ordered(t, got)
					if !manifest.Complete || manifest.Rows != rows || len(manifest.Parts) < 4 {
						t.Errorf("%s: complete %v, %d rows in %d parts", id, manifest.Complete, manifest.Rows, len(manifest.Parts))
					}
				}
			}
		})
	}
}

func TestEqualTimesOfManyRows(t *testing.T) {
	t.Parallel()
	// Some hundred rows for each time that upstream shows: more than a chunk of them.
	h := history.History{Characters: 1, Users: 1, Messages: 5000, From: day, To: day.Add(100 * time.Second)}
	for name, from := range map[string]time.Time{"Aligned": day, "Odd": day.Add(-3 * time.Second)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, h)
			want := s.generated(t)
			if err := s.Faults().Set(fault.Rule{Route: routeHistories, Fault: fault.EqualTimes}); err != nil {
				t.Fatal(err)
			}
			b := setup(t)
			b.work(patientConfig(s, b.sink))
			spec := s.spec("ties")
			spec.From = from
			e := b.end(b.startSpec("exp_TIES", spec).ID)
			if e.State != jobs.StateDone {
				t.Fatalf("%s: %v", e.State, *e.Error)
			}
			_, got := b.files(e)
			same(t, want, got)
			ordered(t, got)
		})
	}
}

func TestLateRowsComeWithTheLookBack(t *testing.T) {
	t.Parallel()
	s := serve(t, history.History{Characters: 1, Users: 2, Messages: 2000, From: day, To: day.Add(2 * time.Hour)})
	want := s.generated(t)
	clock := day.Add(time.Hour)
	b := setup(t)
	b.work(func(c *export.Config) {
		patientConfig(s, b.sink)(c)
		c.Now = func() time.Time { return clock }
	})
	spec := s.spec("night")
	spec.To = time.Time{}
	spec.Watermark = &jobs.Watermark{Name: "night", Lookback: jobs.Duration(10 * time.Minute), Lag: jobs.Duration(time.Minute)}
	// In the first run, the newest rows of each history are not there yet.
	if err := s.Faults().Set(fault.Rule{Route: routeHistories, Fault: fault.LateRows, Rows: 20}); err != nil {
		t.Fatal(err)
	}
	first := b.end(b.startSpec("exp_1", spec).ID)
	firstManifest, rows := b.files(first)
	if first.State != jobs.StateDone || first.Range == nil || !first.Range.To.Equal(day.Add(59*time.Minute)) || firstManifest.Previous != nil {
		t.Fatalf("first run: %+v", first)
	}
	late := 2*(59*1000/120) - len(rows)
	if late < 30 {
		t.Errorf("only %d rows are late", late)
	}
	s.Faults().Clear()
	clock = day.Add(3 * time.Hour)
	second := b.end(b.startSpec("exp_2", spec).ID)
	manifest, again := b.files(second)
	if second.State != jobs.StateDone || !second.Range.From.Equal(day.Add(49*time.Minute)) {
		t.Fatalf("second run: %+v", second)
	}
	if manifest.Previous == nil || manifest.Previous.ID != "exp_1" || manifest.Previous.SHA256 != hexSum(b.read(first.Manifest)) {
		t.Errorf("previous: %+v", manifest.Previous)
	}
	// Who gathers the runs keeps one row of each messageId.
	all := append(rows, again...)
	slices.SortFunc(all, func(x, y jobs.Row) int { return strings.Compare(x.MessageID, y.MessageID) })
	same(t, want, slices.CompactFunc(all, func(x, y jobs.Row) bool { return x.MessageID == y.MessageID }))
	mark, err := open[jobs.Mark](b, jobs.BucketMarks).Get(t.Context(), "night")
	if err != nil || !mark.Value.To.Equal(second.Range.To) || mark.Value.ExportID != "exp_2" || mark.Value.SHA256 != hexSum(b.read(second.Manifest)) {
		t.Errorf("mark: %+v, %v", mark.Value, err)
	}
}
