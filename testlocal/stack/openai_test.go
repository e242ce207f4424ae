package stack_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"xinghe/testlocal/emulator"
	"xinghe/testlocal/stack"
)

// TestOpenAI holds that OpenAI's clients find whom they can talk to at the front door, and
// can talk to each. The surface itself is tested in its package.
func TestOpenAI(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	got := b.call(http.MethodGet, b.URL+"/v1/models", stack.DefaultKey, "")
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != http.StatusOK {
		t.Fatalf("%d %s %v", got.status, got.body, err)
	}
	models := map[string]bool{}
	for _, model := range list.Data {
		models[model.ID] = true
		messages := `{"role":"user","content":"你好"}`
		if !strings.Contains(model.ID, ":") {
			messages = `{"role":"system","content":"导游"},` + messages
		}
		answer := b.post("/v1/chat/completions", `{"model":"`+model.ID+`","stream":true,"messages":[`+messages+`]}`)
		if answer.status != http.StatusOK || !strings.HasSuffix(answer.body, "data: [DONE]\n\n") {
			t.Errorf("%s: %d %s", model.ID, answer.status, answer.body)
		}
	}
	if !models["character:"+xiaowan] || !models["beebot:"+robot] || !models["xingchen-plus"] {
		t.Errorf("models %v", models)
	}
	if refused := b.call(http.MethodGet, b.URL+"/v1/models", "nope", ""); refused.status != http.StatusUnauthorized || !strings.Contains(refused.body, `"authentication_error"`) {
		t.Errorf("%d %s", refused.status, refused.body)
	}
}
