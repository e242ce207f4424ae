package beebot_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestStreamBodies(t *testing.T) {
	t.Parallel()
	wrap := func(value string) []byte {
		text, _ := json.Marshal(value)
		return []byte(`{"messageId":"m","action":"TongyiBeebotChat","version":"2022-04-08","data":[{"type":"JSON_TEXT","value":` + string(text) + `}]}`)
	}
	good := string(wrap(`{"InstanceId":"chatbot-cn-local","Utterance":"你好"}`))
	edit := func(old, replacement string) []byte { return []byte(strings.Replace(good, old, replacement, 1)) }
	inner := func(more string) []byte {
		return wrap(`{"InstanceId":"chatbot-cn-local","Utterance":"测试富文本",` + more + `}`)
	}
	long := strings.Repeat("问", 129)
	for _, row := range []struct {
		name string
		body []byte
		code string
		want string // part of the message, or of the last text
	}{
		{"good", []byte(good), "", ""},
		{"empty", nil, "InvalidParameter", "body"},
		{"no JSON", []byte("hello"), "InvalidParameter", "body"},
		{"list", []byte("[]"), "InvalidParameter", "body"},
		{"null", []byte("null"), "InvalidParameter", "body"},
		{"no UTF-8", edit("m", "\xff"), "InvalidParameter", "body"},
		{"too long", append([]byte(good), bytes.Repeat([]byte(" "), 1<<20)...), "InvalidParameter", "body"},
		{"no messageId", edit(`"messageId":"m",`, ""), "InvalidParameter", "messageId"},
		{"number as messageId", edit(`"m"`, "1"), "InvalidParameter", "messageId"},
		{"keys count as written", edit("messageId", "MessageID"), "InvalidParameter", "messageId"},
		{"other action", edit("TongyiBeebotChat", "Chat"), "InvalidParameter", "action"},
		{"other version", edit("2022-04-08", "2017-10-11"), "InvalidParameter", "version"},
		{"no data", edit(`"data"`, `"date"`), "InvalidParameter", "data"},
		{"data is an object", []byte(`{"messageId":"m","action":"TongyiBeebotChat","version":"2022-04-08","data":{}}`), "InvalidParameter", "data"},
		{"two items", edit(`"data":[`, `"data":[{},`), "InvalidParameter", "data"},
		{"other type", edit("JSON_TEXT", "TEXT"), "InvalidParameter", "data.type"},
		{"value is an object", []byte(`{"messageId":"m","action":"TongyiBeebotChat","version":"2022-04-08","data":[{"type":"JSON_TEXT","value":{}}]}`), "InvalidParameter", "data.value"},
		{"value holds no JSON", wrap("hello"), "InvalidParameter", "data.value"},
		{"no instance", wrap(`{"Utterance":"你好"}`), "InvalidParameter", "InstanceId"},
		{"inner keys count as written", wrap(`{"instanceId":"chatbot-cn-local","Utterance":"你好"}`), "InvalidParameter", "InstanceId"},
		{"no utterance", wrap(`{"InstanceId":"chatbot-cn-local"}`), "InvalidParameter", "Utterance"},
		{"number as utterance", wrap(`{"InstanceId":"chatbot-cn-local","Utterance":1}`), "InvalidParameter", "Utterance"},
		{"long utterance", wrap(`{"InstanceId":"chatbot-cn-local","Utterance":"` + long + `"}`), "InvalidParameter", "Utterance"},
		{"longest utterance", wrap(`{"InstanceId":"chatbot-cn-local","Utterance":"` + long[3:] + `"}`), "", ""},
		{"unknown robot", wrap(`{"InstanceId":"xxx","Utterance":"你好"}`), "InvalidInstanceId.NotFound", "xxx"},
		{"long session", inner(`"SessionId":"` + strings.Repeat("s", 65) + `"`), "InvalidParameter", "SessionId"},
		{"vendor parameters", inner(`"VendorParam":"{\"docLabels\":[1]}"`), "", ""},
		{"vendor parameters, no JSON", inner(`"VendorParam":"x"`), "InvalidParameter", "VendorParam"},
		{"vendor parameters as object", inner(`"VendorParam":{}`), "InvalidParameter", "VendorParam"},
		{"perspective", inner(`"Perspective":["FZJBY3raWr"]`), "", "另一个视角"},
		{"perspective as text", inner(`"Perspective":"FZJBY3raWr"`), "InvalidParameter", "Perspective"},
		{"two perspectives", inner(`"Perspective":["a","b"]`), "InvalidParameter", "Perspective"},
		{"sandbox", inner(`"SandBox":true`), "", ""},
		{"sandbox as text", inner(`"SandBox":"true"`), "InvalidParameter", "SandBox"},
		{"time-out", wrap(`{"InstanceId":"chatbot-cn-local","Command":"TIMEOUT"}`), "", "请问您还在吗"},
		{"guidepost", inner(`"Command":"GUIDEPOST"`), "", ""},
		{"unknown command", inner(`"Command":"JUMP"`), "InvalidParameter", "Command"},
		{"unknown keys", inner(`"Future":1,"SenderId":"u","SenderNick":"n"`), "", ""},
		{"null counts as absent", inner(`"SessionId":null`), "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			frames := b.talk(row.body)
			last := frames[len(frames)-1]
			if row.code == "" {
				if !ended(frames) || !strings.Contains(last.text(), row.want) {
					t.Errorf("got %s", last.raw)
				}
				return
			}
			if len(frames) != 1 || last.Success || last.Code != row.code || !strings.Contains(last.Message, row.want) {
				t.Errorf("got %s, want %s with %q", last.raw, row.code, row.want)
			}
		})
	}
}
