package beebot_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/beebot"
)

// TestAnswerCases reaches every answer case of the conversation API page by what one says, and
// compares keys, types and nesting of the whole answer with the page's example; the messages
// themselves are the same word for word.
func TestAnswerCases(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ utterance, fixture string }{
		{"测试富文本", "chat-faq-direct.json"},
		{"文本", "chat-faq-clarify.json"},
		{"查天气", "chat-dialog-direct.json"},
		{"公积金", "chat-dialog-clarify.json"},
		{"住房公积金", "chat-intent-faq-mixed-clarify.json"},
		{"你好", "chat-chitchat-system.json"},
		{"谢谢你", "chat-chitchat-user-defined.json"},
		{"敏感词!查天气", "chat-sensitive-word.json"},
		{"净值大于1", "chat-handover-global.json"},
		{"转人工", "chat-handover-intent.json"},
		{"公积金贷款", "chat-no-answer.json"},
	} {
		t.Run(row.fixture, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			reply := b.ask(row.utterance, "SessionId", "1234")
			if reply.status != http.StatusOK {
				t.Fatalf("%d %s", reply.status, reply.body)
			}
			got := reply.decode(t)
			want := replyOf(fixture(t, row.fixture)).decode(t)
			if diff := cmp.Diff(want["Messages"], got["Messages"]); diff != "" {
				t.Errorf("messages (-documented +emulator)\n%s", diff)
			}
			if words, ok := got["QuerySegList"].([]any); !ok || len(words) == 0 || strings.Join(strs(words), "") != row.utterance {
				t.Errorf("QuerySegList = %v", got["QuerySegList"])
			}
			delete(want, "QuerySegList")
			delete(got, "QuerySegList")
			if diff := cmp.Diff(shape(want), shape(got)); diff != "" {
				t.Errorf("shape (-documented +emulator)\n%s", diff)
			}
			if got["SessionId"] != "1234" || got["RequestId"] != nil && got["RequestId"] != got["MessageId"] {
				t.Errorf("ids: %s", reply.body)
			}
			if strings.Contains(row.fixture, "faq-direct") && !strings.Contains(string(reply.body), `"Score":100.0`) {
				t.Errorf("score without a fraction: %s", reply.body)
			}
		})
	}
}

func replyOf(body []byte) reply { return reply{body: body} }

func strs(list []any) []string {
	out := make([]string, 0, len(list))
	for _, item := range list {
		out = append(out, fmt.Sprint(item))
	}
	return out
}

func TestChatParameters(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("问", 129)
	for _, row := range []struct {
		name   string
		pairs  []string
		status int
		code   any
		want   string // part of the answer
	}{
		{"no instance", []string{"InstanceId", ""}, 400, "MissingInstanceId", ""},
		{"no utterance", []string{"Utterance", ""}, 400, "MissingUtterance", ""},
		{"blank utterance", []string{"Utterance", " \t"}, 400, "MissingUtterance", ""},
		{"unknown robot", []string{"InstanceId", "chatbot-cn-nobody"}, 404, "InvalidInstanceId.NotFound", ""},
		{"long utterance", []string{"Utterance", long}, 400, "InvalidParameter", "The specified parameter Utterance is not valid."},
		{"longest utterance", []string{"Utterance", long[:len(long)-3]}, 200, nil, "NO_ANSWER"},
		{"long session", []string{"SessionId", strings.Repeat("s", 65)}, 400, "InvalidParameter", "SessionId"},
		{"longest session", []string{"SessionId", strings.Repeat("s", 64)}, 200, nil, ""},
		{"vendor parameters", []string{"VendorParam", `{"phone":123456789}`}, 200, nil, ""},
		{"vendor parameters, no JSON", []string{"VendorParam", `{phone}`}, 400, "InvalidParameter", "VendorParam"},
		{"vendor parameters, a list", []string{"VendorParam", `[1]`}, 400, "InvalidParameter", "VendorParam"},
		{"tag comes back", []string{"Tag", "any<thing>"}, 200, nil, `"Tag":"any<thing>"`},
		{"sandbox", []string{"SandBox", "true"}, 200, nil, ""},
		{"sandbox, no boolean", []string{"SandBox", "perhaps"}, 400, "InvalidParameter", "SandBox"},
		{"perspective by number", []string{"Utterance", "测试富文本", "Perspective.1", "FZJBY3raWr"}, 200, nil, "另一个视角"},
		{"perspective as list", []string{"Utterance", "测试富文本", "Perspective", `["FZJBY3raWr"]`}, 200, nil, "另一个视角"},
		{"unknown perspective", []string{"Utterance", "测试富文本", "Perspective.1", "nobody"}, 200, nil, "富文本答案啊"},
		{"two perspectives", []string{"Perspective.1", "a", "Perspective.2", "b"}, 400, "InvalidParameter", "Perspective"},
		{"perspective, no list", []string{"Perspective", "FZJBY3raWr"}, 400, "InvalidParameter", "Perspective"},
		{"by knowledge id", []string{"Utterance", "", "KnowledgeId", "4548"}, 200, nil, `"RelatedKnowledges":[{"KnowledgeId":"4549","Title":"测试富文本"}]`},
		{"dialogue by knowledge id", []string{"Utterance", "", "KnowledgeId", "735899"}, 200, nil, "公积金查询意图"},
		{"by intent", []string{"Utterance", "", "IntentName", "查天气意图"}, 200, nil, "请问您要查哪里的天气?"},
		{"unknown knowledge id", []string{"KnowledgeId", "1"}, 400, "InvalidParameter", "KnowledgeId"},
		{"unknown intent", []string{"IntentName", "1"}, 400, "InvalidParameter", "IntentName"},
		{"other space", []string{"InstanceId", "chatbot-cn-elsewhere"}, 403, "Forbidden", ""},
		{"other space, named", []string{"InstanceId", "chatbot-cn-elsewhere", "AgentKey", "second"}, 200, nil, ""},
		{"unknown space", []string{"AgentKey", "third"}, 403, "Forbidden", ""},
		{"frozen", []string{"InstanceId", "chatbot-cn-frozen"}, 403, "InstanceFreezing", ""},
		{"other edition", []string{"InstanceId", "chatbot-cn-tongyi"}, 403, "Forbidden", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(cfg *beebot.Config) {
				cfg.Bots = append(beebot.DefaultBots(),
					beebot.Bot{ID: "chatbot-cn-elsewhere", AgentKey: "second"},
					beebot.Bot{ID: "chatbot-cn-frozen", Frozen: true},
					beebot.Bot{ID: "chatbot-cn-tongyi", Edition: beebot.EditionTongyi})
			})
			params := b.params("Chat", "InstanceId", beebot.DefaultInstanceID, "Utterance", "随便问问")
			for i := 0; i < len(row.pairs); i += 2 {
				params[row.pairs[i]] = row.pairs[i+1]
			}
			got := b.send(params)
			if got.status != row.status || got.decode(t)["Code"] != row.code || !strings.Contains(string(got.body), row.want) {
				t.Errorf("got %d %s, want %d %v with %q", got.status, got.body, row.status, row.code, row.want)
			}
		})
	}
}

func TestUnknownRobotByAnotherCode(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *beebot.Config) { cfg.Assume.CodeUnknownBot = "InvalidParameter" })
	if got := b.ask("你好", "InstanceId", "chatbot-cn-nobody"); got.status != 400 || got.decode(t)["Code"] != "InvalidParameter" {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// turn is what a visitor says and a part of what comes back.
type turn struct{ say, want string }

func TestDialogues(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		turns []turn
	}{
		{"slot", []turn{{"查天气", "请问您要查哪里的天气?"}, {"我在首都", `"Content":"北京晴`}, {"上海", "NO_ANSWER"}}},
		{"slot is reported", []turn{{"查天气", `"Value":""`}, {"杭州", `"Slots":[{"Origin":"杭州","Hit":true,"Value":"杭州","Name":"查天气意图.city"}]`}}},
		{"slot in the phrase", []turn{{"查上海天气", `"Content":"上海晴`}}},
		{"slot in a synonym", []turn{{"魔都天气怎么样?", `"Content":"上海晴`}}},
		{"slot beside the phrase", []turn{{"帮我查天气,广州的", `"Content":"广州晴`}}},
		{"asks again and gives up", []turn{
			{"查天气", "哪里的天气"}, {"火星", "哪里的天气"}, {"火星", "哪里的天气"}, {"火星", "NO_ANSWER"}, {"北京", "NO_ANSWER"},
		}},
		{"two slots", []turn{{"公积金提取", "因为什么"}, {"买房", "提取多少"}, {"5000元", "因购房提取公积金,金额5000元"}}},
		{"hits only in their turn", []turn{{"公积金提取", ""}, {"买房", ""}, {"1万", `{"Origin":"买房","Hit":false,"Value":"购房","Name":"公积金提取意图.reason"}`}}},
		{"another question in between", []turn{{"查天气", "哪里的天气"}, {"测试富文本", "富文本答案啊"}, {"北京", "NO_ANSWER"}}},
		{"sensitive word keeps the dialogue", []turn{{"查天气", "哪里的天气"}, {"敏感词", "SENSITIVE_WORD"}, {"北京", "北京晴"}}},
		{"hand-over leaves it", []turn{{"查天气", "哪里的天气"}, {"人工客服", "COMMANDS"}, {"北京", "NO_ANSWER"}}},
		{"choice after a clarification", []turn{{"公积金", "735899"}, {"公积金查询", "您可以在公积金网站查询账户余额"}}},
		{"part of a title", []turn{{"税前扣除", `"AnswerSource":"KNOWLEDGE","Recommends":[{`}}},
		{"full width and case", []turn{{"ＨＥＬＬＯ！", "ChitChat"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			session := ""
			for i, turn := range row.turns {
				got := b.ask(turn.say, "SessionId", session)
				if !strings.Contains(string(got.body), turn.want) {
					t.Fatalf("turn %d: said %q, got %s, want %s", i, turn.say, got.body, turn.want)
				}
				next, _ := got.decode(t)["SessionId"].(string)
				if session != "" && next != session || next == "" {
					t.Fatalf("turn %d: session %q, was %q", i, next, session)
				}
				session = next
			}
		})
	}
}

func TestSessionsAreApartAndEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ask("查天气", "SessionId", "one")
	if got := b.ask("北京", "SessionId", "two"); !strings.Contains(string(got.body), "NO_ANSWER") {
		t.Errorf("another session: %s", got.body)
	}
	b.clock.advance(24*time.Hour - time.Second)
	if got := b.ask("火星", "SessionId", "one"); !strings.Contains(string(got.body), "哪里的天气") {
		t.Errorf("within the lifetime: %s", got.body)
	}
	b.clock.advance(24 * time.Hour)
	if got := b.ask("北京", "SessionId", "one"); !strings.Contains(string(got.body), "NO_ANSWER") || got.decode(t)["SessionId"] != "one" {
		t.Errorf("after it: %s", got.body)
	}
}

func TestFullEnvelope(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *beebot.Config) { cfg.Assume.FullEnvelope = true })
	for _, utterance := range []string{"转人工", "你好"} {
		if got := b.ask(utterance).decode(t); got["RequestId"] == nil || got["Success"] != true {
			t.Errorf("%s: %v", utterance, got)
		}
	}
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) string {
		b := setup(t, func(cfg *beebot.Config) { cfg.Seed = seed })
		out := string(b.ask("公积金").body)
		for _, f := range b.talk(body("m", map[string]any{"InstanceId": beebot.DefaultInstanceID, "Utterance": "为什么天是蓝的"})) {
			out += string(f.raw)
		}
		return out
	}
	if first, second := run(7), run(7); first != second {
		t.Errorf("same seed, other bytes\n%s", cmp.Diff(first, second))
	}
	if run(7) == run(8) {
		t.Error("another seed gave the same ids")
	}
}
