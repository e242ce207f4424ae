package beebot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/sse"
	"xinghe/testlocal/emulator/beebot"
)

// sorted encodes JSON again with its keys in alphabetical order.
func sorted(t *testing.T, raw []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// TestQuickStartTranscript asks what the quick start asks and compares the stream with its
// transcript, frame by frame: keys, types, nesting, order of keys, and the course of the answer.
func TestQuickStartTranscript(t *testing.T) {
	t.Parallel()
	b := setup(t)
	request := bytes.ReplaceAll(fixture(t, "beebot-stream-request-quickstart.json"), []byte("chatbot-cn-Aei********"), []byte(beebot.DefaultInstanceID))
	got := b.talk(request)

	var documented []frame
	reader := sse.NewReader(bytes.NewReader(fixture(t, "beebot-stream.sse")), sse.ReaderConfig{})
	for event, err := range reader.Events() {
		if err != nil {
			t.Fatal(err)
		}
		var next frame
		if err := json.Unmarshal(event.Data, &next); err != nil {
			t.Fatal(err)
		}
		next.raw = bytes.Clone(event.Data)
		if err := json.Unmarshal([]byte(next.Data[0].Value), &next.value); err != nil {
			t.Fatal(err)
		}
		documented = append(documented, next)
	}
	if len(got) != len(documented) || len(got) != 12 {
		t.Fatalf("%d frames, documented %d", len(got), len(documented))
	}
	for i := range got {
		var outer, want any
		if err := errors.Join(json.Unmarshal(got[i].raw, &outer), json.Unmarshal(documented[i].raw, &want)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(shape(want), shape(outer)); diff != "" {
			t.Errorf("frame %d: envelope (-documented +emulator)\n%s", i+1, diff)
		}
		if diff := cmp.Diff(shape(documented[i].value), shape(got[i].value)); diff != "" {
			t.Errorf("frame %d: value (-documented +emulator)\n%s", i+1, diff)
		}
		for name, raw := range map[string][]byte{"envelope": got[i].raw, "value": []byte(got[i].Data[0].Value)} {
			if sorted(t, raw) != string(raw) {
				t.Errorf("frame %d: keys of the %s are not in the documented order: %s", i+1, name, raw)
			}
		}
		for _, key := range []string{"IsAIGC", "Source", "StreamEnd", "QuerySegList"} {
			if diff := cmp.Diff(documented[i].value[key], got[i].value[key]); diff != "" {
				t.Errorf("frame %d: %s (-documented +emulator)\n%s", i+1, key, diff)
			}
		}
		if (documented[i].text() == "") != (got[i].text() == "") {
			t.Errorf("frame %d: text %q, documented %q", i+1, got[i].text(), documented[i].text())
		}
	}
	if got[11].text() != documented[11].text() {
		t.Errorf("text %q, documented %q", got[11].text(), documented[11].text())
	}
	checkCourse(t, got)
}

// checkCourse holds a model's answer to what every documented one shows.
func checkCourse(t *testing.T, frames []frame) {
	t.Helper()
	requests, sequences := map[string]bool{}, map[any]bool{}
	first := frames[0]
	for i, f := range frames {
		requests[f.RequestID], sequences[f.value["SequenceId"]] = true, true
		for _, key := range []string{"MessageId", "SessionId"} {
			if f.value[key] != first.value[key] {
				t.Errorf("frame %d: %s changed", i+1, key)
			}
		}
		if !f.Success || f.MessageID != first.MessageID {
			t.Errorf("frame %d: %s", i+1, f.raw)
		}
		if i > 0 && !strings.HasPrefix(f.text(), frames[i-1].text()) {
			t.Errorf("frame %d does not extend the one before", i+1)
		}
	}
	if len(requests) != len(frames) || len(sequences) != len(frames) {
		t.Errorf("%d request ids and %d sequence ids in %d frames", len(requests), len(sequences), len(frames))
	}
	if first.RequestID != first.value["MessageId"] {
		t.Error("the first request id is not the answer's id")
	}
}

// TestStreamedAnswers shows each kind of answer in the stream: an opening frame, then one with
// the whole answer.
func TestStreamedAnswers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ utterance, source, part, beyond string }{
		{"测试纯文本", "NON_STRUCTURAL_KNOWLEDGE", `"DataSource":"FAQ_DIRECT"`, ""},
		{"测试富文本", "NON_STRUCTURAL_KNOWLEDGE", "<p>富文本答案啊</p>", "beyond-stream-value-answer-reference.json"},
		{"文本", "NON_STRUCTURAL_KNOWLEDGE", `"ClarifyMessageBody":{`, ""},
		{"查北京天气", "TASK_DRIVEN_DIALOGUE", "北京晴", "beyond-stream-value-task-dialogue.json"},
		{"公积金", "TASK_DRIVEN_DIALOGUE", `"ClarifyList":[{"Title":"公积金查询"},{"Title":"公积金提取"}],"Title":"公积金"},"Type":"Clarify"`, ""},
		{"你好", "NON_STRUCTURAL_KNOWLEDGE", "我来了", ""},
		{"敏感词", "SYSTEM_ASK_CONFIG", "不能回答您", ""},
		{"净值大于1", "SYSTEM_ASK_CONFIG", `"Commands":{"sysToAgent":"{\"skillGroup\":\"12\"}"}`, ""},
		{"转人工", "TASK_DRIVEN_DIALOGUE", `"sysToAgent":"{\"skillGroup\":\"8\",\"ext\":\"123\"}"`, ""},
		{"公积金贷款", "SYSTEM_ASK_CONFIG", `"HitSystemAskConfig":"NO_ANSWER"`, "beyond-stream-value-no-answer.json"},
	} {
		t.Run(row.utterance, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			frames := b.talk(b.say(row.utterance))
			if len(frames) != 2 || !ended(frames) || frames[0].value["MessageBody"] != nil {
				t.Fatalf("%d frames: %s", len(frames), frames[len(frames)-1].raw)
			}
			last := frames[1]
			if last.value["Source"] != row.source || !strings.Contains(last.Data[0].Value, row.part) || last.value["IsAIGC"] != false {
				t.Errorf("got %s", last.Data[0].Value)
			}
			if sorted(t, last.raw) != string(last.raw) || sorted(t, []byte(last.Data[0].Value)) != last.Data[0].Value {
				t.Errorf("keys out of order: %s", last.raw)
			}
			if row.beyond == "" {
				return
			}
			want := replyOf(fixture(t, row.beyond)).decode(t)["MessageBody"]
			if diff := cmp.Diff(shape(want), shape(last.value["MessageBody"])); diff != "" {
				t.Errorf("body (-documented +emulator)\n%s", diff)
			}
		})
	}
}

func TestStreamedSession(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.talk(b.say("查天气"))
	session, _ := first[0].value["SessionId"].(string)
	if len(session) != 32 {
		t.Fatalf("session id %q", session)
	}
	second := b.talk(b.say("北京", "SessionId", session))
	if last := second[len(second)-1]; !strings.HasPrefix(last.text(), "北京晴") || last.value["SessionId"] != session {
		t.Errorf("got %s", last.raw)
	}
	if got := b.ask("查天气", "SessionId", session); !strings.Contains(string(got.body), "哪里的天气") {
		t.Errorf("Chat in the same session: %s", got.body)
	}
}

func TestCourseOfFramesIsConfigurable(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *beebot.Config) {
		cfg.Assume.Empty, cfg.Assume.Repeats, cfg.Assume.SnapshotRunes, cfg.Assume.BareAnswers = -1, 1, 1000, true
	})
	if frames := b.talk(b.say("你有什么技能?")); len(frames) != 3 || !ended(frames) {
		t.Errorf("%d frames", len(frames))
	}
	if frames := b.talk(b.say("你好")); len(frames) != 1 || !ended(frames) {
		t.Errorf("bare answer in %d frames", len(frames))
	}
}

func TestCutUtterance(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *beebot.Config) { cfg.Assume.CutUtterance, cfg.Assume.MaxUtterance = true, 2 })
	if frames := b.talk(b.say("你好吗")); !ended(frames) || frames[1].text() != "哔~哔~哔~,我来了" {
		t.Errorf("got %s", frames[0].raw)
	}
}

func TestOddTextsSurvive(t *testing.T) {
	t.Parallel()
	text := "引号\"反斜杠\\换行\n制表\t<b>&\u2028\u2029😀 末"
	b := setup(t, func(cfg *beebot.Config) {
		cfg.Model = func(context.Context, beebot.Ask) (string, error) { return text, nil }
	})
	frames := b.talk(b.say("你有什么技能?", "SessionId", `a"b\`))
	if last := frames[len(frames)-1]; last.text() != text || last.value["SessionId"] != `a"b\` {
		t.Errorf("got %q", last.text())
	}
	checkCourse(t, frames)
}

func TestPaceLetsFramesOutOneByOne(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *beebot.Config) { cfg.Pace = 2 * time.Millisecond })
	resp, err := b.http.Client().Do(b.request(http.MethodPost, b.path(b.apply()), "application/json", b.say("你有什么技能?")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	first := make([]byte, 1<<16)
	n, err := resp.Body.Read(first)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if got := bytes.Count(first[:n], []byte("\n\n")); got > 11 {
		t.Errorf("%d frames in the first read", got)
	}
}
