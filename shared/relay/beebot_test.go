package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/sign"
)

// beebotGateway relays to a Beebot whose streams the handler gives. The header stream asks
// for events.
func beebotGateway(t *testing.T, handler http.HandlerFunc, edit ...func(*beebot.Config)) *gateway {
	t.Helper()
	address, transport := listen(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/sse/") {
			answerJSON(http.StatusOK, `{"AccessToken":"`+canary+`-a","ChannelId":"`+canary+`-b","StreamSecret":"`+canary+`-c"}`)(w, r)
			return
		}
		handler(w, r)
	})
	cfg := beebot.Config{
		Endpoint: address, StreamURL: address, Transport: transport,
		Credentials: beebot.StaticCredentials(beebot.Credentials{AccessKeyID: canary, AccessKeySecret: sign.NewSecret(canary)}),
	}
	for _, f := range edit {
		f(&cfg)
	}
	client, err := beebot.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return newGateway(t, httpapi.Problem, func(w http.ResponseWriter, r *http.Request) error {
		if _, err := httpapi.ReadBody(r); err != nil {
			return err
		}
		request := beebot.StreamRequest{InstanceID: "chatbot-cn-x", Utterance: r.Header.Get("utterance")}
		b := &relay.Beebot{Client: client}
		return b.Serve(w, r, request, r.Header.Get("stream") != "", relay.NewOutcome())
	})
}

// tells is a frame with the n-th request id whose value holds these fields.
func tells(n int, fields string) string {
	value, _ := json.Marshal(`{"SessionId":"s","MessageId":"m",` + fields + `}`)
	return fmt.Sprintf("data:{\"data\":[{\"type\":\"JSON_TEXT\",\"value\":%s}],\"requestId\":\"u-%d\",\"success\":true}\n\n", value, n)
}

// says is a frame with the whole text so far.
func says(n int, text string, end bool) string {
	return tells(n, fmt.Sprintf(`"Source":"NON_STRUCTURAL_KNOWLEDGE","StreamEnd":%t,"MessageBody":{"DirectMessageBody":{"ContentType":"RICH_TEXT","SentenceList":[{"Content":%q}]}}`, end, text))
}

// problem is what clients read of a refusal.
type problem struct {
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	RequestID string `json:"requestId"`
}

func TestBeebotAnswers(t *testing.T) {
	t.Parallel()
	whole := relay.BeebotAnswer{
		RequestID: "ours", SessionID: "s", MessageID: "m", ContentType: "RICH_TEXT", Source: "NON_STRUCTURAL_KNOWLEDGE", End: true,
	}
	for name, test := range map[string]struct {
		frames []string
		events []string // before the last
		want   func(*relay.BeebotAnswer)
	}{
		"deltas": {
			[]string{says(1, "我是", false), says(2, "我是个<模型>", false), says(3, "我是个<模型>。", true)},
			[]string{`delta {"text":"我是"}`, `delta {"text":"个\u003c模型\u003e"}`, `delta {"text":"。"}`},
			func(a *relay.BeebotAnswer) { a.Text = "我是个<模型>。" },
		},
		"upstream takes back what it said": {
			[]string{says(1, "一二", false), says(2, "三", false), says(3, "三四", true)},
			[]string{`delta {"text":"一二"}`, `replace {"text":"三"}`, `delta {"text":"四"}`},
			func(a *relay.BeebotAnswer) { a.Text = "三四" },
		},
		"frames that say nothing new": {
			[]string{says(1, "一", false), ":hb\n", says(2, "一", false), tells(3, `"StreamEnd":true`)},
			[]string{`delta {"text":"一"}`},
			func(a *relay.BeebotAnswer) { a.Text = "一" },
		},
		"handing over": {
			[]string{
				tells(1, `"StreamEnd":false,"MessageBody":{"DirectMessageBody":{"ContentType":"PLAIN_TEXT","SentenceList":[{"Content":"转"}]},"Commands":{"sysToAgent":"{\"skillGroup\":\"12\",\"ext\":\"abc\"}"}}`),
				tells(2, `"StreamEnd":true,"Source":"COMMANDS","MessageBody":{"DirectMessageBody":{"SentenceList":[{"Content":"转接"}]}}`),
			},
			[]string{`delta {"text":"转"}`, `delta {"text":"接"}`},
			func(a *relay.BeebotAnswer) {
				a.Text, a.ContentType, a.Source = "转接", "PLAIN_TEXT", "COMMANDS"
				a.Handover = &beebot.Handover{SkillGroup: "12", Ext: "abc"}
			},
		},
		"asking back": {
			[]string{tells(1, `"StreamEnd":true,"Source":"KNOWLEDGE","MessageBody":{"ClarifyMessageBody":{"Title":"哪个?","ClarifyContent":"请选择","ClarifyList":[{"Title":"甲"},"乙"]}}`)},
			[]string{`delta {"text":"请选择"}`},
			func(a *relay.BeebotAnswer) {
				a.Text, a.ContentType, a.Source = "请选择", "", "KNOWLEDGE"
				a.Clarify = &relay.BeebotClarify{Title: "哪个?", Content: "请选择", Options: []string{"甲", "乙"}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := whole
			test.want(&want)
			g := beebotGateway(t, answerSSE(nil, test.frames...))
			plain, streamed := g.ask(t, "utterance", "你好"), g.ask(t, "utterance", "你好", "stream", "yes")

			if plain.status != http.StatusOK || plain.header.Get("Content-Type") != "application/json" {
				t.Errorf("got %d %v", plain.status, plain.header)
			}
			if diff := cmp.Diff(want, decode[relay.BeebotAnswer](t, plain.body)); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			events := frames(t, streamed.body)
			last := strings.TrimPrefix(events[len(events)-1], "done ")
			if diff := cmp.Diff(test.events, events[:len(events)-1]); diff != "" || streamed.status != http.StatusOK {
				t.Errorf("%d, events (-want +got):\n%s", streamed.status, diff)
			}
			if diff := cmp.Diff(want, decode[relay.BeebotAnswer](t, last)); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			for _, over := range []answer{plain, streamed} {
				id := fmt.Sprintf("u-%d", strings.Count(strings.Join(test.frames, ""), "data:"))
				if over.log["upstream_request_id"] != id || over.log["level"] != "info" {
					t.Errorf("logged %v, want %s", over.log, id)
				}
			}
		})
	}
}

// Events are never split between writes, and those that come together go out together.
func TestBeebotEventsAreWrittenWhole(t *testing.T) {
	t.Parallel()
	got := beebotGateway(t, answerSSE(nil, says(1, "a", false)+says(2, "ab", false)+says(3, "ab", true))).ask(t, "utterance", "你好", "stream", "yes")
	const deltas = "event:delta\ndata:{\"text\":\"a\"}\n\nevent:delta\ndata:{\"text\":\"b\"}\n\nevent:done\ndata:{"
	if len(got.ops) != 2 || !strings.HasPrefix(got.ops[0], deltas) || !strings.HasSuffix(got.ops[0], "}\n\n") || got.ops[1] != "flush" {
		t.Errorf("operations %q", got.ops)
	}
}

func TestBeebotDeltasAreNotHeldBack(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	g := beebotGateway(t, answerSSE(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-read:
			answerSSE(nil, says(2, "ab", true))(w, r)
		case <-r.Context().Done():
		}
	}, says(1, "a", false)))
	body := g.open(t.Context(), t, "utterance", "你好", "stream", "yes")
	for _, want := range []string{"event:delta\n", "data:{\"text\":\"a\"}\n", "\n"} {
		if got, err := body.ReadString('\n'); err != nil || got != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	close(read)
	if got, err := body.ReadString('\n'); err != nil || got != "event:delta\n" {
		t.Errorf("then %q, %v", got, err)
	}
	waitFor(t, "the request to be over", g.over)
}

func TestBeebotFails(t *testing.T) {
	t.Parallel()
	const failure = `data:{"success":false,"code":"%s","message":"no","requestId":"u-9"}` + "\n\n"
	first := says(1, "a", false)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		begun   bool // the first frame is good
		status  int
		code    string
	}{
		"no frame":              {answerSSE(nil), false, 502, "upstream_truncated"},
		"no last frame":         {answerSSE(nil, first), true, 502, "upstream_truncated"},
		"cut":                   {answerSSE(cut, first), true, 502, "upstream_truncated"},
		"half a frame":          {answerSSE(nil, first, says(2, "ab", true)[:60]), true, 502, "upstream_truncated"},
		"malformed":             {answerSSE(nil, first, "data:{oops}\n\n"), true, 502, "upstream_error"},
		"silence":               {answerSSE(silence, first), true, 504, "upstream_timeout"},
		"silence at once":       {answerSSE(silence, ":hb\n"), false, 504, "upstream_timeout"},
		"vanishes":              {cut, false, 502, "upstream_unavailable"},
		"invalid":               {answerSSE(nil, fmt.Sprintf(failure, "InvalidParameter")), false, 400, "upstream_error"},
		"invalid, late":         {answerSSE(nil, first, fmt.Sprintf(failure, "InvalidParameter")), true, 400, "upstream_error"},
		"event:error":           {answerSSE(nil, first, "event:error\n"+fmt.Sprintf(failure, "InternalError")), true, 502, "upstream_error"},
		"no such robot":         {answerSSE(nil, fmt.Sprintf(failure, "InvalidInstanceId.NotFound")), false, 404, "not_found"},
		"throttled":             {answerSSE(nil, fmt.Sprintf(failure, "Throttling.User")), false, 429, "rate_limited"},
		"credentials, in frame": {answerSSE(nil, fmt.Sprintf(failure, "InvalidAccessToken")), false, 502, "upstream_error"},
		"credentials, web page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusForbidden)
		}, false, 502, "upstream_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := beebotGateway(t, test.handler, func(cfg *beebot.Config) { cfg.IdleTimeout = 500 * time.Millisecond })
			plain, streamed := g.ask(t, "utterance", "你好"), g.ask(t, "utterance", "你好", "stream", "yes")

			got := decode[problem](t, plain.body)
			if plain.status != test.status || got.Status != test.status || got.Code != test.code || got.RequestID != "ours" || got.Detail == "" ||
				plain.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("JSON: got %d %v %s, want %d %s", plain.status, plain.header, plain.body, test.status, test.code)
			}
			if !test.begun {
				if streamed.status != test.status || decode[problem](t, streamed.body) != got {
					t.Errorf("stream: got %d %s", streamed.status, streamed.body)
				}
				return
			}
			events := frames(t, streamed.body)
			if streamed.status != http.StatusOK || len(events) != 2 || events[0] != `delta {"text":"a"}` || !strings.HasPrefix(events[1], "error ") {
				t.Fatalf("stream: got %d %q", streamed.status, events)
			}
			if told := decode[problem](t, strings.TrimPrefix(events[1], "error ")); told != got {
				t.Errorf("stream: told %+v, want %+v", told, got)
			}
			if streamed.log["error"] == nil || streamed.log["upstream_request_id"] == nil {
				t.Errorf("logged %v", streamed.log)
			}
		})
	}
}

func TestBeebotRefusesTheRequest(t *testing.T) {
	t.Parallel()
	g := beebotGateway(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	got := g.ask(t)
	if body := decode[problem](t, got.body); got.status != http.StatusBadRequest || body.Code != "invalid_field" || !strings.Contains(body.Detail, "utterance") {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestBeebotClientLeaves(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	g := beebotGateway(t, answerSSE(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	}, says(1, "a", false)))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	body := g.open(ctx, t, "utterance", "你好", "stream", "yes")
	if _, err := body.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	leave()
	waitFor(t, "upstream to see that the client is gone", gone)
	if over := waitFor(t, "the request to be over", g.over); over.log["level"] != "info" {
		t.Errorf("logged %v: a client that leaves is no fault", over.log)
	}
}
