package beebot_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
)

// transcript returns the frames of the documented conversation.
func transcript(tb testing.TB) [][]byte {
	tb.Helper()
	var frames [][]byte
	for event, err := range sse.NewReader(bytes.NewReader(fixture(tb, "beebot-stream.sse")), sse.ReaderConfig{}).Events() {
		if err != nil {
			tb.Fatal(err)
		}
		frames = append(frames, bytes.Clone(event.Data))
	}
	return frames
}

func TestDecoderReadsTheTranscript(t *testing.T) {
	t.Parallel()
	const whole = "我是个大模型,能够回答问题、创作文字,比如写故事、写公文、写邮件、写剧本等等,还能表达观点,玩游戏等。"
	type row struct {
		Text, Delta string
		End         bool
	}
	want := []row{
		{},
		{},
		{},
		{},
		{},
		{Text: "我是个大模型,能够", Delta: "我是个大模型,能够"},
		{Delta: "回答问题、创作文字,比如写"},
		{Delta: "故事、写公文、写邮件"},
		{Delta: "、写剧本等等,还能表达观点"},
		{Delta: ",玩游戏等。"},
		{},
		{End: true},
	}
	for i := range want[1:] {
		want[i+1].Text = want[i].Text + want[i+1].Delta
	}
	if got := want[11].Text; got != whole {
		t.Fatalf("the table ends in %q", got)
	}
	reference := decode[[]struct {
		Envelope struct{ RequestID string }
		Value    struct{ SequenceID, Source string }
	}](t, fixture(t, "beebot-stream-decoded.json"))
	var decoder beebot.Decoder
	var got []row
	for i, data := range transcript(t) {
		s, err := decoder.Decode(data)
		if err != nil {
			t.Fatalf("frame %d: %v", i+1, err)
		}
		got = append(got, row{s.Text, s.Delta, s.End})
		full := beebot.Snapshot{
			SessionID: "dfa8ed43a2584d6c867a1c9b5baee490", MessageID: "aad1d419-45cb-4f8d-9f24-a0c12ca62749",
			RequestID: reference[i].Envelope.RequestID, SequenceID: reference[i].Value.SequenceID, Source: reference[i].Value.Source,
			Text: s.Text, Delta: s.Delta, End: s.End,
		}
		if i > 0 {
			full.AIGC, full.ContentType, full.QuerySegments = true, "RICH_TEXT", []string{"你", "有", "什么", "技能", "?"}
		}
		if diff := cmp.Diff(full, s); diff != "" {
			t.Errorf("frame %d (-want +got):\n%s", i+1, diff)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecoderReadsOtherAnswers(t *testing.T) {
	t.Parallel()
	const session = `"MessageId":"m","SequenceId":"q","SessionId":"s"`
	base := beebot.Snapshot{SessionID: "s", MessageID: "m", SequenceID: "q", RequestID: "r"}
	for name, test := range map[string]struct {
		value string
		want  func(*beebot.Snapshot)
	}{
		"a task dialogue": {string(fixture(t, "beyond-stream-value-task-dialogue.json")), func(s *beebot.Snapshot) {
			s.SessionID, s.MessageID, s.SequenceID = "f3d7e960933411ee96144bea43fe4df3", "7a2cdb51-af56-4ac9-9c6d-108905695ac9", "4861074fe523498ba3f397e876b60105"
			s.Text, s.ContentType, s.Source, s.End = "北京市晴，气温 8 摄氏度，东风 ≤3 级", "PLAIN_TEXT", "TASK_DRIVEN_DIALOGUE", true
		}},
		"with references": {string(fixture(t, "beyond-stream-value-answer-reference.json")), func(s *beebot.Snapshot) {
			s.SessionID, s.MessageID, s.SequenceID = "595fa8a0940611eeb59a155f6621f5d6", "808a9cfb-2cec-4230-aad1-66c28df6040e", "32a052f098c14769b8b81ac202f38d01"
			s.Text, s.ContentType, s.Source, s.End = "你好", "RICH_TEXT", "NON_STRUCTURAL_KNOWLEDGE", true
			s.References = []beebot.Reference{{Number: 1, Title: "你好", Content: "你好", ContentType: "RICH_TEXT", DataSource: "FAQ_DIRECT", DocName: "FAQ 知识库"}}
		}},
		"no answer": {string(fixture(t, "beyond-stream-value-no-answer.json")), func(s *beebot.Snapshot) {
			s.SessionID, s.MessageID, s.SequenceID = "6e7c44a0940111ee91e69d173591e2de", "f13833e7-9ca4-4a5b-8878-f5cc8a0a327c", "245c39ce1f11406bb3cf60b4d017dff0"
			s.Text, s.ContentType, s.Source, s.End = "我还没有学会这个问题，已经记录会尽快学习为您解答，请尝试询问我其他问题", "PLAIN_TEXT", "SYSTEM_ASK_CONFIG", true
			s.SystemAsk, s.NoAnswer = "NO_ANSWER", true
		}},
		"a question back": {
			`{"MessageBody":{"ClarifyMessageBody":{"ClarifyContent":"请问您要咨询哪个问题?","ClarifyList":[{"Title":"公积金查询"},"公积金提取",{"Name":"?"},7],"Title":"公积金"},"Type":"Clarify"},` + session + `,"StreamEnd":true}`,
			func(s *beebot.Snapshot) {
				s.Text, s.End = "请问您要咨询哪个问题?", true
				s.Clarify = &beebot.Clarify{Title: "公积金", Content: "请问您要咨询哪个问题?", Options: []string{"公积金查询", "公积金提取"}}
			},
		},
		"handing over": {
			`{"MessageBody":{"Commands":{"sysToAgent":"{\"skillGroup\":\"12\"}"},"DirectMessageBody":{"SentenceList":[{"Content":"正在为您"},{"Content":"转接"}],"RelatedQuestionList":["a"]}},` + session + `}`,
			func(s *beebot.Snapshot) {
				s.Text, s.Handover, s.RelatedQuestions = "正在为您转接", &beebot.Handover{SkillGroup: "12"}, []string{"a"}
			},
		},
		"unknown keys and forms": {
			`{"MessageBody":{"Commands":[],"New":{"StreamEnd":true},"VoiceConfig":7,"RelatedQuestionList":{},"DirectMessageBody":{"SentenceList":[{"Content":"x","ReferNumber":"?"}],"Ext":[]}},` + session + `}`,
			func(s *beebot.Snapshot) { s.Text = "x" },
		},
	} {
		want := base
		test.want(&want)
		want.Delta = want.Text
		got, err := new(beebot.Decoder).Decode([]byte(frame(test.value)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDecoderTellsWhatIsNew(t *testing.T) {
	t.Parallel()
	type step struct {
		Text, Delta string
		Replace     bool
	}
	nothing := frame(`{"StreamEnd":false}`)
	silent := frame(`{"MessageBody":{"DirectMessageBody":{"SentenceList":[]}}}`)
	for name, test := range map[string]struct {
		frames []string
		want   []step
	}{
		"grows":              {[]string{says("你", false), says("你好", false)}, []step{{"你", "你", false}, {"你好", "好", false}}},
		"stays":              {[]string{says("你", false), says("你", false)}, []step{{"你", "你", false}, {"你", "", false}}},
		"says nothing":       {[]string{nothing, says("你", false), nothing, silent, says("你好", true)}, []step{{}, {"你", "你", false}, {"你", "", false}, {"你", "", false}, {"你好", "好", false}}},
		"rewrites":           {[]string{says("你好", false), says("您好", false), says("您好!", false)}, []step{{"你好", "你好", false}, {"您好", "您好", true}, {"您好!", "!", false}}},
		"takes back the end": {[]string{says("你好", false), says("你", false)}, []step{{"你好", "你好", false}, {"你", "你", true}}},
		"takes back all":     {[]string{says("你好", false), says("", true)}, []step{{"你好", "你好", false}, {"", "", true}}},
		// 你 and 佢 begin with the same two bytes: the common part must not be cut inside.
		"shares bytes but no rune": {[]string{says("a你", false), says("a佢", false)}, []step{{"a你", "a你", false}, {"a佢", "a佢", true}}},
		"cut inside a pair": {
			[]string{strings.Replace(says("a!", false), "!", `\\ud83d`, 1), says("a😀", false)},
			[]step{{"a", "a", false}, {"a😀", "😀", false}},
		},
		"cut inside a character": {
			[]string{strings.Replace(says("a!", false), "!", "\xe4\xbd", 1), says("a你", false)},
			[]step{{"a", "a", false}, {"a你", "你", false}},
		},
		"ends in a character that cannot be read": {[]string{says("a\uFFFD", false), says("a\uFFFD", true)}, []step{{"a", "a", false}, {"a\uFFFD", "\uFFFD", false}}},
	} {
		var decoder beebot.Decoder
		var got []step
		for _, f := range test.frames {
			s, err := decoder.Decode([]byte(f))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, step{s.Text, s.Delta, s.Replace})
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDecoderErrors(t *testing.T) {
	t.Parallel()
	var decoder beebot.Decoder
	_, err := decoder.Decode([]byte(`{"success":false,"code":"InvalidParameter","message":"Utterance","messageId":"m","requestId":"r"}`))
	want := &beebot.Error{Code: "InvalidParameter", Message: "Utterance", HTTPStatus: 200, RequestID: "r"}
	got, _ := errors.AsType[*beebot.Error](err)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(beebot.Error{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for data, truncated := range map[string]bool{
		`{"success":true,"data":[`: true, ``: true, `{oops}`: false, `[]`: false,
		`{"data":[{"type":"JSON_TEXT","value":"{"}]}`: false,
	} {
		_, err := decoder.Decode([]byte(data))
		_, malformed := errors.AsType[*upstream.DecodeError](err)
		if !malformed || errors.Is(err, upstream.ErrTruncated) != truncated {
			t.Errorf("%q: got %v", data, err)
		}
	}
	if s, err := decoder.Decode([]byte(`{"data":[{"type":"NEW","value":"?"}]}`)); err != nil || s.Text != "" {
		t.Errorf("an unknown type of data: %+v, %v", s, err)
	}
}

// Whatever comes, deltas and replacements add up to the text, in whole characters.
func FuzzDecoder(f *testing.F) {
	frames := transcript(f)
	f.Add(frames[0], frames[6], frames[11])
	f.Add([]byte(says("a", false)), []byte(says("ab", false)), []byte(says("c", true)))
	f.Add([]byte(frame(string(fixture(f, "beyond-stream-value-answer-reference.json")))), []byte(`{"success":false}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var decoder beebot.Decoder
		text := ""
		for _, data := range [][]byte{a, b, c} {
			s, err := decoder.Decode(data)
			if err != nil {
				continue
			}
			if s.Replace {
				text = ""
			}
			text += s.Delta
			if text != s.Text || !utf8.ValidString(s.Delta) {
				t.Errorf("deltas add up to %q, the text is %q", text, s.Text)
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	frames := transcript(b)
	size := 0
	for _, data := range frames {
		size += len(data)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		var decoder beebot.Decoder
		for _, data := range frames {
			if _, err := decoder.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	}
}
