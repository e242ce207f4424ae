package chatapi

import (
	"errors"
	"testing"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
)

// FuzzReadCompletion holds that a body is refused by the names of its fields, or else makes a
// role chat that upstream takes.
func FuzzReadCompletion(f *testing.F) {
	for _, body := range []string{
		`{"model":"character:c","messages":[{"role":"user","content":"你好"}]}`,
		`{"model":"xingchen-plus","messages":[{"role":"system","name":"n","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":null},{"role":"user","content":"b"},{"role":"user","content":"c"}],
		"n":2,"seed":1,"temperature":1,"top_p":1,"max_tokens":3,"metadata":{"use_history":"true"},"user":"u"}`,
		`{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true},"stop":[],"tools":null}`,
		`{"messages":[null,{"role":"developer"},{"role":"tool","content":[{"type":"image_url"}]}],"unknown":{}}`,
		`[]`, `{`, `null`, `{"messages":{}}`, `{"metadata":{"a":1}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := readCompletion(body)
		if err != nil {
			refusal, ok := errors.AsType[*httpapi.Error](err)
			if !ok || refusal.Status != 400 || refusal.Code != httpapi.CodeInvalidJSON && len(refusal.Fields) == 0 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		for _, to := range []partner{{kind: jobs.BotCharacter, id: "c"}, {kind: jobs.BotModel, id: "m"}, {kind: jobs.BotBeebot, id: "b"}} {
			if req.checkFor(to) != nil || to.kind == jobs.BotBeebot {
				continue
			}
			chat := req.roleChat(to, "u")
			if err := chat.Validate(); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			previous := ""
			for _, m := range chat.Input.Messages {
				if m.Role == previous || m.Role != "user" && m.Role != "assistant" {
					t.Fatalf("%q: %+v", body, chat.Input.Messages)
				}
				previous = m.Role
			}
			if previous != "user" || len(chat.Input.Messages) > maxMessages {
				t.Fatalf("%q: %+v", body, chat.Input.Messages)
			}
		}
	})
}
