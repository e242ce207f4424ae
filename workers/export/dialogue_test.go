package export_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

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
			if diff := cmp.Diff(tc.want, got) + cmp.Diff(tc.ids, ids) + cmp.Diff(tc.left, manifest.LeftOut); diff != "" {
				t.Error(diff)
			}
			if !cmp.Equal(manifest.Redacted, map[string]int64{"phone": 1}) || !manifest.Complete {
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

func TestDialoguesThatAreTooLong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 30 { // two side by side, of which one has more than 1 MiB
		b.upstream.say("long", []string{"user", "character"}[i%2], strings.Repeat("长", 20_000))
		b.upstream.say("short", []string{"user", "character"}[i%2], "短")
	}
	b.work(nil)
	spec := spec([]string{"c"}, []string{"u"})
	spec.Format = jobs.FormatShareGPT
	e := b.end(b.startSpec("exp_LONG", spec).ID)
	manifest, rows := b.files(e)
	if diff := cmp.Diff(map[string]int64{"long": 30}, manifest.LeftOut); diff != "" || len(rows) != 30 || rows[0].SessionID != "short" {
		t.Errorf("%d rows, left out:\n%s", len(rows), diff)
	}
}
