package stack_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"xinghe/shared/directory"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
)

// heard are the chat events that a stack publishes.
type heard struct {
	t *testing.T

	mu   sync.Mutex
	list []told
}

// told is an event of a chat.
type told struct {
	kind string
	raw  string
	jobs.Event
	data jobs.ChatEvent
}

// listen hears all events from now on, and checks that they are CloudEvents.
func (b *bundle) listen() *heard {
	b.t.Helper()
	conn, err := nats.Connect(b.NATSURL)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	h := &heard{t: b.t}
	_, err = conn.Subscribe(jobs.EventPrefix+">", h.take)
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func (h *heard) take(msg *nats.Msg) {
	e := told{kind: strings.TrimPrefix(msg.Subject, jobs.EventPrefix), raw: string(msg.Data)}
	if err := json.Unmarshal(msg.Data, &e.Event); err != nil {
		h.t.Errorf("%s: %v", msg.Data, err)
		return
	}
	if err := json.Unmarshal(e.Data, &e.data); err != nil {
		h.t.Errorf("%s: %v", msg.Data, err)
	}
	if e.SpecVersion != "1.0" || e.ID == "" || e.Source != "/xinghe/chat" || e.Type != "xinghe."+e.kind || e.Time.IsZero() ||
		e.DataContentType != "application/json" || e.Subject != e.data.Bot {
		h.t.Errorf("no CloudEvent of ours: %s", msg.Data)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, e)
}

// of waits for as many events of a request and returns them by kind.
func (h *heard) of(requestID string, count int) map[string]told {
	h.t.Helper()
	var found map[string]told
	until(h.t, fmt.Sprintf("%d events of %s are heard", count, requestID), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		found = map[string]told{}
		n := 0
		for _, e := range h.list {
			if e.data.RequestID == requestID {
				found[e.kind] = e
				n++
			}
		}
		return n >= count
	})
	return found
}

// TestChatEvents holds that what became of each conversation is told once, to whom it may
// concern, without its words unless they are asked for.
func TestChatEvents(t *testing.T) {
	t.Parallel()
	const (
		ask = "/v1/beebot/" + robot + "/ask"
		key = "a-key-of-ci"
	)
	digest := sha256.Sum256([]byte(key))
	keys := `[{"name":"ci","sha256":"` + hex.EncodeToString(digest[:]) + `","scopes":["chat"]}]`
	character, beebot := jobs.Bot(jobs.BotCharacter, xiaowan), jobs.Bot(jobs.BotBeebot, robot)
	said := func(text, user string) string { return fmt.Sprintf(`{"utterance":%q,"senderId":%q}`, text, user) }
	streamed := []string{"X-AcA-SSE", "enable", "Accept", "text/event-stream"}
	for _, withText := range []string{"", "true"} {
		b := setup(t, map[string]string{"XINGHE_API_KEYS": keys, "XINGHE_EVENT_TEXT": withText}, emulator.Config{})
		err := b.Emulator.Faults().Set(
			fault.Rule{Fault: fault.InternalError, User: "refused"}, fault.Rule{Fault: fault.Reset, AtFrame: 2, User: "broken"},
		)
		if err != nil {
			t.Fatal(err)
		}
		h := b.listen()
		for i, tc := range []struct {
			name, path, body string
			header           []string
			kinds            []string
			want             jobs.ChatEvent // what of it does not change from call to call
			question, text   string
		}{
			{
				name: "whole", path: send, body: chat(xiaowan, "u1", "写10字"), kinds: []string{jobs.EventChatCompleted},
				want: jobs.ChatEvent{Bot: character, UserID: "u1", Surface: jobs.SurfaceXingchen}, question: "写10字", text: "那天风很轻",
			},
			{
				name: "streamed", path: send, body: chat(xiaowan, "u2", "写10字"), header: streamed, kinds: []string{jobs.EventChatCompleted},
				want: jobs.ChatEvent{Bot: character, UserID: "u2", Surface: jobs.SurfaceXingchen, Stream: true}, question: "写10字", text: "那天风很轻",
			},
			{
				name: "refused", path: send, body: chat(xiaowan, "refused", "写10字"), kinds: []string{jobs.EventChatFailed},
				want: jobs.ChatEvent{
					Bot: character, UserID: "refused", Surface: jobs.SurfaceXingchen, Usage: jobs.ChatUsage{Incomplete: true},
					Error: &jobs.ChatError{Code: "upstream_error", Status: http.StatusBadGateway},
				}, question: "写10字",
			},
			{
				name: "broken off", path: send, body: chat(xiaowan, "broken", "写10字"), header: streamed, kinds: []string{jobs.EventChatFailed},
				want: jobs.ChatEvent{
					Bot: character, UserID: "broken", Surface: jobs.SurfaceXingchen, Stream: true, Usage: jobs.ChatUsage{Incomplete: true},
					Error: &jobs.ChatError{Code: "upstream_truncated", Status: http.StatusBadGateway},
				}, question: "写10字", text: "那",
			},
			{
				name: "handed over", path: converse, body: said("人工客服", "u3"), header: streamed, kinds: []string{jobs.EventChatCompleted, jobs.EventHandoverRequested},
				want: jobs.ChatEvent{Bot: beebot, UserID: "u3", Surface: jobs.SurfaceBeebot, Stream: true, Usage: jobs.ChatUsage{Incomplete: true}}, question: "人工客服", text: "正在为您转接人工客服",
			},
			{
				name: "no answer", path: converse, body: said("公积金贷款", "u4"), kinds: []string{jobs.EventChatCompleted, jobs.EventAnswerMissing},
				want: jobs.ChatEvent{Bot: beebot, UserID: "u4", Surface: jobs.SurfaceBeebot, Usage: jobs.ChatUsage{Incomplete: true}}, question: "公积金贷款", text: "我还没有学会这个问题",
			},
			{
				// How a stream marks a sensitive word is not documented.
				name: "sensitive", path: converse, body: said("敏感词", "u5"), kinds: []string{jobs.EventChatCompleted},
				want: jobs.ChatEvent{Bot: beebot, UserID: "u5", Surface: jobs.SurfaceBeebot, Usage: jobs.ChatUsage{Incomplete: true}}, question: "敏感词", text: "您说的这个问题",
			},
			{
				name: "asked, handed over", path: ask, body: said("人工客服", "u6"), kinds: []string{jobs.EventChatCompleted, jobs.EventHandoverRequested},
				want: jobs.ChatEvent{Bot: beebot, UserID: "u6", Surface: jobs.SurfaceBeebot, Usage: jobs.ChatUsage{Incomplete: true}}, question: "人工客服", text: "正在为您转接人工客服",
			},
			{
				name: "asked, no answer", path: ask, body: said("公积金贷款", "u7"), kinds: []string{jobs.EventChatCompleted, jobs.EventAnswerMissing},
				want: jobs.ChatEvent{Bot: beebot, UserID: "u7", Surface: jobs.SurfaceBeebot, Usage: jobs.ChatUsage{Incomplete: true}}, question: "公积金贷款", text: "我还没有学会这个问题",
			},
			{
				name: "asked, sensitive", path: ask, body: said("敏感词", "u8"), kinds: []string{jobs.EventChatCompleted, jobs.EventAnswerSensitive},
				want: jobs.ChatEvent{Bot: beebot, UserID: "u8", Surface: jobs.SurfaceBeebot, Usage: jobs.ChatUsage{Incomplete: true}}, question: "敏感词", text: "您说的这个问题",
			},
		} {
			t.Run(tc.name+", text "+withText, func(t *testing.T) {
				b, h := b.of(t), h.of
				id := fmt.Sprintf("request-%d", i)
				got := b.call(http.MethodPost, b.URL+tc.path, key, tc.body, append(tc.header, "X-Request-Id", id)...)
				events := h(id, len(tc.kinds))
				for _, kind := range tc.kinds {
					e, ok := events[kind]
					if !ok {
						t.Fatalf("no %s of %v", kind, events)
					}
					checkChatEvent(t, e, tc.want, got)
					if withText == "" && (e.data.Question != "" || e.data.Text != "" || strings.Contains(e.raw, tc.question)) {
						t.Errorf("words that nobody asked for: %s", e.raw)
					}
					if withText != "" && (e.data.Question != tc.question || !strings.HasPrefix(e.data.Text, tc.text)) {
						t.Errorf("asked %q, answered %q", e.data.Question, e.data.Text)
					}
				}
				if handed, ok := events[jobs.EventHandoverRequested]; ok && (handed.data.Handover == nil || handed.data.Handover.SkillGroup != "12") {
					t.Errorf("%s", handed.raw)
				}
			})
		}
		b.checkDirectory(character, "u1", "u2")
		b.checkDirectory(beebot, "u3", "u4", "u5", "u6", "u7", "u8")
	}
}

// checkChatEvent compares what does not change, and looks whether the rest is there.
func checkChatEvent(t *testing.T, e told, want jobs.ChatEvent, got answer) {
	t.Helper()
	d := e.data
	if d.UpstreamRequestID == "" || d.Key != "ci" || d.RequestID != got.header.Get("X-Request-Id") {
		t.Errorf("%s", e.raw)
	}
	// Upstream names the message in what the client got too, unless there is none.
	if (d.MessageID == "") != (want.Error != nil && want.Error.Code == "upstream_error") || !strings.Contains(got.body, d.MessageID) {
		t.Errorf("message %q, of %s", d.MessageID, got.body)
	}
	if want.Surface == jobs.SurfaceXingchen && want.Error == nil && (d.Usage.OutputTokens != 10 || d.Usage.InputTokens == 0) {
		t.Errorf("usage %+v", d.Usage)
	}
	if e.kind != jobs.EventChatCompleted && e.kind != jobs.EventChatFailed {
		want.Usage = jobs.ChatUsage{}
	}
	same := jobs.ChatEvent{Bot: d.Bot, UserID: d.UserID, Surface: d.Surface, Stream: d.Stream, Error: d.Error, Usage: jobs.ChatUsage{Incomplete: d.Usage.Incomplete}}
	if diff := cmp.Diff(want, same); diff != "" {
		t.Errorf("%s (-want +got):\n%s", e.kind, diff)
	}
}

// checkDirectory waits until the directory has these users of a bot, and no others.
func (b *bundle) checkDirectory(bot string, users ...string) {
	b.t.Helper()
	q, err := queue.Open(queue.ConnConfig{URL: b.NATSURL}, queue.Config{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer q.Close()
	entries, err := directory.Open(q)
	if err != nil {
		b.t.Fatal(err)
	}
	until(b.t, fmt.Sprintf("the directory has %v for %s", users, bot), func() bool {
		var found []string
		for entry, err := range entries.Users(b.t.Context(), bot) {
			if err != nil {
				b.t.Fatal(err)
			}
			found = append(found, entry.UserID)
		}
		found = slices.DeleteFunc(found, func(user string) bool { return user == "broken" }) // upstream did answer
		slices.Sort(found)
		return slices.Equal(found, users)
	})
}

// TestChatWithoutNATS holds that chat answers all the same, also when NATS goes away while
// it runs.
func TestChatWithoutNATS(t *testing.T) {
	t.Parallel()
	broker := setup(t, nil, emulator.Config{})
	b := setup(t, map[string]string{"NATS_URL": broker.NATSURL}, emulator.Config{})
	try := func() {
		for i, s := range surfaces {
			got := b.post(s.path, s.body("u"))
			if got.status != http.StatusOK {
				t.Errorf("surface %d: %d %s", i, got.status, got.body)
			}
		}
	}
	try()
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		try()
	}
}
