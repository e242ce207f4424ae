package export_test

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
	"xinghe/workers/export"
)

// rooms shows a history as if it was of many sessions, some side by side. What is asked of a
// session is answered from memory, and wrongly now and then.
type rooms struct {
	upstream export.Histories
	rows     []xingchen.HistoryMessage // with their sessions
	users    map[string]string         // of each session
	asked    atomic.Int64
	wrong    bool
}

func newRooms(s *service, want []xingchen.HistoryMessage, wrong bool) *rooms {
	r := &rooms{upstream: s.Client, rows: want, users: map[string]string{}, wrong: wrong}
	per := s.history.Messages / len(s.users())
	for i := range r.rows {
		r.assign(&r.rows[i])
		r.users[r.rows[i].SessionID] = s.users()[i/per]
	}
	return r
}

// assign gives a message its session: one of 4 ms, or now and then one of 30 ms beside it.
func (r *rooms) assign(m *xingchen.HistoryMessage) {
	hash := crc32.ChecksumIEEE([]byte(m.MessageID))
	if hash%10 == 0 {
		m.SessionID = fmt.Sprintf("%s-side-%d", m.SessionID, m.GmtCreate/30)
		return
	}
	m.SessionID = fmt.Sprintf("%s-%d", m.SessionID, m.GmtCreate/4)
	if hash%3 == 0 {
		rating := float64(m.GmtCreate / 4 % 5)
		m.Rating = &rating
	}
}

func (r *rooms) Histories(ctx context.Context, q xingchen.HistoryQuery, opts ...xingchen.CallOption) (xingchen.Page[xingchen.HistoryMessage], error) {
	if q.Where.SessionID == "" {
		page, err := r.upstream.Histories(ctx, q, opts...)
		for i := range page.List {
			r.assign(&page.List[i])
		}
		return page, err
	}
	var list []xingchen.HistoryMessage
	for _, m := range r.rows {
		if m.SessionID == q.Where.SessionID && r.users[m.SessionID] == q.Where.BizUserID && (q.Where.EndTime == 0 || m.GmtCreate <= q.Where.EndTime) {
			list = append(list, m)
		}
	}
	page := xingchen.Page[xingchen.HistoryMessage]{Total: len(list), Page: 1, PageSize: 1}
	n := r.asked.Add(1)
	switch {
	case !r.wrong:
	case n%23 == 1:
		page.Total++
	case n%29 == 2 && len(list) > 3:
		list = list[:len(list)-3] // the newest are late
		page.Total = len(list)
	}
	if len(list) > 0 {
		page.List = list[len(list)-1:]
	}
	return page, nil
}

func TestDialoguesAreWholeAndAllThereIs(t *testing.T) {
	t.Parallel()
	four := 4.0
	for _, tc := range []struct {
		format, compression string
		filter              *jobs.Filter
	}{
		{jobs.FormatOpenAI, jobs.CompressionGzip, nil},
		{jobs.FormatShareGPT, jobs.CompressionNone, nil},
		{jobs.FormatOpenAI, jobs.CompressionZstd, &jobs.Filter{MinRating: &four}},
	} {
		t.Run(tc.format+" "+tc.compression, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tied(5200, 2))
			r := newRooms(s, s.generated(t), true)
			if err := s.Faults().Set(troubles(0.02)...); err != nil {
				t.Fatal(err)
			}
			spec := s.spec("whole")
			spec.Format, spec.Compression, spec.Filter = tc.format, tc.compression, tc.filter
			spec.From, spec.To = s.history.From.Add(5*time.Millisecond), s.history.To.Add(-5*time.Millisecond)
			b := setup(t)
			b.work(func(c *export.Config) {
				patientConfig(s, b.sink)(c)
				c.Histories, c.PartBytes = r, 20_000
			})
			e := b.end(b.startSpec("exp_WHOLE", spec).ID)
			if e.State != jobs.StateDone {
				t.Fatalf("%s: %v", e.State, *e.Error)
			}
			manifest, rows := b.files(e)
			r.whole(t, spec, manifest, rows)
			if len(manifest.Parts) < 4 && tc.filter == nil || len(rows) < 100 {
				t.Errorf("%d rows in %d parts", len(rows), len(manifest.Parts))
			}
		})
	}
}

// whole holds that the index and what was left out are all messages of the range, and that
// each session is there as a whole, or left out as a whole for a reason that is true.
func (r *rooms) whole(t *testing.T, spec jobs.ExportSpec, manifest jobs.Manifest, rows []jobs.Row) {
	t.Helper()
	within := func(m xingchen.HistoryMessage) bool {
		at := int64(m.GmtCreate)
		return at >= spec.From.UnixMilli() && at < spec.To.UnixMilli()
	}
	generated, sessions := map[string]string{}, map[string][]jobs.Row{}
	expected, cut := map[string]int64{}, map[string]bool{}
	for _, m := range r.rows {
		sessions[m.SessionID] = append(sessions[m.SessionID], jobs.Row{
			MessageID: m.MessageID, ChatID: m.ChatID, MessageType: m.MessageType, Rating: m.Rating, GmtCreate: int64(m.GmtCreate),
		})
		if within(m) {
			generated[m.MessageID] = m.SessionID
		} else {
			cut[m.SessionID] = true
		}
	}
	want := map[string]bool{} // ids
	for id, all := range sessions {
		slices.SortFunc(all, func(a, b jobs.Row) int {
			// A question and its answer may be of one millisecond; "user" is behind "character".
			return cmp.Or(cmp.Compare(a.GmtCreate, b.GmtCreate), cmp.Compare(a.ChatID, b.ChatID), cmp.Compare(b.MessageType, a.MessageType))
		})
		switch {
		case cut[id]:
			for _, row := range all {
				if _, ok := generated[row.MessageID]; ok {
					expected[jobs.LeftCut]++
				}
			}
		case !passes(spec.Filter, all):
			expected[jobs.LeftRating] += int64(len(all))
		default:
			first := slices.IndexFunc(all, func(row jobs.Row) bool { return row.MessageType == "user" })
			behind := len(all)
			for behind > 0 && all[behind-1].MessageType == "user" {
				behind--
			}
			for i, row := range all {
				switch {
				case row.MessageType == "character" && (first < 0 || i < first):
					expected[jobs.LeftUnprompted]++
				case i >= behind || behind <= first:
					expected[jobs.LeftUnanswered]++
				default:
					want[row.MessageID] = true
				}
			}
		}
	}
	got := map[string]bool{}
	for _, row := range rows {
		if got[row.MessageID] || generated[row.MessageID] != row.SessionID {
			t.Errorf("message %s stands twice, or in session %s", row.MessageID, row.SessionID)
		}
		got[row.MessageID] = true
	}
	if !maps.Equal(want, got) {
		t.Errorf("%d messages, want %d", len(got), len(want))
	}
	if diff := gocmp.Diff(expected, manifest.LeftOut); diff != "" {
		t.Errorf("left out:\n%s", diff)
	}
	sum := int64(0)
	for _, count := range manifest.LeftOut {
		sum += count
	}
	if sum != manifest.Filtered || int(sum)+len(got) != len(generated) || len(generated) < 5000 || len(cut) < 4 {
		t.Errorf("%d of the index, %d left out, %d generated, %d sessions cut", len(got), sum, len(generated), len(cut))
	}
}

// passes says what a filter by the least rating means for a dialogue.
func passes(filter *jobs.Filter, rows []jobs.Row) bool {
	if filter == nil {
		return true
	}
	rated := 0
	for _, row := range rows {
		if row.Rating == nil {
			continue
		}
		if rated++; *row.Rating < *filter.MinRating {
			return false
		}
	}
	return rated > 0
}

func TestDialoguesTakenOverAreTheSame(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(5200, 2))
	r := newRooms(s, s.generated(t), false)
	spec := s.spec("dialogues")
	spec.Format, spec.Compression, spec.Redact = jobs.FormatOpenAI, jobs.CompressionZstd, redaction()
	spec.From, spec.To = s.history.From.Add(5*time.Millisecond), s.history.To.Add(-5*time.Millisecond)
	manifest, rows := takenOver(t, s, r, spec, 120, func(c *export.Config) { c.PartBytes, c.Windows = 12_000, 1 })
	r.whole(t, spec, manifest, rows)
	if len(manifest.Parts) < 6 {
		t.Errorf("%d parts", len(manifest.Parts))
	}
}
