package runtimes

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/faas"
)

func TestLambdaRequestEvent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ entry, domain, cookie string }{
		{faas.EntryLambdaURL, "local.lambda-url.us-east-1.on.aws", "x=1; y=2"},
		{faas.EntryLambdaEvent, "local.execute-api.us-east-1.amazonaws.com", ""},
	} {
		h := newRole(t, tc.entry, "lambda", nil)
		r := h.request(http.MethodPost, "/a%2Fb?x=1&x=2", []byte{0xff})
		r.Header = http.Header{"Cookie": {"x=1; y=2"}, "X-Own": {"1", "2"}, "Content-Type": {"text/plain"}}
		event := decode[requestEvent](t, h.do(r).body) // an answer without a status is the body itself
		got := []any{
			event.Version, event.RawPath, event.RawQueryString, event.Cookies, event.Body, event.IsBase64Encoded, event.Query["x"],
			event.Headers["x-own"], event.Headers["host"], event.Headers["cookie"], event.RequestContext.HTTP.Method, event.RequestContext.HTTP.Path,
		}
		want := []any{"2.0", "/a%2Fb", "x=1&x=2", []string{"x=1", "y=2"}, "/w==", true, "1,2", "1,2", tc.domain, tc.cookie, "POST", "/a/b"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", tc.entry, diff)
		}
	}
}

func TestLambdaStreamThatBreaks(t *testing.T) {
	t.Parallel()
	h := newRole(t, faas.EntryLambdaURL, "lambda", nil)
	got := h.get("/broken")
	if got.status != http.StatusAccepted || got.body != "some" || got.cut || got.header.Get("X-Own") != "mine" {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"a=1", "b=2"}, got.header["Set-Cookie"]); diff != "" {
		t.Error(diff)
	}
	until(t, "the platform has noted it", func() bool { return h.failures() != "" })
}

func TestLambdaFailures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path string
		// Statuses behind a Function URL and an HTTP API, and the platform's word.
		url, api int
		word     string
	}{
		{"/fail", 502, 500, "errorString"},
		{"/panic", 502, 500, "string"},
		{"/exit", 502, 500, ErrorExit},
		{"/hang", 502, 503, ErrorTimeout},
	} {
		for entry, want := range map[string]int{faas.EntryLambdaURL: tc.url, faas.EntryLambdaEvent: tc.api} {
			t.Run(tc.path+"/"+entry, func(t *testing.T) {
				t.Parallel()
				h := newRole(t, entry, "lambda", func(c *Config) {
					if tc.word == ErrorTimeout {
						c.Timeout = 2 * time.Second // else a busy machine could take as long to start the program
					}
				})
				if got := h.get(tc.path); got.status != want {
					t.Errorf("%d, want %d", got.status, want)
				}
				if got := h.failures(); got != tc.word {
					t.Errorf("noted as %q, want %q", got, tc.word)
				}
				if got := h.get("/well"); got.status != http.StatusOK {
					t.Errorf("the next call: %d", got.status)
				}
			})
		}
	}
}

// Only who has registered an extension hears of the end.
func TestLambdaShutdown(t *testing.T) {
	t.Parallel()
	for register, want := range map[string]string{"": "signal: killed", "1": "exit status 0 after SIGTERM"} {
		h := newRole(t, faas.EntryLambdaEvent, "lambda", func(c *Config) {
			c.Env = append(c.Env, "REGISTER="+register)
			c.Grace = patience // what is looked at is who hears of it, not when
		})
		if _, err := h.fn.Invoke(t.Context(), Event{Payload: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		program := h.processes()[0]
		h.fn.Close()
		got := program.cmd.ProcessState.String()
		if hooks := h.hooks(); hooks != "" {
			got += " after " + hooks
		}
		if got != want {
			t.Errorf("registered %q: %q, want %q", register, got, want)
		}
	}
}

func TestLambdaLimits(t *testing.T) {
	t.Parallel()
	h := newRole(t, faas.EntryLambdaURL, "lambda", nil)
	r := h.request(http.MethodPost, "/", make([]byte, 5<<20)) // more than 6 MB as Base64
	r.Header.Set("Content-Type", "application/octet-stream")
	if got := h.do(r); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", got.status)
	}
}

func TestPrelude(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 8)
	for _, tc := range []struct{ text, rest string }{
		{`{"statusCode":200}` + zeros + "rest\x00", "rest\x00"},
		{`{"statusCode":200}` + zeros, ""},
		{`{"statusCode":200}` + zeros[1:], "error"},
		{`{"statusCode":200}`, "error"},
		{`{}` + zeros, "error"},
		{`no` + zeros, "error"},
		{"", "error"},
	} {
		body := newBody(tc.text)
		if _, err := readPrelude(body); err != nil {
			if tc.rest != "error" {
				t.Errorf("%q: %v", tc.text, err)
			}
			continue
		}
		if rest, err := io.ReadAll(body); string(rest) != tc.rest || err != nil {
			t.Errorf("%q leaves %q, want %q", tc.text, rest, tc.rest)
		}
	}
}

func FuzzPrelude(f *testing.F) {
	f.Add(`{"statusCode":200,"headers":{"A":"b"},"cookies":["c"]}` + strings.Repeat("\x00", 8) + "body")
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, text string) {
		head, err := readPrelude(newBody(text))
		if err == nil && (head.StatusCode == 0 || !strings.Contains(text, strings.Repeat("\x00", 8))) {
			t.Errorf("%q is taken for a prelude: %+v", text, head)
		}
	})
}

func newBody(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }
