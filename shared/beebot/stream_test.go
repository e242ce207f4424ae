package beebot_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/sign"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
)

func TestStreamReadsTheTranscript(t *testing.T) {
	t.Parallel()
	body := string(fixture(t, "beebot-stream.sse"))
	for name, variant := range map[string]string{
		"as it came":                body,
		"a space after data:":       strings.ReplaceAll(body, "data:", "data: "),
		"comments, ids, events":     strings.ReplaceAll(body, "data:", ":beat\nid:7\nevent:message\ndata:"),
		"frames after the last one": body + events(says("x", false)),
	} {
		s := &service{stream: answerSSE(variant)}
		snapshots, err := collect(t, setup(t, s))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last := snapshots[len(snapshots)-1]
		deltas := ""
		for _, snapshot := range snapshots {
			deltas += snapshot.Delta
		}
		if len(snapshots) != 12 || !last.End || deltas != last.Text || !strings.HasSuffix(last.Text, ",玩游戏等。") {
			t.Errorf("%s: %d snapshots, deltas %q, last %+v", name, len(snapshots), deltas, last)
		}
	}
}

func TestStreamRequestBody(t *testing.T) {
	t.Parallel()
	s := &service{stream: answerSSE(events(says("", true)))}
	client := setup(t, s)
	stream, err := client.Stream(t.Context(), beebot.StreamRequest{
		InstanceID: "i", Utterance: `<说> "你好"\`, SessionID: "s", SenderID: "u", SenderNick: "n",
		VendorParam: json.RawMessage(`{"docLabels":["a"]}`), Perspective: []string{"p"}, SandBox: true, Command: "TIMEOUT", MessageID: "mine",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	_, bodies := s.counts()
	got := bodies[0]
	if stream.ID != "mine" || got.MessageID != "mine" || got.Action != "TongyiBeebotChat" || got.Version != "2022-04-08" || len(got.Data) != 1 || got.Data[0].Type != "JSON_TEXT" {
		t.Errorf("sent %+v as %s", got, stream.ID)
	}
	want := map[string]any{
		"InstanceId": "i", "Utterance": `<说> "你好"\`, "SessionId": "s", "SenderId": "u", "SenderNick": "n",
		"VendorParam": `{"docLabels":["a"]}`, "Perspective": []any{"p"}, "SandBox": true, "Command": "TIMEOUT",
	}
	if diff := cmp.Diff(want, decode[map[string]any](t, []byte(got.Data[0].Value))); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
}

// The simplest body is the documented one.
func TestStreamRequestBodyIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	want := decode[posted](t, fixture(t, "beebot-stream-request.json"))
	access, err := setup(t, &service{}).StreamAccess(t.Context(), beebot.StreamRequest{InstanceID: "xxx", Utterance: "你好", MessageID: want.MessageID})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, decode[posted](t, access.Body)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMessageIDsAreNewForEachQuestion(t *testing.T) {
	t.Parallel()
	s := &service{stream: answerSSE(events(says("", true)))}
	client := setup(t, s)
	for range 2 {
		if _, err := collect(t, client); err != nil {
			t.Fatal(err)
		}
	}
	_, bodies := s.counts()
	if a, b := bodies[0].MessageID, bodies[1].MessageID; a == "" || a == b {
		t.Errorf("ids %q and %q", a, b)
	}
}

func TestStreamEndsInAnError(t *testing.T) {
	t.Parallel()
	truncated := func(err error) bool { return errors.Is(err, upstream.ErrTruncated) }
	failed := func(err error) bool {
		e, ok := errors.AsType[*beebot.Error](err)
		return ok && e.Code == "InvalidParameter"
	}
	malformed := func(err error) bool {
		_, ok := errors.AsType[*upstream.DecodeError](err)
		return ok && !errors.Is(err, upstream.ErrTruncated)
	}
	const failure = `{"success":false,"code":"InvalidParameter","message":"no"}`
	cut := func(w http.ResponseWriter, r *http.Request) {
		answerSSE(events(says("a", false))+"data:{\"data\"")(w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, test := range map[string]struct {
		stream http.HandlerFunc
		frames int
		want   func(error) bool
	}{
		"success:false at once":       {answerSSE(events(failure)), 0, failed},
		"success:false after a frame": {answerSSE(events(says("a", false), failure, says("b", true))), 1, failed},
		"event:error":                 {answerSSE(events(says("a", false)) + "event:error\ndata:" + failure + "\n\n"), 1, failed},
		"event:error without JSON":    {answerSSE("event:error\ndata:no\n\n"), 0, func(err error) bool { _, ok := errors.AsType[*beebot.Error](err); return ok }},
		"no frame":                    {answerSSE(""), 0, truncated},
		"no last frame":               {answerSSE(events(says("a", false), says("ab", false))), 2, truncated},
		"half a frame":                {answerSSE(events(says("a", false)) + "data:" + says("ab", true)[:50]), 1, truncated},
		"cut off":                     {cut, 1, func(err error) bool { return truncated(err) && errors.Is(err, io.ErrUnexpectedEOF) }},
		"malformed":                   {answerSSE(events(says("a", false), "{oops}")), 1, malformed},
		"a frame too large": {answerSSE(events(says("a", false), says(strings.Repeat("x", 5000), true))), 1, func(err error) bool {
			_, ok := errors.AsType[*sse.TooLargeError](err)
			return ok
		}},
		"an answer in one piece": {answerJSON(failure), 0, failed},
		"status 500":             {answerStatus(500, answerJSON(failure)), 0, failed},
		"upstream vanishes": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, func(err error) bool {
			_, ok := errors.AsType[*upstream.NetworkError](err)
			return ok && !truncated(err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &service{stream: test.stream}
			client := setup(t, s, func(cfg *beebot.Config) { cfg.MaxResponseBytes = 4096 })
			snapshots, err := collect(t, client)
			if len(snapshots) != test.frames || err == nil || !test.want(err) {
				t.Errorf("after %d frames: %T %v, want %d", len(snapshots), err, err, test.frames)
			}
			if applied, bodies := s.counts(); applied != 1 || len(bodies) > 1 && name != "upstream vanishes" {
				t.Errorf("%d applications, %d questions: this is no refusal", applied, len(bodies))
			}
		})
	}
}

func TestStreamCancelled(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	client := setup(t, &service{stream: func(w http.ResponseWriter, r *http.Request) {
		answerSSE(events(says("a", false)))(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.Stream(ctx, question())
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Buffered() {
		t.Error("the first snapshot is not buffered")
	}
	if _, err := stream.Next(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err = stream.Next()
	if !errors.Is(err, context.Canceled) || errors.Is(err, upstream.ErrTruncated) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if _, again := stream.Next(); !errors.Is(again, err) {
		t.Errorf("then %v, want the same again", again)
	}
	waitFor(t, "upstream to see the disconnect", gone)
}

func TestStreamFallsSilent(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"at once": "", "after a frame": events(says("a", false))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := newClient(t, func(cfg *beebot.Config) { cfg.Transport = quiet(first) })
				start := time.Now()
				snapshots, err := collect(t, client)
				timeout, ok := errors.AsType[interface {
					error
					Timeout() bool
				}](err)
				if !errors.Is(err, upstream.ErrIdle) || !ok || !timeout.Timeout() || len(snapshots) != strings.Count(first, "data:") {
					t.Errorf("after %d frames: %v, want ErrIdle", len(snapshots), err)
				}
				if waited := time.Since(start); waited != time.Minute {
					t.Errorf("waited %v, want a minute", waited)
				}
			})
		})
	}
}

// quiet is a transport that grants a token, and a stream that falls silent.
func quiet(first string) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, "/sse/") {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(
				`{"AccessToken":"a","ChannelId":"b","StreamSecret":"c"}`))}, nil
		}
		reader, writer := io.Pipe()
		go func() {
			_, _ = io.WriteString(writer, first)
			<-r.Context().Done()
			_ = writer.CloseWithError(r.Context().Err())
		}()
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Request: r, Body: reader}, nil
	}
}

// A finished stream hands its connection back, although nobody asked for the end of the body.
func TestStreamsReuseConnections(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	addresses := map[string]bool{}
	client := setup(t, &service{stream: func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		addresses[r.RemoteAddr] = true
		mu.Unlock()
		answerSSE(events(says("a", true)))(w, r)
	}})
	for range 5 {
		if _, err := collect(t, client); err != nil {
			t.Fatal(err)
		}
	}
	if len(addresses) != 1 {
		t.Errorf("five streams took %d connections, want 1", len(addresses))
	}
}

// A stream that is over is over, even if upstream forgets to close it.
func TestStreamEndsWithoutEOF(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	client := setup(t, &service{stream: func(w http.ResponseWriter, r *http.Request) {
		answerSSE(events(says("a", true)))(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}})
	snapshots, err := collect(t, client)
	if err != nil || len(snapshots) != 1 {
		t.Errorf("got %v, %v", snapshots, err)
	}
	waitFor(t, "upstream to see the disconnect", gone)
}

func TestStreamAccess(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 5, 20, 8, 0, 0, 0, time.UTC)
	s := &service{stream: answerSSE(events(says("", true)))}
	client := setup(t, s, func(cfg *beebot.Config) {
		cfg.Now, cfg.NewID = func() time.Time { return now }, func() string { return "id" }
		cfg.StreamURL += "/behind/"
	})
	var addresses []string
	for range 2 {
		access, err := client.StreamAccess(t.Context(), beebot.StreamRequest{InstanceID: "i", SessionID: "s"})
		if err != nil {
			t.Fatal(err)
		}
		body := decode[posted](t, access.Body)
		if body.MessageID != "id" || body.Data[0].Value != `{"InstanceId":"i","Utterance":"","SessionId":"s"}` || !access.ExpiresAt.Equal(now.Add(2*time.Hour)) {
			t.Errorf("got %+v, %v", body, access.ExpiresAt)
		}
		addresses = append(addresses, access.URL.Reveal())
	}
	u, err := url.Parse(addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(u.EscapedPath(), "/behind/sse/paas4Json/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 || parts[0] != "canary%20token%2F1" || parts[3] != "1716192000000" ||
		!sign.VerifyStream("canary-stream-canary token/1", parts[3], parts[2]) {
		t.Errorf("address %s", u)
	}
	if addresses[0] == addresses[1] {
		t.Error("two callers share a token")
	}
	if _, err := client.StreamAccess(t.Context(), beebot.StreamRequest{}); err == nil {
		t.Error("no robot, no error")
	}
}
