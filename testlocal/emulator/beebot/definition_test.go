package beebot_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/beebot"
)

func TestParseBots(t *testing.T) {
	t.Parallel()
	bots, err := beebot.ParseBots(strings.NewReader(`
bots:
  - id: mine
    edition: tongyi
    generated: [{phrases: [问], reply: [答, 也答]}]
    timeout: 还在吗
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []beebot.Bot{{
		ID: "mine", Edition: beebot.EditionTongyi,
		Generated: []beebot.Generated{{Phrases: []string{"问"}, Reply: beebot.Texts{"答", "也答"}}},
		Timeout:   beebot.Texts{"还在吗"},
	}}
	if diff := cmp.Diff(want, bots); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, bad := range []string{"", "bots: []", "bots: [{id: a, colour: red}]", "bots: 3", "bots: [{id: a, timeout: {a: b}}]", "\x00"} {
		if _, err := beebot.ParseBots(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestNewReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := beebot.New(beebot.Config{
		Accounts: []beebot.Account{{AccessKeyID: "a"}, {AccessKeyID: "b", AccessKeySecret: sign.NewSecret("s")}, {AccessKeyID: "b", AccessKeySecret: sign.NewSecret("s")}},
		Bots: []beebot.Bot{
			{},
			{ID: "x"},
			{ID: "x"},
			{
				ID: "y", Edition: "golden", Sensitive: beebot.Sensitive{Words: []string{"w"}},
				Handover:  []beebot.Handover{{}},
				Knowledge: []beebot.Knowledge{{ID: "1", Title: "t", Content: "c", ContentType: "HTML"}, {ID: "1", Title: "t", Content: "c"}, {}},
				Dialogues: []beebot.Dialogue{
					{Name: "d", Intent: "i", Reply: beebot.Texts{"r"}, Phrases: []string{"{city}天气"}, Slots: []beebot.Slot{{Name: "s"}}},
					{Name: "d"},
				},
				ChitChat: []beebot.ChitChat{{}}, Generated: []beebot.Generated{{}},
				Clarify: []beebot.Clarify{{}, {Phrases: []string{"p"}, Items: []beebot.ClarifyItem{{Knowledge: "9"}, {Dialogue: "d", Knowledge: "1"}}}},
			},
		},
		Assume: beebot.Assumptions{TokenLifetime: -1, Empty: -2, MaxStreams: -1},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{
		"account: access key id", "account b: given twice", `bot "": id is empty`, `bot "x": defined twice`, `edition "golden"`, "sensitive: reply",
		"handover[0]", `knowledge[0]: contentType "HTML"`, "knowledge[1]: id 1 is given twice", "knowledge[2]: id, title and content",
		"dialogues[0].slots[0]", `dialogues[0]: phrase "{city}天气" names no slot`, "dialogues[1]: name, intent and reply", "dialogues[1]: name d is given twice",
		"chitchat[0]", "generated[0]", "clarify[0]", "clarify[1].items[0]", "clarify[1].items[1]",
		"a duration is negative", "empty at least -1", "a limit is negative",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("does not report %q", part)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestOwnBot(t *testing.T) {
	t.Parallel()
	bots, err := beebot.ParseBots(strings.NewReader(`
bots:
  - id: shop
    words: [退货]
    knowledge:
      - {id: "1", title: 如何退货, similar: [怎样退货], content: 七天之内可以退货}
    dialogues:
      - name: 查订单
        intent: 查订单意图
        phrases: ["订单{number}"]
        slots: [{name: number, ask: "订单号是多少?"}]
        reply: 订单{number}已经发货
`))
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, func(cfg *beebot.Config) { cfg.Bots = bots })
	for _, row := range []struct{ say, want string }{
		{"请问怎样退货呢", "七天之内可以退货"},
		{"订单A12", "订单a12已经发货"},
		{"查订单", "订单号是多少?"},
		{"退货", `"AnswerType":"Recommend"`},
		{"别的", "我还没有学会这个问题"},
	} {
		if got := b.ask(row.say, "InstanceId", "shop"); !strings.Contains(string(got.body), row.want) {
			t.Errorf("%s: %s", row.say, got.body)
		}
	}
}
