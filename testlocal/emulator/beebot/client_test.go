package beebot_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	client "xinghe/shared/beebot"
	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/fault"
)

// dial makes our own client of the service, with the emulator's address. Its calls carry the
// real time, so the emulator's clock is the real one moved on, and its window wide.
func dial(t *testing.T, change ...func(*beebot.Config)) (*bench, *client.Client) {
	t.Helper()
	var moved clock
	now := func() time.Time { return time.Now().Add(moved.now().Sub(start)) }
	b := setup(t, append(change, func(cfg *beebot.Config) {
		cfg.Now = now
		cfg.Assume.TimestampWindow = 48 * time.Hour
	})...)
	b.clock = &moved
	c, err := client.New(client.Config{
		Endpoint: b.http.URL, StreamURL: b.http.URL, AgentKey: sign.NewSecret(beebot.DefaultAgentKey), Now: now,
		Transport: b.http.Client().Transport,
		Credentials: client.StaticCredentials(client.Credentials{
			AccessKeyID: beebot.DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(beebot.DefaultAccessKeySecret),
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return b, c
}

// listen reads a stream to its end.
func listen(t *testing.T, c *client.Client, req client.StreamRequest) (client.Snapshot, int, error) {
	t.Helper()
	req.InstanceID = beebot.DefaultInstanceID
	stream, err := c.Stream(t.Context(), req)
	if err != nil {
		return client.Snapshot{}, 0, err
	}
	defer func() { _ = stream.Close() }()
	var last client.Snapshot
	frames := 0
	for snapshot, err := range stream.Snapshots() {
		if err != nil {
			return last, frames, err
		}
		last = snapshot
		frames++
	}
	return last, frames, nil
}

func TestOurClientStreams(t *testing.T) {
	t.Parallel()
	_, c := dial(t)
	last, frames, err := listen(t, c, client.StreamRequest{Utterance: "你有什么技能?"})
	if err != nil || !last.End || frames != 12 || !strings.HasSuffix(last.Text, "玩游戏等。") {
		t.Errorf("%d frames, %+v, %v", frames, last, err)
	}
	last, _, err = listen(t, c, client.StreamRequest{Utterance: "查天气"})
	if err != nil {
		t.Fatal(err)
	}
	last, _, err = listen(t, c, client.StreamRequest{Utterance: "上海", SessionID: last.SessionID})
	if err != nil || !strings.HasPrefix(last.Text, "上海晴") {
		t.Errorf("second turn: %+v, %v", last, err)
	}
	last, _, err = listen(t, c, client.StreamRequest{Utterance: "净值大于1"})
	if err != nil || last.Handover == nil || last.Handover.SkillGroup != "12" {
		t.Errorf("hand-over: %+v, %v", last, err)
	}
	last, _, err = listen(t, c, client.StreamRequest{Utterance: "公积金"})
	if err != nil || last.Clarify == nil {
		t.Errorf("clarification: %+v, %v", last, err)
	}
}

func TestOurClientSurvives(t *testing.T) {
	t.Parallel()
	question := client.StreamRequest{Utterance: "你有什么技能?"}
	for _, strict := range []bool{false, true} {
		b, c := dial(t, func(cfg *beebot.Config) { cfg.Assume.StrictStream = strict })
		if err := b.faults.Set(fault.Rule{Fault: fault.TokenExpired, Times: 1}); err != nil {
			t.Fatal(err)
		}
		if last, _, err := listen(t, c, question); err != nil || !last.End {
			t.Errorf("strict %t: token expired early: %v", strict, err)
		}
		b.clock.advance(3 * time.Hour)
		if last, _, err := listen(t, c, question); err != nil || !last.End {
			t.Errorf("strict %t: token over: %v", strict, err)
		}
	}
	b, c := dial(t)
	if err := b.faults.Set(fault.Rule{Route: "/sse/paas4Json", Fault: fault.Cut}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := listen(t, c, question); !errors.Is(err, upstream.ErrTruncated) {
		t.Errorf("last frame missing: %v", err)
	}
}

func TestOurClientAsks(t *testing.T) {
	t.Parallel()
	_, c := dial(t)
	var got []string
	for _, utterance := range []string{"测试富文本", "文本", "查天气", "公积金", "住房公积金", "你好", "谢谢你", "敏感词", "净值大于1", "转人工", "公积金贷款"} {
		resp, err := c.Chat(t.Context(), client.ChatRequest{InstanceID: beebot.DefaultInstanceID, Utterance: utterance})
		if err != nil || len(resp.Answers) != 1 {
			t.Fatalf("%s: %v", utterance, err)
		}
		got = append(got, string(resp.Answers[0].Kind)+" "+resp.Answers[0].Source)
	}
	want := []string{
		"knowledge KnowledgeBase", "recommend KNOWLEDGE", "text BotFramework", "recommend BotFramework", "recommend INTENT_FAQ_CLARIFY",
		"text ChitChat", "text USER_DEFINED_CHAT", "text SENSITIVE_WORD", "text COMMANDS", "text BotFramework", "text NO_ANSWER",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var refused *client.Error
	_, err := c.Chat(t.Context(), client.ChatRequest{InstanceID: "nobody", Utterance: "你好"})
	if !errors.As(err, &refused) || refused.Kind() != upstream.KindNotFound || refused.RequestID == "" {
		t.Errorf("unknown robot: %v", err)
	}
}
