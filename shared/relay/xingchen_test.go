package relay_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

const (
	frame1   = `data:{"requestId":"u-1","choices":[{"messages":[{"content":"我今年"}],"stopReason":"null"}],"unknown":[1, 2],"stop":false}` + "\n\n"
	frame2   = `data:{"requestId":"u-1","choices":[{"messages":[{"content":"17岁了<&>"}],"stopReason":"stop"}],"usage":{"outputTokens":9},"stop":true}` + "\n\n"
	notFound = `{"requestId":"u-2", "success":false,"code":404,"errorCode":404,"errorName":"Not Found","errorMessage":"Not Found","errorMessageKey":"aca.error.notfound","httpStatusCode":400,"more":1}`
)

// envelope is what clients read of a refusal of ours.
type envelope struct {
	RequestID       string `json:"requestId"`
	Success         bool   `json:"success"`
	Code            int    `json:"code"`
	ErrorName       string `json:"errorName"`
	ErrorMessage    string `json:"errorMessage"`
	ErrorMessageKey string `json:"errorMessageKey"`
}

func TestXingchenAnswerPassesByteForByte(t *testing.T) {
	t.Parallel()
	const body = ` {"requestId":"u-3","code":200,"success":true, "data":{"unknown":[1,{"深":"<&>"}]}}` + "\n"
	var saw http.Header
	g := xingchenGateway(t, func(w http.ResponseWriter, r *http.Request) {
		saw = r.Header
		answerJSON(http.StatusOK, body)(w, r)
	})
	got := g.ask(t, "X-DashScope-DataInspection", "enable")
	if got.status != http.StatusOK || got.body != body || got.header.Get("Content-Type") != "application/json;charset=UTF-8" || got.header.Get("X-Request-Id") != "ours" {
		t.Errorf("got %d %v %q", got.status, got.header, got.body)
	}
	if saw.Get("x-request-id") != "ours" || saw.Get("X-AcA-DataInspection") != "enable" || saw.Get("Authorization") != "Bearer "+canary {
		t.Errorf("upstream saw %v", saw)
	}
	if got.log["upstream_request_id"] != "u-3" || got.log["level"] != "info" {
		t.Errorf("logged %v", got.log)
	}
}

// What upstream refuses passes as it came, under the status that it means.
func TestXingchenRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status     int
		retryAfter string
		body       string
		want       int
	}{
		"not found":       {400, "", notFound, http.StatusNotFound},
		"in status 200":   {200, "", notFound, http.StatusNotFound},
		"name taken":      {400, "", `{"requestId":"u-2","success":false,"code":401,"errorMessage":"Data Duplicate"}`, http.StatusConflict},
		"throttled":       {429, "3", `{"requestId":"u-2","success":false,"code":429,"errorMessageKey":"aca.error.throttling"}`, http.StatusTooManyRequests},
		"invalid":         {400, "", `{"requestId":"u-2","success":false,"code":400,"errorMessage":"userId"}`, http.StatusBadRequest},
		"no permission":   {400, "", `{"requestId":"u-2","success":false,"code":403}`, http.StatusForbidden},
		"upstream failed": {500, "", `{"requestId":"u-2","success":false,"code":500}`, http.StatusBadGateway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := xingchenGateway(t, func(w http.ResponseWriter, r *http.Request) {
				if test.retryAfter != "" {
					w.Header().Set("Retry-After", test.retryAfter)
				}
				answerJSON(test.status, test.body)(w, r)
			})
			for _, got := range []answer{g.ask(t), g.stream(t)} {
				if got.status != test.want || got.body != test.body || got.header.Get("Content-Type") != "application/json" || got.header.Get("Retry-After") != test.retryAfter {
					t.Errorf("got %d %v %s, want %d", got.status, got.header, got.body, test.want)
				}
				if got.log["upstream_request_id"] != "u-2" || got.log["error"] == nil {
					t.Errorf("logged %v", got.log)
				}
			}
		})
	}
}

// That upstream does not take our key is no news of the caller's.
func TestXingchenRefusesOurKey(t *testing.T) {
	t.Parallel()
	const refusal = `{"requestId":"u-2","success":false,"code":400,"errorMessage":"Invalid Token","errorMessageKey":"aca.error.invalid.token"}`
	for name, handler := range map[string]http.HandlerFunc{
		"envelope":      answerJSON(400, refusal),
		"status 401":    answerJSON(401, ""),
		"repeats it":    answerJSON(400, strings.Replace(refusal, "Invalid", "Invalid Bearer "+canary, 1)),
		"first frame":   answerSSE(nil, "event:error\ndata:"+refusal+"\n\n"),
		"in the stream": answerSSE(nil, frame1, "event:error\ndata:"+refusal+"\n\n"),
	} {
		g := xingchenGateway(t, handler)
		asked := g.stream(t)
		text, begun := strings.CutPrefix(asked.body, frame1+"event:error\ndata:")
		if begun != (name == "in the stream") || !begun && asked.status != http.StatusBadGateway || asked.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: got %d %v %s", name, asked.status, asked.header, asked.body)
		}
		if asked.log["level"] != "warn" {
			t.Errorf("%s: logged %v", name, asked.log)
		}
		got := decode[envelope](t, text)
		want := envelope{RequestID: "ours", Code: 502, ErrorName: "upstream_error", ErrorMessage: "upstream does not accept the credentials of this gateway"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Frames pass as they came, those that come together in one write, and are flushed when no
// other is there already.
func TestXingchenFramesPassAsTheyCame(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		parts []string
		ops   []string
	}{
		"one by one":  {[]string{frame1, frame2}, nil}, // when they arrive is TCP's business
		"all at once": {[]string{frame1 + frame2}, []string{frame1 + frame2, "flush"}},
		"heartbeats":  {[]string{":hb\n\n:hb\n" + frame1 + ":hb\n" + frame2 + ":hb\n\n"}, []string{frame1 + frame2, "flush"}},
		"after the last": {
			[]string{frame1 + frame2 + frame1 + frame2},
			[]string{frame1 + frame2, "flush"},
		},
		"other spellings": {
			[]string{strings.ReplaceAll(strings.ReplaceAll(frame1+frame2, "data:", "data: "), "\n", "\r\n")},
			[]string{frame1 + frame2, "flush"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := xingchenGateway(t, answerSSE(nil, test.parts...)).stream(t)
			if got.status != http.StatusOK || got.body != frame1+frame2 {
				t.Errorf("got %d %q", got.status, got.body)
			}
			if h := got.header; h.Get("Content-Type") != "text/event-stream;charset=UTF-8" || h.Get("X-Accel-Buffering") != "no" || h.Get("Cache-Control") != "no-cache, no-transform" {
				t.Errorf("headers %v", h)
			}
			if diff := cmp.Diff(test.ops, got.ops); test.ops != nil && diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			if got.log["upstream_request_id"] != "u-1" || got.log["level"] != "info" || got.log["error"] != nil {
				t.Errorf("logged %v", got.log)
			}
		})
	}
}

// A frame reaches the client before upstream sends the next.
func TestXingchenFramesAreNotHeldBack(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	g := xingchenGateway(t, answerSSE(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-read:
			_, _ = io.WriteString(w, frame2)
		case <-r.Context().Done():
		}
	}, frame1))
	body := g.open(t.Context(), t, "X-AcA-SSE", "enable")
	first, err := body.ReadString('\n')
	if err != nil || first+"\n" != frame1 {
		t.Fatalf("got %q, %v", first, err)
	}
	close(read)
	rest, err := io.ReadAll(body)
	if err != nil || string(rest) != "\n"+frame2 {
		t.Errorf("then %q, %v", rest, err)
	}
	waitFor(t, "the request to be over", g.over)
}

func TestXingchenLargeFrame(t *testing.T) {
	t.Parallel()
	frame := `data:{"choices":[{"messages":[{"content":"` + strings.Repeat("星河", 5<<20/6) + `"}]}],"stop":true}` + "\n\n"
	got := xingchenGateway(t, answerSSE(nil, frame)).stream(t)
	if got.status != http.StatusOK || got.body != frame {
		t.Errorf("got %d and %d bytes, want %d", got.status, len(got.body), len(frame))
	}
}

// What fails before the first frame is an answer of its own.
func TestXingchenFailsBeforeTheFirstFrame(t *testing.T) {
	t.Parallel()
	idle := func(cfg *xingchen.Config) { cfg.IdleTimeout = 50 * time.Millisecond }
	brief := func(cfg *xingchen.Config) { cfg.Timeout = 50 * time.Millisecond }
	none := func(*xingchen.Config) {}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		edit    func(*xingchen.Config)
		stream  bool
		status  int
		code    string
	}{
		"no frame":         {answerSSE(nil), none, true, 502, "upstream_truncated"},
		"cut":              {answerSSE(cut, ":hb\n"), none, true, 502, "upstream_truncated"},
		"silence":          {answerSSE(silence, ":hb\n"), idle, true, 504, "upstream_timeout"},
		"no answer":        {silence, idle, true, 504, "upstream_timeout"},
		"too large":        {answerSSE(nil, frame1), func(cfg *xingchen.Config) { cfg.MaxResponseBytes = 64 }, true, 502, "upstream_error"},
		"vanishes":         {cut, none, true, 502, "upstream_unavailable"},
		"plain, silence":   {silence, brief, false, 504, "upstream_timeout"},
		"plain, vanishes":  {cut, none, false, 502, "upstream_unavailable"},
		"plain, malformed": {answerJSON(200, "{oops}"), none, false, 502, "upstream_error"},
		"plain, HTML":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, none, false, 502, "upstream_error"},
		"plain, too large": {answerJSON(200, notFound), func(cfg *xingchen.Config) { cfg.MaxResponseBytes = 64 }, false, 502, "upstream_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := xingchenGateway(t, test.handler, test.edit)
			headers := []string{}
			if test.stream {
				headers = []string{"x-fag-servicename", "aca-chat-send-sse"}
			}
			got := g.ask(t, headers...)
			body := decode[envelope](t, got.body)
			if got.status != test.status || body.Code != test.status || body.ErrorName != test.code || body.Success || body.RequestID != "ours" || body.ErrorMessage == "" {
				t.Errorf("got %d %+v, want %d %s", got.status, body, test.status, test.code)
			}
			if got.log["level"] != "warn" || !strings.Contains(got.log["error"].(string), "xingchen") {
				t.Errorf("logged %v", got.log)
			}
		})
	}
}

// What fails after the first frame is told in the stream, which then ends.
func TestXingchenFailsInTheStream(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		code    string // of ours, or nothing where upstream's own passes
	}{
		"no last frame":             {answerSSE(nil, frame1), "upstream_truncated"},
		"cut":                       {answerSSE(cut, frame1), "upstream_truncated"},
		"half a frame":              {answerSSE(nil, frame1, frame2[:40]), "upstream_truncated"},
		"silence":                   {answerSSE(silence, frame1), "upstream_timeout"},
		"too large":                 {answerSSE(nil, frame1, "data:"+strings.Repeat("x", 5000)), "upstream_error"},
		"event:error":               {answerSSE(silence, frame1, "event:error\ndata:"+notFound+"\n\n"), ""},
		"an error by its data":      {answerSSE(nil, frame1, "data:"+notFound+"\n\n", frame2), ""},
		"an error that is no JSON":  {answerSSE(nil, frame1, "event:error\ndata:no\n\n"), "upstream_error"},
		"malformed, then truncated": {answerSSE(nil, frame1, "data:{oops}\n\n"), "upstream_truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := xingchenGateway(t, test.handler, func(cfg *xingchen.Config) {
				cfg.IdleTimeout, cfg.MaxResponseBytes = 500*time.Millisecond, 4096
			}).stream(t)
			rest, ok := strings.CutPrefix(got.body, frame1)
			rest = strings.TrimPrefix(rest, "data:{oops}\n\n") // passes as it came
			last := frames(t, rest)
			if got.status != http.StatusOK || !ok || len(last) != 1 || !strings.HasPrefix(last[0], "error ") {
				t.Fatalf("got %d %q", got.status, got.body)
			}
			data := strings.TrimPrefix(last[0], "error ")
			body := decode[envelope](t, data)
			if test.code == "" && data != notFound || test.code != "" && (body.ErrorName != test.code || body.RequestID != "ours" || body.Success) {
				t.Errorf("told %s, want %s", data, test.code)
			}
			wantID := "u-1"
			if test.code == "" {
				wantID = "u-2"
			}
			if got.log["upstream_request_id"] != wantID || got.log["error"] == nil {
				t.Errorf("logged %v", got.log)
			}
		})
	}
}

// An error in the first frame is a stream, too, since upstream has begun one.
func TestXingchenErrorInTheFirstFrame(t *testing.T) {
	t.Parallel()
	const event = "event:error\ndata:" + notFound + "\n\n"
	got := xingchenGateway(t, answerSSE(nil, event)).stream(t)
	if got.status != http.StatusOK || got.body != event || got.log["upstream_request_id"] != "u-2" {
		t.Errorf("got %d %q, logged %v", got.status, got.body, got.log)
	}
}

func TestXingchenClientLeaves(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string][]string{"before the first frame": nil, "after it": {frame1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			gone := make(chan struct{})
			g := xingchenGateway(t, answerSSE(func(_ http.ResponseWriter, r *http.Request) {
				if len(parts) == 0 {
					leave()
				}
				<-r.Context().Done()
				close(gone)
			}, parts...))
			if len(parts) > 0 {
				body := g.open(ctx, t, "X-AcA-SSE", "enable")
				if _, err := body.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				leave()
			} else {
				g.abandon(ctx, t)
			}
			waitFor(t, "upstream to see that the client is gone", gone)
			over := waitFor(t, "the request to be over", g.over)
			if over.log["level"] != "info" || !strings.Contains(over.log["error"].(string), "context canceled") {
				t.Errorf("logged %v: a client that leaves is no fault", over.log)
			}
		})
	}
}

func TestModeOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header, value string
		want          bool
	}{
		"nothing":           {"Accept", "text/event-stream", false},
		"service":           {"x-fag-servicename", "aca-chat-send-sse", true},
		"other service":     {"x-fag-servicename", "aca-chat-send", false},
		"only the ending":   {"x-fag-servicename", "-sse", false},
		"AcA":               {"X-AcA-SSE", "enable", true},
		"DashScope":         {"X-DashScope-SSE", "enable", true},
		"DashScope, not so": {"X-DashScope-SSE", "disable", false},
	} {
		h := http.Header{}
		h.Set(test.header, test.value)
		if got := relay.ModeOf(h, false) == relay.Cumulative; got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
		if got := relay.ModeOf(h, true) == relay.Incremental; got != test.want {
			t.Errorf("%s, incremental: got %t", name, got)
		}
	}
}
