package export_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
	"xinghe/workers/export"
)

// lines are the lines of a file.
func lines(tb testing.TB, compression string, data []byte) (list [][]byte) {
	tb.Helper()
	scanner := bufio.NewScanner(unpacked(tb, compression, data))
	for scanner.Buffer(nil, 16<<20); scanner.Scan(); {
		list = append(list, slices.Clone(scanner.Bytes()))
	}
	if err := scanner.Err(); err != nil {
		tb.Fatal(err)
	}
	return list
}

// dialogues checks a part of dialogues by the rules of its format, and returns the rows that
// its index names, in their order.
func (b *bundle) dialogues(spec jobs.ExportSpec, part jobs.Part, data []byte) (rows []jobs.Row, index *jobs.IndexFile, count int64) {
	b.Helper()
	raw := b.read(part.Index.Path)
	index = &jobs.IndexFile{Path: part.Index.Path, Bytes: int64(len(raw)), SHA256: hexSum(raw)}
	texts, entries := lines(b, spec.Compression, data), lines(b, spec.Compression, raw)
	if len(texts) != len(entries) || !strings.Contains(index.Path, ".index.jsonl") {
		b.Errorf("%s: %d lines, %d in the index %s", part.Path, len(texts), len(entries), index.Path)
	}
	for i, text := range texts {
		if fault := unfit(spec.Format, text); fault != "" {
			b.Errorf("%s, line %d: %s: %s", part.Path, i+1, fault, text)
		}
	}
	for _, text := range entries {
		var entry jobs.IndexLine
		if err := json.Unmarshal(text, &entry); err != nil || len(entry.MessageIDs) != len(entry.GmtCreate) {
			b.Fatalf("%s: %v", text, err)
		}
		for i, id := range entry.MessageIDs {
			rows = append(rows, jobs.Row{
				MessageID: id, SessionID: entry.SessionID, CharacterID: entry.CharacterID, UserID: entry.UserID, GmtCreate: entry.GmtCreate[i],
			})
		}
	}
	return rows, index, int64(len(texts))
}

// unfit says which rule a line breaks: those that OpenAI checks examples of chats by, and
// that ShareGPT's sides speak in turn, the human first.
func unfit(format string, line []byte) string {
	if !utf8.Valid(line) || len(line) > 4<<20 {
		return "no UTF-8, or too long"
	}
	decoder := json.NewDecoder(strings.NewReader(string(line)))
	decoder.DisallowUnknownFields()
	if format == jobs.FormatShareGPT {
		var example struct {
			Conversations []struct{ From, Value string }
		}
		if err := decoder.Decode(&example); err != nil || len(example.Conversations) == 0 || len(example.Conversations)%2 != 0 {
			return fmt.Sprintf("%d turns, %v", len(example.Conversations), err)
		}
		for i, turn := range example.Conversations {
			if turn.From != []string{"human", "gpt"}[i%2] || strings.TrimSpace(turn.Value) == "" {
				return fmt.Sprintf("turn %d", i)
			}
		}
		return ""
	}
	var example struct {
		Messages []struct {
			Role, Content string
			Weight        *int
		}
	}
	if err := decoder.Decode(&example); err != nil || len(example.Messages) == 0 {
		return fmt.Sprintf("%d messages, %v", len(example.Messages), err)
	}
	learned := 0
	for i, m := range example.Messages {
		switch {
		case m.Role != "user" && m.Role != "assistant", strings.TrimSpace(m.Content) == "":
			return fmt.Sprintf("message %d", i)
		case m.Weight != nil && (m.Role != "assistant" || *m.Weight != 0 && *m.Weight != 1):
			return fmt.Sprintf("weight of message %d", i)
		case m.Role == "assistant" && m.Weight == nil:
			learned++
		}
	}
	if last := example.Messages[len(example.Messages)-1]; learned == 0 || last.Role != "assistant" || last.Weight != nil {
		return "does not end with something to learn"
	}
	return ""
}

// say adds a message to [upstream], a second after the one before.
func (u *upstream) say(session, kind, content string, rating ...float64) {
	list := u.rows["c/u"]
	m := xingchen.HistoryMessage{
		MessageID: fmt.Sprintf("m%03d", len(list)), SessionID: session, MessageType: kind, Content: content,
		GmtCreate: xingchen.MillisOf(day.Add(time.Duration(len(list)) * time.Second)),
	}
	if len(rating) > 0 {
		m.Rating = &rating[0]
	}
	u.rows["c/u"] = append(list, m)
}

// spoken fills sessions that show all that may happen, and returns the range of which some
// of them are.
func spoken(u *upstream) (from, to time.Time) {
	u.say("early", "user", "before the range")
	u.say("early", "character", "before the range")
	from = day.Add(2 * time.Second)
	u.say("early", "user", "it goes on")
	u.say("early", "character", "it ends here")
	u.say("plain", "opening_remarks", "你好,我是小婉 <3")
	u.say("plain", "user", "你好")
	u.say("plain", "user", "在吗")
	u.say("plain", "character", "在的,我的电话是13800138000", 5)
	u.say("plain", "sys_greetings", "最近为什么不理我啊?")
	u.say("other", "user", "另一间房", 4)
	u.say("plain", "user", "有点忙")
	u.say("plain", "character", "好吧", 4)
	u.say("plain", "user", "嗯")
	u.say("other", "character", "回声", 2)
	u.say("mute", "user", "有人吗")
	u.say("", "user", "no session")
	u.say("odd", "character", "自言自语")
	u.say("odd", "user", "  ")
	u.say("odd", "user", "什么?")
	u.say("odd", "picture", "x.png")
	u.say("odd", "character", "没什么")
	u.say("late", "user", "until later")
	to = day.Add(time.Duration(len(u.rows["c/u"])) * time.Second)
	u.say("late", "character", "after the range")
	return from, to
}

func TestDialogues(t *testing.T) {
	t.Parallel()
	four := 4.0
	for name, tc := range map[string]struct {
		format string
		filter *jobs.Filter
		want   []string
		ids    []string
		left   map[string]int64
	}{
		"OpenAI": {
			jobs.FormatOpenAI, nil,
			[]string{
				`{"messages":[{"role":"assistant","content":"你好,我是小婉 <3","weight":0},{"role":"user","content":"你好\n在吗"},` +
					`{"role":"assistant","content":"在的,我的电话是[phone]"},{"role":"assistant","content":"最近为什么不理我啊?","weight":0},` +
					`{"role":"user","content":"有点忙"},{"role":"assistant","content":"好吧"}]}`,
				`{"messages":[{"role":"user","content":"另一间房"},{"role":"assistant","content":"回声"}]}`,
				`{"messages":[{"role":"user","content":"什么?"},{"role":"assistant","content":"没什么"}]}`,
			},
			[]string{"m004 m005 m006 m007 m008 m010 m011", "m009 m013", "m018 m020"},
			map[string]int64{"cut": 4, "unanswered": 2, "unprompted": 1, "empty": 1, "type": 1},
		},
		"ShareGPT": {
			jobs.FormatShareGPT, nil,
			[]string{
				`{"conversations":[{"from":"human","value":"你好\n在吗"},{"from":"gpt","value":"在的,我的电话是[phone]"},` +
					`{"from":"human","value":"有点忙"},{"from":"gpt","value":"好吧"}]}`,
				`{"conversations":[{"from":"human","value":"另一间房"},{"from":"gpt","value":"回声"}]}`,
				`{"conversations":[{"from":"human","value":"什么?"},{"from":"gpt","value":"没什么"}]}`,
			},
			[]string{"m005 m006 m007 m010 m011", "m009 m013", "m018 m020"},
			map[string]int64{"cut": 4, "unanswered": 2, "unprompted": 3, "empty": 1, "type": 1},
		},
		"Rated": {
			jobs.FormatShareGPT, &jobs.Filter{MinRating: &four},
			[]string{
				`{"conversations":[{"from":"human","value":"你好\n在吗"},{"from":"gpt","value":"在的,我的电话是[phone]"},` +
					`{"from":"human","value":"有点忙"},{"from":"gpt","value":"好吧"}]}`,
			},
			[]string{"m005 m006 m007 m010 m011"},
			map[string]int64{"cut": 4, "unanswered": 1, "unprompted": 2, "rating": 8},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			from, to := spoken(b.upstream)
			b.work(nil)
			spec := spec([]string{"c"}, []string{"u"})
			spec.From, spec.To, spec.Format, spec.Filter = from, to, tc.format, tc.filter
			spec.Redact = &jobs.Redact{Kinds: []string{jobs.RedactPhone}}
			e := b.end(b.startSpec("exp_TALK", spec).ID)
			manifest, _ := b.files(e)
			if e.State != jobs.StateDone || len(manifest.Parts) != 1 {
				t.Fatalf("%s, %v: %+v", e.State, e.Error, manifest)
			}
			var got, ids []string
			for _, line := range lines(t, "none", b.read(manifest.Parts[0].Path)) {
				got = append(got, string(line))
			}
			for _, line := range lines(t, "none", b.read(manifest.Parts[0].Index.Path)) {
				var entry jobs.IndexLine
				if err := json.Unmarshal(line, &entry); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, strings.Join(entry.MessageIDs, " "))
			}
			if diff := gocmp.Diff(tc.want, got) + gocmp.Diff(tc.ids, ids) + gocmp.Diff(tc.left, manifest.LeftOut); diff != "" {
				t.Error(diff)
			}
			if !gocmp.Equal(manifest.Redacted, map[string]int64{"phone": 1}) || !manifest.Complete {
				t.Errorf("manifest: %+v", manifest)
			}
		})
	}
}

// TestDialogueThatGrowsIsReadAgain holds that no half of a dialogue stays where upstream shows
// its last messages late.
func TestDialogueThatGrowsIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	from, to := spoken(b.upstream)
	asked := 0
	b.upstream.trouble = func(_ int, q xingchen.HistoryQuery, page *xingchen.Page[xingchen.HistoryMessage]) error {
		if q.Where.SessionID != "plain" || asked == 2 {
			return nil
		}
		asked++ // it is said twice, and yet not so
		page.Total, page.List = 4, b.upstream.rows["c/u"][7:8]
		return nil
	}
	b.work(func(c *export.Config) { c.PartBytes = 1 })
	spec := spec([]string{"c"}, []string{"u"})
	spec.From, spec.To, spec.Format = from, to, jobs.FormatOpenAI
	e := b.end(b.startSpec("exp_GROWS", spec).ID)
	if e.State != jobs.StateDone {
		t.Fatalf("%s: %v", e.State, *e.Error)
	}
	manifest, rows := b.files(e)
	var ids []string
	for _, row := range rows {
		ids = append(ids, row.MessageID)
	}
	if want := "m004 m005 m006 m007 m008 m010 m011 m009 m013 m018 m020"; strings.Join(ids, " ") != want || len(manifest.Parts) != 3 || asked != 2 {
		t.Errorf("%v in %d parts, want %s", ids, len(manifest.Parts), want)
	}
}

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
	manifest, rows := takenOver(t, s, r, spec, 100, func(c *export.Config) { c.PartBytes, c.Windows = 4000, 1 })
	r.whole(t, spec, manifest, rows)
	if len(manifest.Parts) < 10 {
		t.Errorf("%d parts", len(manifest.Parts))
	}
}
