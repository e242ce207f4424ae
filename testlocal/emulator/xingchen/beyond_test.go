package xingchen_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type usageData struct {
	Usage   struct{ InputTokens, OutputTokens int }
	Context struct{ RequestID, ModelRequestID string }
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "/v2/api/character/auto/desc"
	type description struct {
		Content string
		usageData
	}
	got := decodeData[description](t, b.post("lm-local", path, `{"type":"text","text":"小婉,\n高中生。`+strings.Repeat("长", 300)+`"}`))
	if !strings.HasPrefix(got.Content, "角色简介:小婉, 高中生。长") || len([]rune(got.Content)) != 205 || got.Usage.OutputTokens != 205 || got.Context.RequestID == "" {
		t.Errorf("%+v", got)
	}
	if got := decodeData[description](t, b.post("lm-local", path, `{"type":"file","fileUrl":"http://x/y","fileName":"小婉.docx"}`)); got.Content != "角色简介:小婉" {
		t.Errorf("%+v", got)
	}
	for _, body := range []string{`{}`, `{"type":"file","text":"x"}`, `{"text":"  "}`} {
		if a := b.post("lm-local", path, body); a.ErrorMessageKey != "aca.error.invalid.param" {
			t.Errorf("%s: %s", body, a.Raw)
		}
	}
}

const talk = `"messages":[{"role":"user","content":"你好,我叫小明,我的爱好是画画。"},{"role":"assistant","content":"你好小明。我的生日是五月。"},
	{"role":"user","content":"爱好:钓鱼,城市是杭州"},{"role":"user","content":"再见"}]`

func TestExtract(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type summary struct {
		MemoryResults []struct{ Content string }
		usageData
	}
	got := decodeData[summary](t, b.post("lm-local", "/v2/api/extract/summary", `{`+talk+`}`))
	want := []struct{ Content string }{{"用户先说:你好,我叫小明,我的爱好是画画。 后来说:再见"}, {"角色说:你好小明。我的生日是五月。"}}
	if diff := cmp.Diff(want, got.MemoryResults); diff != "" || got.Usage.InputTokens == 0 {
		t.Errorf("%s %+v", diff, got.Usage)
	}
	type known struct {
		Role, Key string
		Value     []string
	}
	type schemas struct{ Schemas []known }
	for configs, want := range map[string][]known{
		``: {{"user", "爱好", []string{"画画"}}, {"assistant", "生日", []string{"五月"}}},
		`,"kvMemoryConfigs":[{"enabled":true,"memoryText":"姓名"},{"memoryText":"爱好"},{"enabled":false,"memoryText":"城市"},{"memoryText":""}]`: {
			{"user", "姓名", []string{"小明"}}, {"user", "爱好", []string{"画画", "钓鱼"}},
		},
		`,"kvMemoryConfigs":[{"memoryText":"身高"}]`: {},
	} {
		got := decodeData[schemas](t, b.post("lm-local", "/v2/api/extract/kv", `{`+talk+configs+`}`))
		if diff := cmp.Diff(want, got.Schemas); diff != "" {
			t.Errorf("%s: %s", configs, diff)
		}
	}
	for _, path := range []string{"/v2/api/extract/summary", "/v2/api/extract/kv"} {
		for _, body := range []string{`{}`, `{"messages":[{"role":"nobody","content":"x"}]}`} {
			if a := b.post("lm-local", path, body); a.ErrorMessageKey != "aca.error.invalid.param" {
				t.Errorf("%s %s: %s", path, body, a.Raw)
			}
		}
	}
}

func TestNextSpeaker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type next struct {
		Name, Thought string
		usageData
	}
	ask := func(messages, setting string) answer {
		return b.post("lm-local", "/v2/api/groupchat/nextSpeaker", `{"input":{"messages":[`+messages+`],"aca":{"botProfiles":[
			{"name":"刘备","content":"a"},{"name":"关羽","content":"b"},{"name":"张飞","content":"c"}],"userProfile":{"userId":"u"}`+setting+`}}}`)
	}
	for _, tc := range []struct{ messages, setting, want string }{
		{`{"role":"user","content":"大家好"}`, "", "刘备"},
		{`{"role":"user","content":"张飞怎么看"}`, "", "张飞"},
		{`{"name":"关羽","role":"assistant","content":"某在此"},{"name":"我","role":"user","content":"继续"}`, "", "张飞"},
		{`{"name":"张飞","role":"assistant","content":"俺也一样"}`, "", "刘备"},
		{`{"role":"user","content":"张飞怎么看"}`, `,"replySetting":{"botName":"关羽"}`, "关羽"},
	} {
		got := decodeData[next](t, ask(tc.messages, tc.setting))
		if got.Name != tc.want || !strings.Contains(got.Thought, tc.want) || got.Usage.InputTokens == 0 {
			t.Errorf("%s%s: %+v", tc.messages, tc.setting, got)
		}
	}
	if a := ask(`{"role":"user","content":"x"}`, `,"replySetting":{"botName":"曹操"}`); a.Code != 404 {
		t.Errorf("%s", a.Raw)
	}
	if a := ask("", ""); a.ErrorMessageKey != "aca.error.invalid.param" {
		t.Errorf("%s", a.Raw)
	}
}

type completionData struct {
	ID, Object, Model string
	Created           int64
	Choices           []struct {
		Index          int
		Message, Delta *struct{ Role, Content string }
		FinishReason   *string `json:"finish_reason"`
	}
	Usage *struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
		TotalTokens      int `json:"total_tokens"`
	}
}

func TestCompletions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "/v2/api/chat/completions"
	ask := func(extra string) answer {
		return b.post("lm-local", path, `{"messages":[{"role":"system","content":"你是小婉。"},{"role":"user","content":"写20字"}]`+extra+`}`)
	}
	read := func(a answer) (data completionData) {
		t.Helper()
		if err := json.Unmarshal(a.Raw, &data); err != nil || a.Status != http.StatusOK {
			t.Fatalf("%d %s: %v", a.Status, a.Raw, err)
		}
		return data
	}
	got := read(ask(`,"n":2,"model":"xingchen-plus-v2"`))
	if len(got.Choices) != 2 || got.Choices[1].Index != 1 || *got.Choices[0].FinishReason != "stop" || len([]rune(got.Choices[0].Message.Content)) != 20 ||
		got.Model != "xingchen-plus-v2" || got.Object != "chat.completion" || !strings.HasPrefix(got.ID, "chatcmpl-") || got.Created != b.clock.Now().Unix() ||
		got.Usage.CompletionTokens != 40 || got.Usage.TotalTokens != got.Usage.PromptTokens+40 {
		t.Errorf("%+v", got)
	}
	whole := got.Choices[0].Message.Content
	if got := read(ask(`,"max_tokens":5`)); got.Choices[0].Message.Content != string([]rune(whole)[:5]) || *got.Choices[0].FinishReason != "length" || got.Model != "xingchen-plus-latest" {
		t.Errorf("%+v", got)
	}
	stop := string([]rune(whole)[8])
	if got := read(ask(`,"stop":["☃","` + stop + `"]`)); got.Choices[0].Message.Content != strings.Split(whole, stop)[0] {
		t.Errorf("%+v, want an end before %s", got, stop)
	}
	for _, extra := range []string{`,"n":5`, `,"temperature":-1`, `,"top_p":2`, `,"max_tokens":0`, `,"stop":7`} {
		if a := ask(extra); a.ErrorMessageKey != "aca.error.invalid.param" {
			t.Errorf("%s: %s", extra, a.Raw)
		}
	}
	if a := b.post("lm-local", path, `{"messages":[]}`); a.ErrorMessageKey != "aca.error.invalid.param" {
		t.Errorf("%s", a.Raw)
	}
}

func TestCompletionsStreamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := []byte(`{"stream":true,"n":2,"messages":[{"role":"user","content":"写20字"}]}`)
	resp, err := b.client.Do(b.request(t.Context(), http.MethodPost, "/v2/api/chat/completions", "aca-chat-completions", body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	frames, err := readFrames(resp.Body)
	if err != nil || len(frames) < 6 || string(frames[len(frames)-1].data) != "[DONE]" {
		t.Fatalf("%q %v", frames, err)
	}
	texts, ends := map[int]string{}, map[int]string{}
	var last completionData
	for _, f := range frames[:len(frames)-1] {
		var chunk completionData
		if err := json.Unmarshal(f.data, &chunk); err != nil || chunk.Object != "chat.completion.chunk" {
			t.Fatalf("%s: %v", f.data, err)
		}
		choice := chunk.Choices[0]
		if role := choice.Delta.Role; (role != "") != (texts[choice.Index] == "" && choice.FinishReason == nil) {
			t.Errorf("role %q in %s", role, f.data)
		}
		texts[choice.Index] += choice.Delta.Content
		if choice.FinishReason != nil {
			ends[choice.Index] = *choice.FinishReason
		}
		last = chunk
	}
	if len([]rune(texts[0])) != 20 || len([]rune(texts[1])) != 20 || ends[0] != "stop" || ends[1] != "stop" || last.Usage == nil || last.Usage.CompletionTokens != 40 {
		t.Errorf("%v %v %+v", texts, ends, last)
	}
}
