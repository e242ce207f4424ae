package faas

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// visit sends a request to the server of a web function.
func (b *bundle) visit(method, path, body string, header ...string) (status int, told, answer string) {
	b.t.Helper()
	server := httptest.NewServer(&fcWeb{b.instance})
	b.t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(b.t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		r.Header.Add(header[n], header[n+1])
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		text = append(text, " <broken off>"...)
	}
	return resp.StatusCode, resp.Header.Get("X-Fc-Status"), string(text)
}

func TestFCWebTellsThePlatformFromCallers(t *testing.T) {
	t.Parallel()
	const control = "x-fc-control-path"
	for _, tc := range []struct {
		name, method, path string
		header             []string
		want               string // in the log
		status             int
		told               string
	}{
		{"a caller", "GET", "/x", []string{control, "/http-invoke"}, "FC Invoke End RequestId: r1\n", 200, "200"},
		{"a caller's /invoke", "POST", "/invoke", []string{control, "/http-invoke"}, "FC Invoke End RequestId: r1\n", 200, "200"},
		{"a caller's /pre-stop", "GET", "/pre-stop", []string{control, "/http-invoke"}, "FC Invoke End RequestId: r1\n", 200, "200"},
		{"a caller's /initialize", "POST", "/initialize", []string{control, "/http-invoke"}, "FC Invoke End RequestId: r1\n", 200, "200"},
		{"a path of ours with the platform's header", "GET", "/x", []string{control, "/invoke"}, "FC Invoke End RequestId: r1\n", 200, "200"},
		{"an event", "POST", "/invoke", []string{control, "/invoke"}, `"kind":"invoke"`, 200, "200"},
		{"the initializer", "POST", "/initialize", []string{control, "/initialize"}, "FC Initialize End RequestId: r1\n", 200, "200"},
		{"before destruction", "GET", "/pre-stop", []string{control, "/pre-stop"}, "FC PreStop End RequestId: r1\n", 200, "200"},
		{"before destruction, without a word", "GET", "/pre-stop", nil, "FC PreStop End RequestId: r1\n", 200, "200"},
		{"a failure", "GET", "/broken", nil, "FC Invoke End RequestId: r1\n", 502, "404"},
		{"a refusal", "GET", "/teapot", nil, "FC Invoke End RequestId: r1\n", 418, "200"},
		{"a panic", "GET", "/panic", nil, "for a test", 500, "404"},
		{"a panic after the first byte", "GET", "/panic-later", nil, "FC Invoke End RequestId: r1, Error: Unhandled function error\n", 200, "200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r recorder
			b := setup(t, Config{Entry: EntryFCWeb}, Function{HTTP: http.HandlerFunc(mirror), Event: r.event})
			status, told, body := b.visit(tc.method, tc.path, "{}", append(tc.header, "x-fc-request-id", "r1")...)
			if status != tc.status || told != tc.told {
				t.Errorf("status %d, told %q: %s", status, told, body)
			}
			if log := b.log.String(); !strings.Contains(log, tc.want) || strings.Count(log, "Start RequestId: r1\n") != 1 {
				t.Errorf("log: %s", log)
			}
			if own := strings.Contains(body, `"path":"`+tc.path+`"`); len(tc.header) > 0 && own != (tc.header[1] == "/http-invoke" || tc.path == "/x") {
				t.Errorf("served by the handler %v: %s", own, body)
			}
			if broken := strings.HasSuffix(body, "<broken off>"); broken != (tc.path == "/panic-later") {
				t.Errorf("broken off %v: %s", broken, body)
			}
		})
	}
}

func TestFCWebKeepsThePlatformsHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Entry: EntryFCWeb}, Function{HTTP: http.HandlerFunc(mirror)})
	seen := func(header ...string) http.Header {
		_, _, body := b.visit("GET", "/x", "", append(header, "x-fc-access-key-secret", "canary", "x-fc-request-id", "r1")...)
		var got struct{ Header http.Header }
		if err := json.Unmarshal([]byte(body), &got); err != nil || strings.Contains(body, "canary") {
			t.Errorf("%v: %s", err, body)
		}
		return got.Header
	}
	if got := seen().Get("X-Request-Id"); got != "r1" {
		t.Errorf("X-Request-Id %q, want the platform's", got)
	}
	if got := seen("X-Request-Id", "own").Get("X-Request-Id"); got != "own" {
		t.Errorf("X-Request-Id %q, want the caller's", got)
	}
}

func TestFCWebEvents(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body, retries string
		want                Event
		status              int
		answer              string
	}{
		{
			"timer", `{"triggerTime":"2023-12-26T07:49:00Z","triggerName":"nightly","payload":"{\"a\":1}"}`, "2",
			Event{Kind: KindTimer, Name: "nightly", ID: "nightly@2023-12-26T07:49:00Z", Time: time.Date(2023, 12, 26, 7, 49, 0, 0, time.UTC), Attempt: 3, Payload: json.RawMessage(`{"a":1}`)},
			200, `{"done":true}`,
		},
		{"bare", `{"name":"n"}`, "", Event{Kind: KindInvoke, ID: "r1", Time: newClock().now, Attempt: 1, Payload: json.RawMessage(`{"name":"n"}`)}, 200, `{"done":true}`},
		{
			"failed", `{"triggerTime":"t","triggerName":"n","payload":"fail"}`, "x",
			Event{Kind: KindTimer, Name: "n", ID: "n@t", Time: newClock().now, Attempt: 1, Payload: json.RawMessage(`"fail"`)},
			404, `{"errorMessage":"timer n: told to, Bearer [redacted]","errorType":"*faas.EventError"}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r recorder
			b := setup(t, Config{Entry: EntryFCWeb}, Function{HTTP: http.HandlerFunc(mirror), Event: r.event})
			status, told, body := b.visit("POST", "/invoke", tc.body, "x-fc-control-path", "/invoke", "x-fc-request-id", "r1", "x-fc-retry-count", tc.retries)
			if diff := cmp.Diff([]Event{tc.want}, r.events); diff != "" {
				t.Error(diff)
			}
			if status != tc.status || told != strconv.Itoa(tc.status) || body != tc.answer {
				t.Errorf("%d %q %s", status, told, body)
			}
		})
	}
}

func TestFCWebDeadline(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[string]time.Duration{"60": 58 * time.Second, "5": 4 * time.Second, "": 0, "soon": 0, "-1": 0} {
		var left time.Duration
		b := setup(t, Config{Entry: EntryFCWeb}, Function{HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if deadline, ok := r.Context().Deadline(); ok {
				left = time.Until(deadline)
			}
		})})
		b.visit("GET", "/", "", "x-fc-function-timeout", timeout)
		if left > want || want > 0 && left <= 0 {
			t.Errorf("timeout %q: %s left, want %s", timeout, left, want)
		}
	}
}

func TestFCWebPreStopFrees(t *testing.T) {
	t.Parallel()
	closed := 0
	b := setup(t, Config{Entry: EntryFCWeb}, Function{Background: func(ctx context.Context) { <-ctx.Done() }, Close: func() { closed++ }})
	b.visit("POST", "/initialize", "", "x-fc-control-path", "/initialize")
	b.visit("GET", "/pre-stop", "")
	_ = b.stop() // a signal may follow
	if closed != 1 {
		t.Errorf("closed %d times", closed)
	}
}

// A stream reaches the client while it is written.
func TestFCWebStreams(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	b := setup(t, Config{Entry: EntryFCWeb}, Function{HTTP: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		<-next
		_, _ = io.WriteString(w, "two")
	})})
	server := httptest.NewServer(&fcWeb{b.instance})
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 3)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "one" {
		t.Errorf("%q %v", first, err)
	}
	close(next)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "two" {
		t.Errorf("%q %v", rest, err)
	}
	if diff := cmp.Diff([]string{"chunked"}, resp.TransferEncoding); diff != "" {
		t.Error(diff)
	}
}

func TestPlainHTTPTrustsNoPlatformHeader(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	b := setup(t, Config{}, Function{HTTP: http.HandlerFunc(mirror)})
	listener, err := Listen(ctx, "127.0.0.1:0", "XINGHE_ADDR")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.listen(ctx, listener, b.plain()) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+listener.Addr().String()+"/invoke", strings.NewReader("{}"))
	r.Header.Set("x-fc-control-path", "/invoke")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if strings.Contains(string(body), "Fc-Control") || !strings.Contains(string(body), `"path":"/invoke"`) {
		t.Errorf("%s", body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
