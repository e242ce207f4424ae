package stack_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"xinghe/functions/chat/chatapi"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/stack"
)

// sample reads a stream as the Python samples of the Xingchen HTTP API pages do: line by
// line, empty ones skipped, an error announced by a line that begins with event:error, data
// in lines that begin with data:, of which all that follows is JSON. After an error's data
// it stops.
func sample(body string) (texts []string, failure map[string]any, err error) {
	isError := false
	for text := range strings.SplitSeq(body, "\n") {
		if text == "" {
			continue
		}
		if strings.HasPrefix(text, "event:error") {
			isError = true
			continue
		}
		data, ok := strings.CutPrefix(text, "data:")
		if !ok {
			continue
		}
		if isError {
			err := json.Unmarshal([]byte(data), &failure)
			return texts, failure, err
		}
		var frame struct {
			Choices []struct{ Messages []struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &frame); err != nil {
			return texts, nil, fmt.Errorf("line %q: %w", text, err)
		}
		if len(frame.Choices) == 0 || len(frame.Choices[0].Messages) == 0 {
			return texts, nil, fmt.Errorf("line %q: nothing is said", text)
		}
		texts = append(texts, frame.Choices[0].Messages[0].Content)
	}
	return texts, nil, nil
}

// TestDocumentedReader holds that the samples of the pages can read what the front door
// sends, with its heartbeats, whichever output is asked for, and the errors of upstream as
// well as those that the front door has found itself.
func TestDocumentedReader(t *testing.T) {
	t.Parallel()
	b := setupChat(t, nil, emulator.Config{}, func(_ *stack.Stack, cfg *chatapi.Config) { cfg.Heartbeat = 10 * time.Millisecond })
	pause := fault.Rule{Fault: fault.Stall, AtFrame: 4, Delay: 60 * time.Millisecond}
	if err := b.Emulator.Faults().Set(fault.Rule{Fault: fault.ErrorEvent, AtFrame: 6, User: "failed"}, fault.Rule{Fault: fault.Cut, AtFrame: 6, User: "cut"}, pause); err != nil {
		t.Fatal(err)
	}
	streamed := []string{"Accept", "text/event-stream;charset=UTF-8", "X-AcA-SSE", "enable", "x-fag-servicename", "aca-chat-send-sse", "x-fag-appcode", "aca"}
	increments := func(user string) string {
		return strings.Replace(chat(xiaowan, user, "写20字"), `{"input"`, `{"parameters":{"incrementalOutput":true},"input"`, 1)
	}
	var cumulative string
	for _, tc := range []struct {
		name, body string
		joined     bool // the texts are pieces
		key        string
		code       float64
	}{
		{name: "cumulative", body: chat(xiaowan, "u1", "写20字")},
		{name: "incremental", body: increments("u2"), joined: true},
		{name: "error of upstream's", body: chat(xiaowan, "failed", "写20字"), key: "aca.error.system", code: 500},
		{name: "error of the front door's", body: chat(xiaowan, "cut", "写20字"), code: 502},
		{name: "error of upstream's, incremental", body: increments("failed"), joined: true, key: "aca.error.system", code: 500},
	} {
		got := b.post(send, tc.body, streamed...)
		if !strings.Contains(got.body, "\n:\n") {
			t.Errorf("%s: no heartbeat in %q", tc.name, got.body)
		}
		texts, failure, err := sample(got.body)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if tc.code != 0 {
			key, _ := failure["errorMessageKey"].(string)
			if failure == nil || key != tc.key || failure["errorCode"] != tc.code || failure["success"] != false || len(texts) != 5 {
				t.Errorf("%s: %q, then %v", tc.name, texts, failure)
			}
			continue
		}
		text := texts[len(texts)-1]
		if tc.joined {
			text = strings.Join(texts, "")
		}
		if failure != nil || len([]rune(text)) != 20 || cumulative != "" && text != cumulative {
			t.Errorf("%s: %q, then %v", tc.name, texts, failure)
		}
		cumulative = text
	}
}
