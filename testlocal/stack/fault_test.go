package stack_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
)

// surface is a way to hold a conversation with the front door.
type surface struct {
	name, path string
	// route is that of the conversation in rules of faults.
	route  string
	header []string
	body   func(user string) string
}

const (
	send     = "/v2/api/chat/send"
	converse = "/v1/beebot/" + robot + "/chat"
)

// surfaces in the order of the columns of the table.
var surfaces = []surface{
	{"xingchen streamed", send, send, []string{"X-AcA-SSE", "enable"}, story},
	{"xingchen whole", send, send, nil, story},
	{"beebot streamed", converse, "/sse/paas4Json", nil, skills(true)},
	{"beebot whole", converse, "/sse/paas4Json", nil, skills(false)},
}

func story(user string) string { return chat(xiaowan, user, "写60字") }

func skills(stream bool) func(string) string {
	return func(user string) string {
		return fmt.Sprintf(`{"utterance":"你有什么技能?","senderId":%q,"stream":%t}`, user, stream)
	}
}

// row is what the clients of the four surfaces see: the frames of their streams, or the
// status, code and Retry-After of a refusal.
type row [4]string

var (
	wellEnded = row{"frame*15 end", "200", "delta*5 done", "200"}
	brokenOff = row{"frame*8 error upstream_truncated", "502 upstream_truncated", "delta*3 error upstream_truncated", "502 upstream_truncated"}
	failed    = row{"502 aca.error.system", "502 aca.error.system", "502 upstream_error", "502 upstream_error"}
)

func all(seen string) row { return row{seen, seen, seen, seen} }

// faults are what goes wrong upstream and what the clients see of it; nothing if that is
// left out.
var faults = [...]struct {
	name string
	rule fault.Rule
	seen row
}{
	{name: "none"},
	{name: "latency", rule: fault.Rule{Fault: fault.Latency, Delay: 30 * time.Millisecond, Jitter: 20 * time.Millisecond}},
	{name: "throttle", rule: fault.Rule{Fault: fault.Throttle, RetryAfter: 7 * time.Second}, seen: row{"429 aca.error.throttling retry 7", "429 aca.error.throttling retry 7", "429 rate_limited retry 7", "429 rate_limited retry 7"}},
	{name: "throttle-bare", rule: fault.Rule{Fault: fault.ThrottleBare}, seen: row{"429 aca.error.throttling", "429 aca.error.throttling", "429 rate_limited", "429 rate_limited"}},
	{name: "500", rule: fault.Rule{Fault: fault.InternalError}, seen: failed},
	{name: "502", rule: fault.Rule{Fault: fault.BadGateway}, seen: failed},
	{name: "503", rule: fault.Rule{Fault: fault.Unavailable}, seen: failed},
	{name: "refuse", rule: fault.Rule{Fault: fault.Refuse}, seen: all("502 upstream_unavailable")},
	{name: "reset at 1", rule: fault.Rule{Fault: fault.Reset, AtFrame: 1}, seen: row{"502 upstream_truncated", "502 upstream_truncated", "502 upstream_unavailable", "502 upstream_unavailable"}},
	{name: "reset at 9", rule: fault.Rule{Fault: fault.Reset, AtFrame: 9}, seen: brokenOff},
	{name: "reset inside a frame", rule: fault.Rule{Fault: fault.Reset, AtByte: 7000}, seen: row{"frame*10 error upstream_truncated", "200", "delta*5 error upstream_truncated", "502 upstream_truncated"}},
	{name: "half-close at 1", rule: fault.Rule{Fault: fault.HalfClose, AtFrame: 1}, seen: row{"502 upstream_truncated", "502 upstream_truncated", "502 upstream_unavailable", "502 upstream_unavailable"}},
	{name: "half-close at 9", rule: fault.Rule{Fault: fault.HalfClose, AtFrame: 9}, seen: brokenOff},
	{name: "half-close inside a frame", rule: fault.Rule{Fault: fault.HalfClose, AtByte: 7000}, seen: row{"frame*10 error upstream_truncated", "200", "delta*5 error upstream_truncated", "502 upstream_truncated"}},
	{name: "stall at 1", rule: fault.Rule{Fault: fault.Stall, AtFrame: 1}, seen: all("504 upstream_timeout")},
	{name: "stall at 9", rule: fault.Rule{Fault: fault.Stall, AtFrame: 9}, seen: row{"frame*8 error upstream_timeout", "504 upstream_timeout", "delta*3 error upstream_timeout", "504 upstream_timeout"}},
	{name: "stall inside a frame", rule: fault.Rule{Fault: fault.Stall, AtByte: 7000}, seen: row{"frame*10 error upstream_timeout", "200", "delta*5 error upstream_timeout", "504 upstream_timeout"}},
	{name: "stall for a moment", rule: fault.Rule{Fault: fault.Stall, AtFrame: 9, Delay: 50 * time.Millisecond}},
	{name: "cut", rule: fault.Rule{Fault: fault.Cut}, seen: row{"frame*15 error upstream_truncated", "502 upstream_truncated", "delta*5 error upstream_truncated", "502 upstream_truncated"}},
	{name: "cut at 1", rule: fault.Rule{Fault: fault.Cut, AtFrame: 1}, seen: row{"502 upstream_truncated", "502 upstream_truncated", "502 upstream_truncated", "502 upstream_truncated"}},
	{name: "cut at 9", rule: fault.Rule{Fault: fault.Cut, AtFrame: 9}, seen: brokenOff},
	{name: "event-error at 1", rule: fault.Rule{Fault: fault.ErrorEvent}, seen: row{"error aca.error.system", "200", "502 upstream_error", "502 upstream_error"}},
	{name: "event-error at 9", rule: fault.Rule{Fault: fault.ErrorEvent, AtFrame: 9}, seen: row{"frame*8 error aca.error.system", "200", "delta*3 error upstream_error", "502 upstream_error"}},
	{name: "split", rule: fault.Rule{Fault: fault.Split}},
	{name: "join", rule: fault.Rule{Fault: fault.Join}},
	{name: "crlf", rule: fault.Rule{Fault: fault.CRLF}},
	{name: "huge", rule: fault.Rule{Fault: fault.Huge, AtFrame: 9}},
	{name: "too huge", rule: fault.Rule{Fault: fault.Huge, AtFrame: 9, Bytes: 2 << 20}, seen: row{"frame*8 error upstream_error", "502 upstream_error", "delta*3 error upstream_error", "502 upstream_error"}},
	{name: "invalid-utf8", rule: fault.Rule{Fault: fault.InvalidUTF8, AtFrame: 9}, seen: row{"frame*8 frame(not UTF-8) frame*6 end", "200, not UTF-8", "delta*3 replace*2 done", "200"}},
	{name: "malformed-json at 1", rule: fault.Rule{Fault: fault.MalformedJSON}, seen: row{"502 upstream_truncated", "502 upstream_error", "502 upstream_truncated", "502 upstream_truncated"}},
	{name: "malformed-json at 9", rule: fault.Rule{Fault: fault.MalformedJSON, AtFrame: 9}, seen: row{"frame*8 error upstream_truncated", "502 upstream_error", "delta*3 error upstream_truncated", "502 upstream_truncated"}},
	{name: "rewrite", rule: fault.Rule{Fault: fault.Rewrite, AtFrame: 9}, seen: row{"frame*15 end", "200", "delta*3 replace delta*2 done", "200"}},
	{name: "comment", rule: fault.Rule{Fault: fault.Comment}},
	{name: "token-expired", rule: fault.Rule{Fault: fault.TokenExpired}, seen: row{"frame*15 end", "200", "502 upstream_error", "502 upstream_error"}},
	{name: "token-expired once", rule: fault.Rule{Fault: fault.TokenExpired, Times: 1}},
}

// TestFaults holds that a conversation has ended well only when upstream said so, that
// everything else reaches the client as an error in its surface's own form and the
// operator as a log line, that upstream is asked once and left alone afterwards, and that
// nothing stays open.
func TestFaults(t *testing.T) {
	t.Parallel()
	// Limits so short that they can be waited for would cut what is only slow on a busy machine.
	patient, hasty := newFaulty(t, limits{idle: 30 * time.Second}), newFaulty(t, limits{idle: 700 * time.Millisecond, bytes: 1 << 20})
	var said [4]string // when nothing goes wrong
	for i, tc := range faults {
		f := patient
		if tc.rule.Fault == fault.Stall && tc.rule.Delay == 0 || tc.rule.Bytes > 0 {
			f = hasty
		}
		for column, s := range surfaces {
			f.calls.Go(func() {
				id := fmt.Sprintf("row-%d-%d", i, column)
				f.answers[i][column] = f.post(s.path, s.body(userOf(i, s)), append(slices.Clone(s.header), "X-Request-Id", id)...)
			})
		}
		if f == patient {
			f.calls.Wait()
		}
		if i == 0 {
			for column, s := range surfaces {
				said[column] = textOf(s, f.answers[i][column].body)
			}
		}
	}
	hasty.calls.Wait()
	for i := range faults {
		for column := range surfaces {
			t.Run(userOf(i, surfaces[column]), func(t *testing.T) {
				f := patient
				if hasty.answers[i][column].status != 0 {
					f = hasty
				}
				f.check(t, i, column, said[column])
			})
		}
	}
	patient.nothingLeft()
	hasty.nothingLeft()
}

// faulty is a stack whose upstream suffers from all faults of the table, a user's
// conversation from one.
type faulty struct {
	*bundle
	wires   *wires
	calls   sync.WaitGroup
	answers [len(faults)][4]answer
}

const canary = "lm-canary-2b7e"

func newFaulty(t *testing.T, limit limits) *faulty {
	t.Helper()
	f := &faulty{wires: new(wires)}
	f.bundle = setupChat(t, nil, emulator.Config{XingchenKeys: []string{canary}}, watched(t, f.wires, canary, limit))
	if err := f.Emulator.Faults().Set(rulesOfFaults()...); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *faulty) check(t *testing.T, i, column int, said string) {
	t.Helper()
	b, tc, s, got := f.of(t), faults[i], surfaces[column], f.answers[i][column]
	want := cmp.Or(tc.seen, wellEnded)[column]
	if seen := sight(got); seen != want {
		t.Errorf("the client saw %q, want %q: %s", seen, want, got.body[:min(len(got.body), 2000)])
	}
	if text := textOf(s, got.body); ended(want) && !strings.HasSuffix(text, said) {
		t.Errorf("the answer is %q, want %q", text, said)
	}
	l := b.logged(got.header.Get("X-Request-Id"))
	if got, want := l.brief(), logOf(s, want); got != want {
		t.Errorf("logged %q, want %q: %+v", got, want, l)
	}
	// The id stands far inside of a document that begins with megabytes of something else.
	if answered := strings.Contains(want, "*") || ended(want) || strings.Contains(want, "aca.error"); answered && l.UpstreamID == "" && tc.name != "huge" {
		t.Errorf("upstream's request id is not logged: %+v", l)
	}
	calls := 1
	if tc.rule.Fault == fault.TokenExpired && s.path == converse {
		calls = 2 // once with another token
	}
	// Each of them is over, though upstream itself would never end those that stall.
	if n := len(b.upstream(userOf(i, s), calls)); n != calls {
		t.Errorf("upstream was asked %d times, want %d", n, calls)
	}
}

// nothingLeft waits until nothing is under way upstream and no connection is there but idle
// ones, and looks for secrets in all that was told.
func (f *faulty) nothingLeft() {
	f.t.Helper()
	f.nothingOpen(f.wires)
	var told strings.Builder
	told.WriteString(f.log.String())
	for _, row := range f.answers {
		for _, a := range row {
			told.WriteString(a.body)
		}
	}
	for _, secret := range []string{canary, emulator.DefaultAccessKeySecret, "Bearer ", "streamSecret="} {
		if strings.Contains(told.String(), secret) {
			f.t.Errorf("%q is told", secret)
		}
	}
}

// rulesOfFaults strike each conversation of the table with its own fault.
func rulesOfFaults() []fault.Rule {
	var rules []fault.Rule
	for i, tc := range faults {
		for _, s := range surfaces {
			if rule := tc.rule; rule.Fault != "" {
				rule.User, rule.Route = userOf(i, s), s.route
				rules = append(rules, rule)
			}
		}
	}
	return rules
}

func userOf(row int, s surface) string { return faults[row].name + ", " + s.name }

// ended reports whether a conversation that is seen like this has ended well.
func ended(seen string) bool {
	return seen == "200" || strings.HasSuffix(seen, " end") || strings.HasSuffix(seen, " done")
}

// logOf is how a conversation that its client sees like this is logged.
func logOf(s surface, seen string) string {
	words := strings.Fields(seen)
	code := words[len(words)-1]
	if len(words) > 1 && words[0][0] >= '4' && words[0][0] <= '5' {
		code = words[1]
	}
	switch code {
	case "aca.error.throttling", "rate_limited":
		return "info rate_limited, usage incomplete"
	case "aca.error.system":
		code = "upstream_error"
	}
	switch {
	case strings.HasPrefix(code, "upstream_"):
		return "warn " + code + ", usage incomplete"
	case s.path == converse:
		return "info, usage incomplete" // robots tell none
	}
	return "info"
}

// brief is a log line in a few words: its level, the code of the error, and whether the
// usage is known.
func (l line) brief() string {
	words := l.Level
	if l.Error != "" {
		code, _, _ := strings.Cut(strings.TrimPrefix(l.Error, "the stream failed after its first byte: "), ":")
		words += " " + code
	}
	if l.Incomplete == nil || *l.Incomplete {
		words += ", usage incomplete"
	}
	return words
}

// sight is what a client saw in a few words: the frames of a stream, the code of a refusal.
func sight(a answer) string {
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	switch {
	case kind == "text/event-stream":
		return streamSeen(a.body)
	case a.status == http.StatusOK:
		return documentSeen(a.body)
	}
	words := strconv.Itoa(a.status) + " " + codeOf(a.body)
	if after := a.header.Get("Retry-After"); after != "" {
		words += " retry " + after
	}
	return words
}

func codeOf(body string) string {
	var told struct{ ErrorMessageKey, ErrorName, Code any }
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		return "in no JSON"
	}
	for _, code := range []any{told.ErrorMessageKey, told.ErrorName, told.Code} {
		if code, ok := code.(string); ok && code != "" {
			return code
		}
	}
	return "without a code"
}

func documentSeen(body string) string {
	var told struct {
		End  bool
		Data struct{ Stop bool }
	}
	switch {
	case !utf8.ValidString(body):
		return "200, not UTF-8"
	case json.Unmarshal([]byte(body), &told) != nil:
		return "200, not JSON"
	case !told.End && !told.Data.Stop:
		return "200 without an end"
	}
	return "200"
}

func streamSeen(body string) string {
	var words []string
	count := 0
	flush := func() {
		if count > 1 {
			words[len(words)-1] += "*" + strconv.Itoa(count)
		}
	}
	for _, e := range events(body) {
		word := wordOf(e)
		if len(words) > 0 && words[len(words)-1] == word {
			count++
			continue
		}
		flush()
		words, count = append(words, word), 1
	}
	flush()
	return strings.Join(words, " ")
}

func wordOf(e event) string {
	var told struct{ Stop bool }
	err := json.Unmarshal([]byte(e.data), &told)
	word := "frame"
	switch {
	case e.kind == "error":
		return "error " + codeOf(e.data)
	case e.kind != "":
		word = e.kind
	case told.Stop:
		word = "end"
	}
	if !utf8.ValidString(e.data) {
		word += "(not UTF-8)"
	}
	if err != nil {
		word += "(not JSON)"
	}
	return word
}

// textOf is what was said, as a client puts it together.
func textOf(s surface, body string) string {
	var last struct {
		Text    string
		Choices []struct{ Messages []struct{ Content string } }
		Data    struct {
			Choices []struct{ Messages []struct{ Content string } }
		}
	}
	list := events(body)
	if len(list) == 0 {
		list = []event{{data: body}}
	}
	text := ""
	for _, e := range list {
		last.Text, last.Choices, last.Data.Choices = "", nil, nil
		if json.Unmarshal([]byte(e.data), &last) != nil {
			return ""
		}
		for _, choice := range append(last.Choices, last.Data.Choices...) {
			text = choice.Messages[0].Content
		}
		switch {
		case s.path != converse:
		case e.kind == "delta":
			text += last.Text
		case e.kind == "done" && text != last.Text:
			return "the deltas give " + text
		default:
			text = last.Text
		}
	}
	return text
}
