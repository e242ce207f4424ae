package chatapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"xinghe/shared/beebot"
)

// TestCompletionFaults holds that what cannot be heeded is refused by name, and that nothing
// goes upstream then.
func TestCompletionFaults(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	const hello = `"messages":[{"role":"user","content":"你好"}]`
	var (
		character = `{"model":"character:` + xiaowan + `"`
		toChar    = character + `,` + hello + `,`
		tooLong   = strings.Repeat("好", beebot.MaxUtterance+1)
		toRobot   = `{"model":"beebot:` + robot + `",` + hello + `,`
	)
	says := func(messages string) string { return character + `,"messages":` + messages + `}` }
	for _, tc := range []struct {
		body, param, message string
		status               int
	}{
		{`{}`, "messages", "missing", 400},
		{`{` + hello + `}`, "model", "missing", 400},
		{`{"model":"",` + hello + `}`, "model", "", 404},
		{`{"model":"gpt-4o",` + hello + `}`, "model", `"gpt-4o" does not exist`, 404},
		{`{"model":"character:",` + hello + `}`, "model", "", 404},
		{`{"model":"beebot:",` + hello + `}`, "model", "BEEBOT_INSTANCES", 404},
		{`{"model":"beebot:nobody",` + hello + `}`, "model", "BEEBOT_INSTANCES", 404},
		{`{"model":"robot:x",` + hello + `}`, "model", "", 404},
		{`{"model":7,` + hello + `}`, "model", "", 400},
		{`hello`, "", "not valid JSON", 400},
		{`[]`, "body", "", 400},
		{``, "", "empty", 400},
		{`{"model":"x"} {}`, "", "more follows", 400},

		{toChar + `"stop":"。"}`, "stop", "not supported", 400},
		{toChar + `"stop":["。"]}`, "stop", "not supported", 400},
		{toChar + `"tools":[{"type":"function","function":{"name":"f"}}]}`, "tools", "not supported", 400},
		{toChar + `"functions":[{"name":"f"}]}`, "functions", "not supported", 400},
		{toChar + `"tool_choice":"required"}`, "tool_choice", "not supported", 400},
		{toChar + `"response_format":{"type":"json_object"}}`, "response_format", "not supported", 400},
		{toChar + `"logprobs":true}`, "logprobs", "not supported", 400},
		{toChar + `"logit_bias":{"1":1}}`, "logit_bias", "not supported", 400},
		{toChar + `"frequency_penalty":0.5}`, "frequency_penalty", "not supported", 400},
		{toChar + `"presence_penalty":-1}`, "presence_penalty", "not supported", 400},
		{toChar + `"modalities":["text","audio"]}`, "modalities", "not supported", 400},
		{toChar + `"audio":{"voice":"x"}}`, "audio", "not supported", 400},
		{toChar + `"prediction":{"type":"content"}}`, "prediction", "not supported", 400},
		{toChar + `"reasoning_effort":"high"}`, "reasoning_effort", "not supported", 400},
		{toChar + `"service_tier":"flex"}`, "service_tier", "not supported", 400},
		{toChar + `"store":true}`, "store", "not supported", 400},
		{toChar + `"web_search_options":{}}`, "web_search_options", "not supported", 400},
		{toChar + `"top_k":5}`, "top_k", "not a known parameter", 400},

		{toChar + `"stream":"yes"}`, "stream", "", 400},
		{toChar + `"stream_options":{"include_usage":true}}`, "stream_options", "for streams only", 400},
		{toChar + `"stream":true,"stream_options":{"include_usage":1}}`, "stream_options.include_usage", "", 400},
		{toChar + `"stream":true,"stream_options":{"more":true}}`, "stream_options.more", "not a known field", 400},
		{toChar + `"n":0}`, "n", "at least 1", 400},
		{toChar + `"n":1.5}`, "n", "", 400},
		{toChar + `"n":2,"stream":true}`, "n", "in a stream", 400},
		{toChar + `"seed":-1}`, "seed", "negative", 400},
		{toChar + `"seed":99999999999999999999}`, "seed", "", 400},
		{toChar + `"temperature":2.1}`, "temperature", "between 0 and 2", 400},
		{toChar + `"top_p":0}`, "top_p", "greater than 0", 400},
		{toChar + `"top_p":1.1}`, "top_p", "at most 1", 400},
		{toChar + `"max_tokens":0}`, "max_tokens", "at least 1", 400},
		{toChar + `"max_completion_tokens":0}`, "max_completion_tokens", "at least 1", 400},
		{toChar + `"max_tokens":5,"max_completion_tokens":6}`, "max_completion_tokens", "contradicts", 400},
		{toChar + `"user":7}`, "user", "", 400},
		{toChar + `"user":"` + strings.Repeat("u", 257) + `"}`, "user", "256 bytes", 400},
		{toChar + `"metadata":{"use_history":"yes"}}`, "metadata.use_history", `"true" or "false"`, 400},
		{toChar + `"metadata":{"use_history":true}}`, "metadata.use_history", "", 400},
		{toChar + `"metadata":{"x":"` + strings.Repeat("好", 513) + `"}}`, "metadata.x", "512 characters", 400},
		{toChar + `"metadata":{"` + strings.Repeat("k", 65) + `":""}}`, "metadata", "64 characters", 400},
		{toChar + `"metadata":{` + pairs(17) + `}}`, "metadata", "17 pairs", 400},

		{says(`"hello"`), "messages", "", 400},
		{says(`[]`), "messages", "end with a user's message", 400},
		{says(`[{"role":"system","content":"x"}]`), "messages", "end with a user's message", 400},
		{says(`[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]`), "messages", "end with a user's message", 400},
		{says(`["x"]`), "messages[0]", "", 400},
		{says(`[null]`), "messages[0].role", "missing", 400},
		{says(`[{"content":"x"}]`), "messages[0].role", "missing", 400},
		{says(`[{"role":7,"content":"x"}]`), "messages[0].role", "", 400},
		{says(`[{"role":"tool","content":"x","tool_call_id":"y"}]`), "messages[0].tool_call_id", "not supported", 400},
		{says(`[{"role":"function","content":"x"}]`), "messages[0].role", `"function" is not supported`, 400},
		{says(`[{"role":"user"}]`), "messages[0].content", "missing", 400},
		{says(`[{"role":"user","content":null}]`), "messages[0].content", "missing", 400},
		{says(`[{"role":"user","content":" \n"}]`), "messages[0].content", "missing", 400},
		{says(`[{"role":"user","content":[]}]`), "messages[0].content", "missing", 400},
		{says(`[{"role":"user","content":7}]`), "messages[0].content", "", 400},
		{says(`[{"role":"user","content":["x"]}]`), "messages[0].content", "list of parts", 400},
		{says(`[{"role":"user","content":[{"type":"text"}]}]`), "messages[0].content[0].text", "missing", 400},
		{says(`[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]`), "messages[0].content[1].type", `"image_url" is not supported`, 400},
		{says(`[{"role":"user","content":"x"},{"role":"assistant","content":"y","tool_calls":[{"id":"1"}]},{"role":"user","content":"z"}]`), "messages[1].tool_calls", "not supported", 400},
		{says(`[{"role":"user","content":"x"},{"role":"system","content":"y"},{"role":"user","content":"z"}]`), "messages[1].role", "before the conversation", 400},
		{says(`[` + strings.Repeat(`{"role":"user","content":"x"},{"role":"assistant","content":"y"},`, 25) + `{"role":"user","content":"z"}]`), "messages", "51 messages, at most 50", 400},

		{`{"model":"xingchen-plus",` + hello + `}`, "messages", "system message", 400},
		{toRobot + `"temperature":0.7}`, "temperature", "robots", 400},
		{toRobot + `"top_p":0.7}`, "top_p", "robots", 400},
		{toRobot + `"seed":1}`, "seed", "robots", 400},
		{toRobot + `"max_tokens":1}`, "max_tokens", "robots", 400},
		{toRobot + `"max_completion_tokens":1}`, "max_completion_tokens", "robots", 400},
		{toRobot + `"n":2}`, "n", "robots", 400},
		{toRobot + `"metadata":{"session_id":"` + strings.Repeat("s", 65) + `"}}`, "metadata.session_id", "64 characters", 400},
		{`{"model":"beebot:` + robot + `","messages":[{"role":"system","content":"x"},{"role":"user","content":"y"}]}`, "messages[0].role", "no system message", 400},
		{`{"model":"beebot:` + robot + `","messages":[{"role":"user","content":"` + tooLong + `"}]}`, "messages[0].content", "128 characters", 400},
	} {
		got := f.complete(tc.body)
		told := decode[completion](t, got.body).Error
		switch {
		case told == nil || got.status != tc.status || told.Type != "invalid_request_error" || told.RequestID != got.header.Get("X-Request-Id"):
			t.Errorf("%s: %d %s", tc.body, got.status, got.body)
		case told.Param != tc.param || !strings.Contains(told.Message, tc.message):
			t.Errorf("%s: %q of %q, want %q of %q", tc.body, told.Message, told.Param, tc.message, tc.param)
		}
	}
	if sent := f.emu.Requests(); len(sent) > 0 {
		t.Errorf("upstream was asked: %+v", sent)
	}
}

func TestCompletionBodyTooLarge(t *testing.T) {
	t.Parallel()
	got := setup(t, options{}).complete(`{"model":"` + strings.Repeat("x", 7<<20) + `"}`)
	if got.status != http.StatusRequestEntityTooLarge || decode[completion](t, got.body).Error.Code != "body_too_large" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// All faults are told at once.
func TestCompletionFaultsTogether(t *testing.T) {
	t.Parallel()
	got := setup(t, options{}).complete(`{"messages":[{"role":"tool","content":7}],"n":0,"stop":"x","tools":[1]}`)
	for _, want := range []string{"messages[0].content:", "messages[0].role:", "model: missing", "n: must", "stop: is", "tools: is"} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %q in %s", want, got.body)
		}
	}
}

// A field has one fault, whatever else may be said of what could not be read.
func TestCompletionFaultsOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, options{})
	for parameter, want := range map[string]string{
		`"metadata":{"use_history":true}`: "metadata.use_history: want a text",
		`"n":1.5`:                         "n: want a whole number, not 1.5",
		`"max_tokens":"x"`:                "max_tokens: want a whole number",
		`"metadata":{"use_history":true,"x":null,"y":7}`: "metadata.use_history: want a text; metadata.y: want a text",
	} {
		got := f.complete(`{"model":"character:` + xiaowan + `","messages":[{"role":"user","content":"你好"}],` + parameter + `}`)
		if told := decode[completion](t, got.body).Error; told == nil || told.Message != want {
			t.Errorf("%s: %s", parameter, got.body)
		}
	}
}

// The models of a service that is not configured are not known.
func TestCompletionWithoutAService(t *testing.T) {
	t.Parallel()
	onlyRobots := setup(t, options{vars: map[string]string{"XINGCHEN_API_KEY": ""}})
	onlyCharacters := setup(t, options{vars: map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "", "BEEBOT_INSTANCES": ""}})
	for _, tc := range []struct {
		f      *front
		model  string
		status int
	}{
		{onlyRobots, "character:" + xiaowan, 404},
		{onlyRobots, "xingchen-plus", 404},
		{onlyRobots, "beebot:" + robot, 200},
		{onlyCharacters, "beebot:" + robot, 404},
		{onlyCharacters, "character:" + xiaowan, 200},
	} {
		if got := tc.f.complete(fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"你好"}]}`, tc.model)); got.status != tc.status {
			t.Errorf("%s: %d %s", tc.model, got.status, got.body)
		}
		if got := tc.f.call(http.MethodGet, "/v1/models/"+tc.model, ""); got.status != tc.status {
			t.Errorf("GET %s: %d %s", tc.model, got.status, got.body)
		}
	}
}

func pairs(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return strings.Join(list, ",")
}
