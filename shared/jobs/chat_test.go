package jobs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

func TestChatEventOnTheWire(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		event jobs.ChatEvent
		want  string
	}{
		{
			"the least",
			jobs.ChatEvent{Bot: "beebot:chatbot-cn-local", UserID: "u1", RequestID: "req_1", MessageID: "m1", DurMs: 12},
			`{"bot":"beebot:chatbot-cn-local","userId":"u1","requestId":"req_1","messageId":"m1","durMs":12,"usage":{"inputTokens":0,"outputTokens":0}}`,
		},
		{
			"a stream that was cut",
			jobs.ChatEvent{
				Bot: "character:c1", UserID: "123456789", RequestID: "r", MessageID: "m", SessionID: "s", UpstreamRequestID: "up",
				Key: "ci", Surface: jobs.SurfaceOpenAI, Stream: true, DurMs: 900, FirstMs: 80, ThrottledMs: 5, Anonymous: true,
				Usage: jobs.ChatUsage{InputTokens: 489, OutputTokens: 10, UserTokens: 9, PluginTokens: 1, Incomplete: true},
				Error: &jobs.ChatError{Code: "upstream_truncated", Status: 502},
			},
			`{"bot":"character:c1","userId":"123456789","anonymous":true,"requestId":"r","messageId":"m","sessionId":"s","upstreamRequestId":"up",` +
				`"key":"ci","surface":"openai","stream":true,"durMs":900,"firstMs":80,"throttledMs":5,` +
				`"usage":{"inputTokens":489,"outputTokens":10,"userTokens":9,"pluginTokens":1,"incomplete":true},"error":{"code":"upstream_truncated","status":502}}`,
		},
		{
			"a hand-over",
			jobs.ChatEvent{
				Bot: "beebot:b", UserID: "u", RequestID: "r", MessageID: "m", Source: "COMMANDS",
				Handover: &jobs.ChatHandover{SkillGroup: "12", Ext: "abc"}, Question: "转人工", Text: "正在为您转接人工客服",
			},
			`{"bot":"beebot:b","userId":"u","requestId":"r","messageId":"m","durMs":0,"usage":{"inputTokens":0,"outputTokens":0},` +
				`"source":"COMMANDS","handover":{"skillGroup":"12","ext":"abc"},"question":"转人工","text":"正在为您转接人工客服"}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(tc.event)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Error(diff)
			}
			var back jobs.ChatEvent
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.event, back); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSplitBot(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		bot, kind, id string
		ok            bool
	}{
		{"character:c1", "character", "c1", true},
		{"beebot:chatbot-cn-x", "beebot", "chatbot-cn-x", true},
		{"character:a:b", "character", "a:b", true},
		{"character:", "character", "", false},
		{":c1", "", "c1", false},
		{"c1", "c", "", false},
		{"", "", "", false},
		{"*:c1", "*", "c1", false},
		{"a.b:c1", "a.b", "c1", false},
	} {
		kind, id, ok := jobs.SplitBot(tc.bot)
		if ok != tc.ok || tc.ok && (kind != tc.kind || id != tc.id || jobs.Bot(kind, id) != tc.bot) {
			t.Errorf("SplitBot(%q) = %q, %q, %v", tc.bot, kind, id, ok)
		}
	}
}

func TestSetTextClipsAtCharacters(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       int
		clipped    bool
	}{
		{"nothing", "", 0, false},
		{"short", "你好", 6, false},
		{"just fits", strings.Repeat("a", jobs.MaxChatText), jobs.MaxChatText, false},
		{"one byte too long", strings.Repeat("a", jobs.MaxChatText+1), jobs.MaxChatText, true},
		{"three bytes a character", strings.Repeat("星", jobs.MaxChatText), jobs.MaxChatText / 3 * 3, true},
		{"four bytes a character", "a" + strings.Repeat("😀", jobs.MaxChatText), (jobs.MaxChatText-1)/4*4 + 1, true},
		{"no text at all", strings.Repeat("\x80", 2*jobs.MaxChatText), jobs.MaxChatText - utf8.UTFMax, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var question, answer jobs.ChatEvent
			question.SetText(tc.text, "")
			answer.SetText("", tc.text)
			if len(question.Question) != tc.want || len(answer.Text) != tc.want || !strings.HasPrefix(tc.text, answer.Text) {
				t.Errorf("%d and %d bytes, want %d", len(question.Question), len(answer.Text), tc.want)
			}
			if question.Clipped != tc.clipped || answer.Clipped != tc.clipped {
				t.Errorf("clipped: %v, %v", question.Clipped, answer.Clipped)
			}
			if utf8.ValidString(tc.text) && !utf8.ValidString(answer.Text) {
				t.Error("a character was cut in two")
			}
		})
	}
}

func TestDirectoryKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("u", jobs.MaxDirectoryID)
	for _, tc := range []struct {
		bot, user, key string
	}{
		{"character:c1", "1234567", "character.YzE.MTIzNDU2Nw"},
		{"beebot:chatbot-cn-x", "a.b", "beebot.Y2hhdGJvdC1jbi14.YS5i"},
		{"character:a:b", "*", "character.YTpi.Kg"},
		{"character:c1", ">", "character.YzE.Pg"},
		{"character:c1", "星河 😀\n", "character.YzE.5pif5rKzIPCfmIAK"},
		{"character:c1", "", ""},
		{"character:c1", long + "u", ""},
		{"character:" + long, "u", ""},
		{"c1", "u", ""},
		{"", "u", ""},
		{"a*:c1", "u", ""},
	} {
		key, ok := jobs.DirectoryKey(tc.bot, tc.user)
		if key != tc.key || ok != (tc.key != "") {
			t.Errorf("DirectoryKey(%q, %q) = %q, %v, want %q", tc.bot, tc.user, key, ok, tc.key)
		}
	}
	if key, ok := jobs.DirectoryKey("character:c1", long); !ok || len(key) > 400 {
		t.Errorf("the longest user id: %q, %v", key, ok)
	}
	if filter, ok := jobs.DirectoryFilter("character:c1"); !ok || filter != "character.YzE.*" {
		t.Errorf("DirectoryFilter: %q, %v", filter, ok)
	}
	if filter, ok := jobs.DirectoryFilter("*"); ok {
		t.Errorf("DirectoryFilter(*): %q", filter)
	}
	if filter, ok := jobs.DirectoryUserFilter("1234567"); !ok || filter != "*.*.MTIzNDU2Nw" {
		t.Errorf("DirectoryUserFilter: %q, %v", filter, ok)
	}
	if filter, ok := jobs.DirectoryUserFilter(""); ok {
		t.Errorf("DirectoryUserFilter of nobody: %q", filter)
	}
}

// Two pairs must never share a key, and a key must be one that NATS takes.
func FuzzDirectoryKey(f *testing.F) {
	f.Add("character:c1", "u", "character:c", "1u")
	f.Add("character:a.b", "c", "character:a", "b.c")
	f.Add("beebot:*", ">", "beebot:>", "*")
	f.Fuzz(func(t *testing.T, bot, user, otherBot, otherUser string) {
		key, ok := jobs.DirectoryKey(bot, user)
		other, otherOK := jobs.DirectoryKey(otherBot, otherUser)
		if ok && otherOK && (key == other) != (bot == otherBot && user == otherUser) {
			t.Errorf("%q, %q and %q, %q: %q and %q", bot, user, otherBot, otherUser, key, other)
		}
		if !ok {
			return
		}
		parts := strings.Split(key, ".")
		for _, part := range parts {
			if len(parts) != 3 || part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
				t.Errorf("%q is no key", key)
			}
		}
		if filter, _ := jobs.DirectoryFilter(bot); !strings.HasPrefix(key, strings.TrimSuffix(filter, "*")) {
			t.Errorf("%q does not match %q", key, filter)
		}
		if filter, _ := jobs.DirectoryUserFilter(user); !strings.HasSuffix(key, strings.TrimPrefix(filter, "*.*")) {
			t.Errorf("%q does not match %q", key, filter)
		}
	})
}

func ExampleChatEvent() {
	data := jobs.ChatEvent{
		Bot: jobs.Bot(jobs.BotCharacter, "c39797a3"), UserID: "1234567", RequestID: "req_1", MessageID: "m1",
		DurMs: 840, Usage: jobs.ChatUsage{InputTokens: 489, OutputTokens: 10},
	}
	at := time.Date(2024, 5, 22, 1, 54, 54, 0, time.UTC)
	event, err := jobs.NewEvent(jobs.EventChatCompleted, "evt_1", "/xinghe/chat", data.Bot, at, data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(jobs.EventPrefix + jobs.EventChatCompleted)
	fmt.Println(event.Type, event.Subject)
	fmt.Println(string(event.Data))
	// Output:
	// xinghe.events.chat.completed
	// xinghe.chat.completed character:c39797a3
	// {"bot":"character:c39797a3","userId":"1234567","requestId":"req_1","messageId":"m1","durMs":840,"usage":{"inputTokens":489,"outputTokens":10}}
}
