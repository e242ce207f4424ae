package relay_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
)

// wanted is the completion that a test's headers ask for: stream and usage.
func wanted(r *http.Request) relay.Completion {
	return relay.Completion{
		Model: "character:c", Created: time.Unix(1716342894, 0), Stream: r.Header.Get("stream") != "", Usage: r.Header.Get("usage") != "",
	}
}

// completionGateway answers as OpenAI does with a Xingchen whose answers the handler gives.
func completionGateway(t *testing.T, x relay.Xingchen, handler http.HandlerFunc) *gateway {
	t.Helper()
	g, _ := completionOutcomes(t, x, 500*time.Millisecond, handler)
	return g
}

// completionOutcomes is completionGateway with what it knows of each conversation afterwards.
func completionOutcomes(t *testing.T, x relay.Xingchen, idle time.Duration, handler http.HandlerFunc) (*gateway, <-chan relay.Outcome) {
	t.Helper()
	address, transport := listen(t, handler)
	client, err := xingchen.New(xingchen.Config{
		BaseURL: address, APIKey: sign.NewSecret(canary), Transport: transport, IdleTimeout: idle, MaxResponseBytes: 4096,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Client = client
	outcomes := make(chan relay.Outcome, 10)
	return newGateway(t, httpapi.OpenAI, func(w http.ResponseWriter, r *http.Request) error {
		body, err := httpapi.ReadBody(r)
		if err != nil {
			return err
		}
		outcome := relay.NewOutcome()
		err = x.Complete(w, r, chatCall(t, body), wanted(r), outcome)
		outcomes <- *outcome
		return err
	}), outcomes
}

// chatCall is a role chat.
func chatCall(tb testing.TB, body []byte) *xingchen.Call {
	tb.Helper()
	route, ok := xingchen.RouteFor(http.MethodPost, "/v2/api/chat/send")
	if !ok {
		tb.Error("no route for role chat")
	}
	return &xingchen.Call{Route: route, Body: body}
}

// robotGateway does the same with a robot.
func robotGateway(t *testing.T, handler http.HandlerFunc) *gateway {
	t.Helper()
	address, transport := listen(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/sse/") {
			answerJSON(http.StatusOK, `{"AccessToken":"`+canary+`-a","ChannelId":"`+canary+`-b","StreamSecret":"`+canary+`-c"}`)(w, r)
			return
		}
		handler(w, r)
	})
	client, err := beebot.New(beebot.Config{
		Endpoint: address, StreamURL: address, Transport: transport, IdleTimeout: 500 * time.Millisecond,
		Credentials: beebot.StaticCredentials(beebot.Credentials{AccessKeyID: canary, AccessKeySecret: sign.NewSecret(canary)}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return newGateway(t, httpapi.OpenAI, func(w http.ResponseWriter, r *http.Request) error {
		if _, err := httpapi.ReadBody(r); err != nil {
			return err
		}
		b := &relay.Beebot{Client: client}
		return b.Complete(w, r, beebot.Robot{ID: "chatbot-cn-x"}, beebot.StreamRequest{Utterance: "你好"}, wanted(r), relay.NewOutcome())
	})
}

// said is a frame of a role chat with a text as it stands in JSON, quotation marks included.
func said(text, more string) string {
	return `data:{"requestId":"u-1","choices":[{"messages":[{"role":"assistant","content":` + text + `}],"stopReason":"null"}],"context":{"answerId":"m-1"}` + more + `,"stop":false}` + "\n\n"
}

const endOfChat = `data:{"requestId":"u-1","choices":[{"messages":[{"role":"assistant","content":"","finishReason":"length"}],"stopReason":"length"}],` +
	`"usage":{"outputTokens":9,"inputTokens":11,"userTokens":2},"context":{"answerId":"m-1"},"stop":true}` + "\n\n"

// chunk is what clients read of a chunk.
type chunk struct {
	ID        string `json:"id"`
	Object    string `json:"object"`
	SessionID string `json:"session_id"`
	Choices   []struct {
		Delta struct {
			Role    string  `json:"role"`
			Content *string `json:"content"`
		} `json:"delta"`
		FinishReason *string `json:"finish_reason"`
	} `json:"choices"`
	Error *told `json:"error"`
}

// told is OpenAI's error object.
type told struct {
	Message   string  `json:"message"`
	Type      string  `json:"type"`
	Param     *string `json:"param"`
	Code      string  `json:"code"`
	RequestID string  `json:"request_id"`
}

// chunksOf reads a stream and says what its client makes of it: the text, how it ended ([DONE],
// an error's code, or nothing), and the chunks.
func chunksOf(t *testing.T, body string) (text, end string, all []chunk) {
	t.Helper()
	if !utf8.ValidString(body) {
		t.Errorf("no UTF-8: %q", body)
	}
	for _, data := range frames(t, body) {
		if end != "" {
			t.Errorf("%q comes after the end", data)
		}
		if data == "[DONE]" {
			end = data
			continue
		}
		c := decode[chunk](t, data)
		if c.Error != nil {
			end = c.Error.Code
			if c.Error.RequestID != "ours" || c.Error.Message == "" || c.Error.Type == "" {
				t.Errorf("told %s", data)
			}
			continue
		}
		all = append(all, c)
		for _, choice := range c.Choices {
			if choice.Delta.Content != nil {
				text += *choice.Delta.Content
			}
		}
	}
	return text, end, all
}

func TestCompletionStream(t *testing.T) {
	t.Parallel()
	const (
		head = `data: {"id":"chatcmpl-m-1","object":"chat.completion.chunk","created":1716342894,"model":"character:c","system_fingerprint":"fp_xinghe",`
		role = `"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}` + "\n\n"
		text = `"choices":[{"index":0,"delta":{"content":"17<&> \"\u5c81"},"logprobs":null,"finish_reason":null}]}` + "\n\n"
		end  = `"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}` + "\n\n"
		done = "data: [DONE]\n\n"
	)
	g := completionGateway(t, relay.Xingchen{}, answerSSE(nil, said(`"17<&> \"\u5c81"`, ""), endOfChat))
	got := g.ask(t, "stream", "yes")
	if diff := cmp.Diff(head+role+head+text+head+end+done, got.body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("%d %v", got.status, got.header)
	}
	if got.log["output_tokens"] != nil && got.log["output_tokens"] != 9.0 {
		t.Errorf("logged %v", got.log)
	}
	got = g.ask(t, "stream", "yes", "usage", "yes")
	const with = head + `"usage":null,`
	usage := head + `"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":9,"total_tokens":20}}` + "\n\n"
	if diff := cmp.Diff(with+role+with+text+with+end+usage+done, got.body); diff != "" {
		t.Errorf("with usage (-want +got):\n%s", diff)
	}
}

// Chunks arrive when upstream says something, not later.
func TestCompletionIsNotHeldBack(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	g := completionGateway(t, relay.Xingchen{}, answerSSE(func(w http.ResponseWriter, r *http.Request) {
		<-more
		answerSSE(nil, endOfChat)(w, r)
	}, said(`"一"`, "")))
	body := g.open(t.Context(), t, "stream", "yes")
	for !strings.Contains(waitForLine(t, body), `"一"`) {
	}
	close(more)
	if rest, err := io.ReadAll(body); err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("%q %v", rest, err)
	}
}

func waitForLine(t *testing.T, body interface{ ReadString(byte) (string, error) }) string {
	t.Helper()
	line, err := body.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// Whatever a frame looks like, its text arrives, in valid JSON.
func TestCompletionTexts(t *testing.T) {
	t.Parallel()
	decoded := func(messages string) string {
		return `data:{"choices":[{"messages":` + messages + `}],"context":{"answerId":"m-1"},"stop":false}` + "\n\n"
	}
	for name, test := range map[string]struct {
		output relay.Output
		frames []string
		want   string
	}{
		"plain":                {0, []string{said(`"我"`, ""), said(`"们"`, "")}, "我们"},
		"escapes":              {0, []string{said(`"\"\\\n\u4f60\ud83d\ude00"`, "")}, "\"\\\n你😀"},
		"empty":                {0, []string{said(`""`, ""), said(`"a"`, ""), said(`""`, "")}, "a"},
		"no text":              {0, []string{decoded(`[]`), said(`"a"`, "")}, "a"},
		"no choices":           {0, []string{`data:{"context":{"answerId":"m-1"},"stop":false}` + "\n\n", said(`"a"`, "")}, "a"},
		"null":                 {0, []string{said(`null`, ""), said(`"a"`, "")}, "a"},
		"blanks":               {0, []string{decoded(`[{ "content" : "a" }]`)}, "a"},
		"several messages":     {0, []string{decoded(`[{"content":"a"},{"content":"b"}]`)}, "ab"},
		"words of JSON":        {0, []string{said(`"\"content\":\"x\",\"stop\":true}"`, "")}, `"content":"x","stop":true}`},
		"a broken rune":        {0, []string{said("\"a\xe4\xbd\"", "")}, "a\ufffd\ufffd"},
		"half a pair":          {0, []string{said(`"\ud83d"`, "")}, "\ufffd"},
		"cumulative":           {relay.AlwaysCumulative, []string{said(`"我"`, ""), said(`"我今"`, ""), said(`"我今"`, ""), said(`"我今年"`, "")}, "我今年"},
		"incremental for sure": {relay.AlwaysIncremental, []string{said(`"我"`, ""), said(`"我"`, "")}, "我我"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			last := endOfChat
			if test.output == relay.AlwaysCumulative {
				encoded, _ := json.Marshal(test.want)
				last = strings.Replace(last, `"content":""`, `"content":`+string(encoded), 1)
			}
			g := completionGateway(t, relay.Xingchen{Output: test.output}, answerSSE(nil, append(test.frames, last)...))
			got := g.ask(t, "stream", "yes")
			if text, end, _ := chunksOf(t, got.body); text != test.want || end != "[DONE]" {
				t.Errorf("%q, then %s: %s", text, end, got.body)
			}
		})
	}
}

// What fails before the first chunk is an answer with a status, whether a stream was asked
// for or not.
func TestCompletionRefused(t *testing.T) {
	t.Parallel()
	refusal := func(fields string) http.HandlerFunc {
		return answerJSON(http.StatusBadRequest, `{"requestId":"u-2","success":false,`+fields+`}`)
	}
	for name, test := range map[string]struct {
		handler    http.HandlerFunc
		status     int
		kind, code string
		message    string
	}{
		"not found":     {answerJSON(http.StatusBadRequest, notFound), 404, "invalid_request_error", "not_found", "Not Found"},
		"a bad field":   {refusal(`"code":400,"errorMessageKey":"aca.error.invalid.param","errorMessage":"Invalid Param: topP"`), 400, "invalid_request_error", "upstream_error", "Invalid Param: topP"},
		"no permission": {refusal(`"code":403,"errorMessage":"No Permission"`), 403, "permission_error", "forbidden", "No Permission"},
		"throttled":     {refusal(`"code":429,"errorMessageKey":"aca.error.throttling","errorMessage":"slow down"`), 429, "rate_limit_error", "rate_limited", "slow down"},
		"parallel":      {refusal(`"code":429,"errorMessageKey":"parallel","errorMessage":"one at a time"`), 409, "invalid_request_error", "conflict", "one at a time"},
		"our key":       {refusal(`"code":400,"errorMessageKey":"aca.error.invalid.token","errorMessage":"Invalid Token"`), 502, "api_error", "upstream_error", "upstream does not accept the credentials of this gateway"},
		"broken":        {answerJSON(http.StatusInternalServerError, `{"success":false,"code":500,"errorMessage":"System Error"}`), 502, "api_error", "upstream_error", "System Error"},
		"cut":           {cut, 502, "api_error", "upstream_unavailable", "upstream cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := completionGateway(t, relay.Xingchen{ParallelKeys: []string{"parallel"}}, test.handler)
			for _, stream := range []string{"", "yes"} {
				got := g.ask(t, "stream", stream)
				body := decode[struct{ Error told }](t, got.body).Error
				if want := (told{Message: test.message, Type: test.kind, Code: test.code, RequestID: "ours"}); got.status != test.status || body != want {
					t.Errorf("stream %q: got %d %s", stream, got.status, got.body)
				}
			}
		})
	}
}

// What fails after the first chunk is one error in the stream, which then ends without [DONE].
func TestCompletionFailsInTheStream(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		x       relay.Xingchen
		handler http.HandlerFunc
		code    string
	}{
		"no last frame":       {relay.Xingchen{}, answerSSE(nil, said(`"a"`, "")), "upstream_truncated"},
		"cut":                 {relay.Xingchen{}, answerSSE(cut, said(`"a"`, "")), "upstream_truncated"},
		"half a frame":        {relay.Xingchen{}, answerSSE(nil, said(`"a"`, ""), endOfChat[:40]), "upstream_truncated"},
		"silence":             {relay.Xingchen{}, answerSSE(silence, said(`"a"`, "")), "upstream_timeout"},
		"silence, heartbeat":  {relay.Xingchen{Heartbeat: 20 * time.Millisecond}, answerSSE(silence, said(`"a"`, "")), "upstream_timeout"},
		"too large":           {relay.Xingchen{}, answerSSE(nil, said(`"a"`, ""), "data:"+strings.Repeat("x", 5000)), "upstream_error"},
		"event:error":         {relay.Xingchen{}, answerSSE(silence, said(`"a"`, ""), "event:error\ndata:"+notFound+"\n\n"), "not_found"},
		"a strange frame":     {relay.Xingchen{}, answerSSE(nil, said(`"a"`, ""), "data:{oops}\n\n", endOfChat), "upstream_error"},
		"a strange text":      {relay.Xingchen{}, answerSSE(nil, said(`"a"`, ""), said(`"\x"`, ""), endOfChat), "upstream_error"},
		"a control character": {relay.Xingchen{}, answerSSE(nil, said(`"a"`, ""), said("\"\x01\"", ""), endOfChat), "upstream_error"},
		"a strange end":       {relay.Xingchen{}, answerSSE(nil, said(`"a"`, ""), `data:{"choices":[{"messages":[{"content":"b"}],,"stop":true}`+"\n\n"), "upstream_error"},
		"rewritten":           {relay.Xingchen{Output: relay.AlwaysCumulative}, answerSSE(nil, said(`"a"`, ""), said(`"b"`, ""), endOfChat), relay.CodeRewritten},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := completionGateway(t, test.x, test.handler).ask(t, "stream", "yes", "usage", "yes")
			text, end, all := chunksOf(t, got.body)
			if got.status != http.StatusOK || strings.TrimSuffix(text, "b") != "a" || end != test.code {
				t.Errorf("got %d %q, then %q: %s", got.status, text, end, got.body)
			}
			for _, c := range all {
				if len(c.Choices) != 1 || c.Choices[0].FinishReason != nil {
					t.Errorf("a stream that fails has finished: %s", got.body)
				}
			}
			if strings.Contains(name, "heartbeat") != strings.Contains(got.body, "\n:\n") {
				t.Errorf("heartbeats: %q", got.body)
			}
			if got.log["error"] == nil || got.log["upstream_request_id"] == nil {
				t.Errorf("logged %v", got.log)
			}
		})
	}
}

// A heartbeat may come first; then a failure is told in the stream though nothing was said.
func TestCompletionFailsAfterAHeartbeat(t *testing.T) {
	t.Parallel()
	got := completionGateway(t, relay.Xingchen{Heartbeat: 20 * time.Millisecond}, answerSSE(silence)).ask(t, "stream", "yes")
	text, end, all := chunksOf(t, got.body)
	if got.status != http.StatusOK || text != "" || end != "upstream_timeout" || len(all) != 0 || !strings.HasPrefix(got.body, ":\n") {
		t.Errorf("%d %q", got.status, got.body)
	}
}

func TestCompletionWhole(t *testing.T) {
	t.Parallel()
	const choice = `{"messages":[{"role":"assistant","content":%q,"finishReason":"stop"}],"stopReason":%q}`
	body := `{"requestId":"u-3","code":200,"success":true,"data":{"choices":[` + fmt.Sprintf(choice, "一", "stop") + "," + fmt.Sprintf(choice, "二", "length") +
		`],"usage":{"outputTokens":2,"inputTokens":3},"context":{"messageId":"m-9"},"stop":true}}`
	var saw http.Header
	got := completionGateway(t, relay.Xingchen{}, func(w http.ResponseWriter, r *http.Request) {
		saw = r.Header
		answerJSON(http.StatusOK, body)(w, r)
	}).ask(t, "X-AcA-DataInspection", "enable")
	if saw.Get("X-AcA-DataInspection") != "enable" || saw.Get("x-request-id") != "ours" {
		t.Errorf("upstream saw %v", saw)
	}
	const message = `{"index":%d,"message":{"role":"assistant","content":%q,"refusal":null},"logprobs":null,"finish_reason":%q}`
	want := `{"id":"chatcmpl-m-9","object":"chat.completion","created":1716342894,"model":"character:c","system_fingerprint":"fp_xinghe","choices":[` +
		fmt.Sprintf(message, 0, "一", "stop") + "," + fmt.Sprintf(message, 1, "二", "length") +
		`],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}` + "\n"
	if diff := cmp.Diff(want, got.body); diff != "" || got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v (-want +got):\n%s", got.status, got.header, diff)
	}
	for name, body := range map[string]string{
		"no data":      `{"success":true,"code":200}`,
		"no choices":   `{"success":true,"code":200,"data":{"choices":[]}}`,
		"other choice": `{"success":true,"code":200,"data":{"choices":"a"}}`,
	} {
		got := completionGateway(t, relay.Xingchen{}, answerJSON(http.StatusOK, body)).ask(t)
		if got.status != http.StatusBadGateway || decode[struct{ Error told }](t, got.body).Error.Code != "upstream_error" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

func TestRobotCompletion(t *testing.T) {
	t.Parallel()
	clarify := tells(2, `"StreamEnd":true,"MessageBody":{"Type":"Clarify","ClarifyMessageBody":{"ClarifyContent":"哪个?","ClarifyList":[{"Title":"查询"},"提取"]}}`)
	for name, test := range map[string]struct {
		frames        []string
		text, end     string
		whole         int // status
		wholeText     string
		wholeSession  string
		streamHeaders string
	}{
		"a text":    {[]string{tells(1, `"StreamEnd":false`), says(2, "", false), says(3, "我是", false), says(4, "我是个", false), says(5, "我是个", true)}, "我是个", "[DONE]", 200, "我是个", "s", "s"},
		"a choice":  {[]string{tells(1, `"StreamEnd":false`), clarify}, "哪个?\n- 查询\n- 提取", "[DONE]", 200, "哪个?\n- 查询\n- 提取", "s", "s"},
		"rewritten": {[]string{says(1, "我是", false), says(2, "他是", false), says(3, "他是", true)}, "我是", relay.CodeRewritten, 200, "他是", "s", "s"},
		"cut":       {[]string{says(1, "我是", false)}, "我是", "upstream_truncated", 502, "", "", "s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := robotGateway(t, answerSSE(nil, test.frames...))
			got := g.ask(t, "stream", "yes", "usage", "yes")
			text, end, all := chunksOf(t, got.body)
			if text != test.text || end != test.end || got.header.Get("X-Session-Id") != test.streamHeaders {
				t.Errorf("%q, then %q, session %q: %s", text, end, got.header.Get("X-Session-Id"), got.body)
			}
			for _, c := range all {
				if c.ID != "chatcmpl-m" || c.SessionID != "s" {
					t.Errorf("%+v", c)
				}
			}
			if zero := `"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"incomplete":true}}`; end == "[DONE]" && !strings.Contains(got.body, zero) {
				t.Errorf("no usage in %s", got.body)
			}
			got = g.ask(t)
			whole := decode[struct {
				ID        string
				SessionID string `json:"session_id"`
				Choices   []struct{ Message struct{ Content string } }
			}](t, got.body)
			if got.status != test.whole || whole.SessionID != test.wholeSession || got.header.Get("X-Session-Id") != test.wholeSession {
				t.Errorf("%d %v %s", got.status, got.header, got.body)
			}
			if got.status == http.StatusOK && (whole.ID != "chatcmpl-m" || len(whole.Choices) != 1 || whole.Choices[0].Message.Content != test.wholeText) {
				t.Errorf("%s", got.body)
			}
		})
	}
}

// A reply that is whole streams as well, and an answer without an id of upstream's has that
// of the request.
func TestTellAReplyInChunks(t *testing.T) {
	t.Parallel()
	g := newGateway(t, httpapi.OpenAI, func(w http.ResponseWriter, r *http.Request) error {
		return wanted(r).Tell(w, r, relay.Reply{SessionID: "s", Choices: []relay.ReplyChoice{{Text: "<你好>"}}})
	})
	got := g.ask(t, "stream", "yes")
	text, end, all := chunksOf(t, got.body)
	if text != "<你好>" || end != "[DONE]" || len(all) != 3 || all[0].ID != "chatcmpl-ours" || got.header.Get("X-Session-Id") != "s" {
		t.Errorf("%v %s", got.header, got.body)
	}
}

// A client that leaves is no fault, and upstream is told.
func TestCompletionClientLeaves(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	g := completionGateway(t, relay.Xingchen{}, answerSSE(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	}, said(`"a"`, "")))
	resp, err := g.client.Do(g.request(t.Context(), t, "stream", "yes"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	waitFor(t, "upstream to see that the client is gone", gone)
	if over := waitFor(t, "the request to be over", g.over); over.log["level"] != "info" {
		t.Errorf("logged %v", over.log)
	}
}

// Upstream is read on for a client that has left, if that is wanted, to learn the usage.
func TestCompletionIsDrained(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	x := relay.Xingchen{Text: true, Disconnect: relay.Disconnect{Drain: 30 * time.Second}}
	g, outcomes := completionOutcomes(t, x, 30*time.Second, answerSSE(func(w http.ResponseWriter, r *http.Request) {
		<-left
		answerSSE(nil, said(`"b"`, ""), endOfChat)(w, r)
	}, said(`"a"`, "")))
	resp, err := g.client.Do(g.request(t.Context(), t, "stream", "yes"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	close(left)
	outcome := waitFor(t, "the conversation to be over", outcomes)
	if want := (jobs.ChatUsage{InputTokens: 11, OutputTokens: 9, UserTokens: 2}); outcome.Usage != want || outcome.Text != "ab" || outcome.MessageID != "m-1" || outcome.First.IsZero() {
		t.Errorf("%+v", outcome)
	}
	waitFor(t, "the request to be over", g.over)
}
