package beebot_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/upstream"
)

// Every kind of answer that the session API page shows.
func TestChatAnswers(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]beebot.ChatResponse{
		"chat-faq-direct.json": {
			RequestID: "1b8b19de-7e6d-4e45-b7f1-9daca21af8b0", MessageID: "1b8b19de-7e6d-4e45-b7f1-9daca21af8b0", SessionID: "1234",
			QuerySegments: []string{"测试", "富文", "本"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindKnowledge, Source: "KnowledgeBase",
				Knowledge: &beebot.KnowledgeAnswer{
					ID: "4549", Title: "测试富文本", Summary: "富文本答案啊", Content: "<p>富文本答案啊</p>", ContentType: "RICH_TEXT",
					AnswerSource: "KnowledgeBase", Category: "第一个类目", Score: 100,
				},
			}},
		},
		"chat-faq-clarify.json": {
			RequestID: "5af5d5f9-76b1-45e9-8003-fcd07ab9a5e4", MessageID: "5af5d5f9-76b1-45e9-8003-fcd07ab9a5e4", SessionID: "1234",
			QuerySegments: []string{"文本"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindRecommend, Source: "KNOWLEDGE",
				Recommends: []beebot.Recommend{{KnowledgeID: "4548", Title: "测试纯文本", Source: "KNOWLEDGE", Score: 46}},
			}},
		},
		"chat-dialog-direct.json": {
			RequestID: "dc6757ef-9d03-4255-92ec-d262752a88ed", MessageID: "dc6757ef-9d03-4255-92ec-d262752a88ed", SessionID: "1234",
			QuerySegments: []string{"查", "天气"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindText, Source: "BotFramework",
				Text: &beebot.TextAnswer{
					Content: "请问您要查哪里的天气?", ContentType: "PLAIN_TEXT", AnswerSource: "BotFramework", Score: 100,
					NodeID: "1410-c7a72a78.__city", NodeName: "示例_查天气.查天气填槽.__city", DialogName: "示例_查天气", IntentName: "查天气意图",
					Slots: []beebot.Slot{{Name: "查天气意图.city"}}, ExternalFlags: json.RawMessage(`{}`),
				},
			}},
		},
		"chat-dialog-clarify.json": {
			RequestID: "ab6be8af-cee4-40c3-9919-2ac7461d7d98", MessageID: "ab6be8af-cee4-40c3-9919-2ac7461d7d98", SessionID: "123",
			QuerySegments: []string{"公积金"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindRecommend, Source: "BotFramework", VoiceTitle: "请问你说的是公积金查询,还是公积金提取",
				Recommends: []beebot.Recommend{
					{KnowledgeID: "735899", Title: "公积金查询", Source: "BotFramework", Score: 0.656},
					{KnowledgeID: "735900", Title: "公积金提取", Source: "BotFramework", Score: 0.634},
				},
			}},
		},
		"chat-intent-faq-mixed-clarify.json": {
			RequestID: "08d6bb1c-5394-4836-8e4a-86c07e7729b1", MessageID: "08d6bb1c-5394-4836-8e4a-86c07e7729b1", SessionID: "123",
			QuerySegments: []string{"公积金"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindRecommend, Source: "INTENT_FAQ_CLARIFY", VoiceTitle: "请问你说的是公积金查询,还是住房公积金在个人所得税税前扣除的具体规定是什么?",
				Recommends: []beebot.Recommend{
					{KnowledgeID: "735899", Title: "公积金查询", Source: "BotFramework", Score: 0.656},
					{
						KnowledgeID: "7049", Title: "住房公积金在个人所得税税前扣除的具体规定是什么?", Source: "KNOWLEDGE", Score: 0.47410887479782104,
						Category: "税务-12366&680条-税款计算-居民个人取得综合所得-个人所得税专项扣除",
					},
				},
			}},
		},
		"chat-chitchat-system.json": {
			RequestID: "8f267d8c-c118-4d6a-9ba1-2a5bdc720fed", MessageID: "8f267d8c-c118-4d6a-9ba1-2a5bdc720fed", SessionID: "1234",
			QuerySegments: []string{"你好"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindText, Source: "ChitChat",
				Text: &beebot.TextAnswer{Content: "哔~哔~哔~,我来了", ContentType: "PLAIN_TEXT", AnswerSource: "ChitChat", UserDefinedChatTitle: "其他", HitStatement: "你好"},
			}},
		},
		"chat-chitchat-user-defined.json": {
			RequestID: "56d89830-09fe-4606-afb2-240199509503", MessageID: "56d89830-09fe-4606-afb2-240199509503", SessionID: "1234",
			QuerySegments: []string{"谢谢你"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindText, Source: "USER_DEFINED_CHAT",
				Text: &beebot.TextAnswer{Content: "能为您服务是我的荣幸~", ContentType: "PLAIN_TEXT", AnswerSource: "USER_DEFINED_CHAT", UserDefinedChatTitle: "感谢", HitStatement: "谢谢你"},
			}},
		},
		"chat-sensitive-word.json": {
			RequestID: "961d4187-e2e7-4463-8063-a4c79c912227", MessageID: "961d4187-e2e7-4463-8063-a4c79c912227", SessionID: "1234",
			QuerySegments: []string{"查", "天气"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindText, Source: "SENSITIVE_WORD",
				Text: &beebot.TextAnswer{Content: "您说的这个问题我不能回答您,您可以尝试询问其他问题", ContentType: "PLAIN_TEXT", AnswerSource: "SENSITIVE_WORD"},
			}},
		},
		"chat-handover-global.json": {
			RequestID: "fbbe0230-af14-4850-8f59-2ff60dfbf773", MessageID: "fbbe0230-af14-4850-8f59-2ff60dfbf773", SessionID: "123",
			QuerySegments: []string{"净值", "大于", "1"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindText, Source: "COMMANDS", Handover: &beebot.Handover{SkillGroup: "12"},
				Text: &beebot.TextAnswer{Content: "正在为您转接人工客服", ContentType: "PLAIN_TEXT", AnswerSource: "COMMANDS"},
			}},
		},
		"chat-handover-intent.json": {
			RequestID: "590f0434-030a-4de2-8212-bf1a96e0c687", MessageID: "590f0434-030a-4de2-8212-bf1a96e0c687", SessionID: "123",
			QuerySegments: []string{"转", "人工"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindText, Source: "BotFramework", Handover: &beebot.Handover{SkillGroup: "8", Ext: "123"},
				Text: &beebot.TextAnswer{
					Content: "这是转人工的回复", ContentType: "PLAIN_TEXT", AnswerSource: "BotFramework", Score: 100, NodeID: "i073y198",
					NodeName: "公积金转人工.回复信息", DialogName: "公积金转人工", IntentName: "转人工", ExternalFlags: json.RawMessage(`{}`),
				},
			}},
		},
		"chat-no-answer.json": {
			RequestID: "1ad8733a-7180-4e3b-a969-96f47d774256", MessageID: "1ad8733a-7180-4e3b-a969-96f47d774256", SessionID: "1234",
			QuerySegments: []string{"公积金", "贷款"},
			Answers: []beebot.Answer{{
				Kind: beebot.KindText, Source: "NO_ANSWER",
				Text: &beebot.TextAnswer{Content: "我还没有学会这个问题,已经记录会尽快学习为您解答,请尝试询问我其他问题", ContentType: "PLAIN_TEXT", AnswerSource: "NO_ANSWER"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := setup(t, &service{chat: answerJSON(string(fixture(t, name)))})
			got, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			answer := got.Answers[0]
			if answer.NoAnswer() != strings.Contains(name, "no-answer") || answer.Sensitive() != strings.Contains(name, "sensitive") {
				t.Errorf("NoAnswer, Sensitive = %v, %v", answer.NoAnswer(), answer.Sensitive())
			}
			if (answer.Handover != nil) != strings.Contains(name, "handover") {
				t.Errorf("Handover = %v", answer.Handover)
			}
			if text, kind := answer.Content(); (text == "" && !strings.Contains(name, "faq-clarify")) || kind == "" {
				t.Errorf("Content = %q, %q", text, kind)
			}
		})
	}
}

func TestHandoverIsReadLeniently(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]*beebot.Handover{
		`{"sysToAgent":"{\"skillGroup\":\"12\",\"ext\":\"abc\"}"}`: {SkillGroup: "12", Ext: "abc"},
		`{"sysToAgent":"{\"skillGroup\":12}"}`:                     {SkillGroup: "12"},
		`{"sysToAgent":"{\"skillGroup\":null,\"ext\":{\"a\":1}}"}`: {Ext: `{"a":1}`},
		`{"sysToAgent":{"skillGroup":"12"}}`:                       {SkillGroup: "12"},
		`{"sysToAgent":"to a person, please"}`:                     {},
		`{"sysToAgent":""}`:                                        {},
		`{"sysToAgent":"[1]"}`:                                     {},
		`{"sysToAgent":null}`:                                      nil,
		`{}`:                                                       nil,
		`null`:                                                     nil,
		`"odd"`:                                                    nil,
	} {
		body := `{"Messages":[{"AnswerType":"Text","Text":{"Content":"x","Commands":` + raw + `}}]}`
		got := decode[beebot.ChatResponse](t, []byte(body))
		if diff := cmp.Diff(want, got.Answers[0].Handover); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

func TestAnswersAreReadLeniently(t *testing.T) {
	t.Parallel()
	body := `{"Messages":[{"AnswerType":"TEXT","AnswerSource":"no_answer","Text":{"Content":"x"},"New":{}},{"AnswerType":"Recommend","Title":"t","Recommends":[]},{"AnswerType":"Video"}],"Tag":"T","Success":true}`
	got := decode[beebot.ChatResponse](t, []byte(body))
	want := beebot.ChatResponse{Tag: "T", Answers: []beebot.Answer{
		{Kind: beebot.KindText, Source: "no_answer", Text: &beebot.TextAnswer{Content: "x"}},
		{Kind: beebot.KindRecommend, Title: "t", Recommends: []beebot.Recommend{}},
		{Kind: "video"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !got.Answers[0].NoAnswer() {
		t.Error("no_answer is not NO_ANSWER")
	}
	if text, _ := got.Answers[1].Content(); text != "t" {
		t.Errorf("Content of a choice = %q", text)
	}
}

func TestChatRequestParameters(t *testing.T) {
	t.Parallel()
	var saw map[string]string
	client := setup(t, &service{chat: func(w http.ResponseWriter, r *http.Request) {
		saw = checkRPC(t, r)
		answerJSON(`{}`)(w, r)
	}})
	_, err := client.Chat(t.Context(), beebot.ChatRequest{
		InstanceID: "i", Utterance: "今天 天气*怎么样~? a+b&c=d", SessionID: "s", SenderID: "u", SenderNick: "n", Tag: "t",
		Perspective: []string{"p1"}, VendorParam: json.RawMessage(` {"phone":123456789} `), KnowledgeID: "k", IntentName: "in", SandBox: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Action": "Chat", "InstanceId": "i", "Utterance": "今天 天气*怎么样~? a+b&c=d", "SessionId": "s", "SenderId": "u", "SenderNick": "n",
		"Tag": "t", "Perspective": `["p1"]`, "VendorParam": `{"phone":123456789}`, "KnowledgeId": "k", "IntentName": "in", "SandBox": "true",
	} {
		if saw[name] != want {
			t.Errorf("%s = %q, want %q", name, saw[name], want)
		}
	}
	if _, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", IntentName: "in", VendorParam: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Utterance", "SessionId", "VendorParam", "Perspective", "SandBox"} {
		if _, ok := saw[name]; ok {
			t.Errorf("%s is sent though it is empty", name)
		}
	}
}

func TestRequestsAreCheckedBeforeTheyAreSent(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(cfg *beebot.Config) {
		cfg.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			t.Error("something was sent")
			return nil, errors.ErrUnsupported
		})
	})
	for name, test := range map[string]struct {
		req   beebot.StreamRequest
		field string
	}{
		"no robot":            {beebot.StreamRequest{Utterance: "u"}, "instanceId"},
		"no utterance":        {beebot.StreamRequest{InstanceID: "i"}, "utterance"},
		"long utterance":      {beebot.StreamRequest{InstanceID: "i", Utterance: strings.Repeat("好", 129)}, "utterance"},
		"long session":        {beebot.StreamRequest{InstanceID: "i", Utterance: "u", SessionID: strings.Repeat("s", 65)}, "sessionId"},
		"broken vendor param": {beebot.StreamRequest{InstanceID: "i", Utterance: "u", VendorParam: json.RawMessage(`{"a"`)}, "vendorParam"},
	} {
		_, streamErr := client.Stream(t.Context(), test.req)
		_, chatErr := client.Chat(t.Context(), beebot.ChatRequest{
			InstanceID: test.req.InstanceID, Utterance: test.req.Utterance, SessionID: test.req.SessionID, VendorParam: test.req.VendorParam,
		})
		for _, err := range []error{streamErr, chatErr} {
			if field, ok := errors.AsType[*upstream.FieldError](err); !ok || field.Field != test.field {
				t.Errorf("%s: got %v, want an error of %s", name, err, test.field)
			}
		}
	}
	longest := beebot.StreamRequest{InstanceID: "i", Utterance: strings.Repeat("好", 128), SessionID: strings.Repeat("s", 64)}
	if err := longest.Validate(); err != nil {
		t.Errorf("the longest that is allowed: %v", err)
	}
}
