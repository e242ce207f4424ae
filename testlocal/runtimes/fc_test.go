package runtimes

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/faas"
)

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return value
}

func TestFCWebRequest(t *testing.T) {
	t.Parallel()
	h := newRole(t, faas.EntryFCWeb, "web", func(c *Config) { c.Timeout = 90 * time.Second })
	r := h.request(http.MethodPost, "/a%2Fb/invoke?x=1&x=2", []byte("body"))
	r.Host = "front.example"
	r.Header = http.Header{"X-Fc-Control-Path": {"/invoke"}, "X-Fc-Anything": {"x"}, "Keep-Alive": {"x"}, "X-Own": {"1", "2"}}
	got := h.do(r)
	call := decode[webCall](t, got.body)
	if diff := cmp.Diff(webCall{Method: "POST", URI: "/a%2Fb/invoke?x=1&x=2", Host: "front.example", Body: "body"}, webCall{call.Method, call.URI, call.Host, call.Body, nil}); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"X-Fc-Control-Path": "/http-invoke", "X-Fc-Anything": "", "Keep-Alive": "", "X-Fc-Function-Timeout": "90",
		"X-Fc-Function-Name": "probe", "X-Fc-Region": fcRegion, "X-Fc-Retry-Count": "0", "X-Fc-Base-Path": "/a/b/invoke",
		"X-Fc-Request-Id": got.header.Get("X-Fc-Request-Id"),
	} {
		if got := call.Header.Get(name); got != want {
			t.Errorf("request: %s is %q, want %q", name, got, want)
		}
	}
	if got := call.Header["X-Own"]; !cmp.Equal(got, []string{"1", "2"}) {
		t.Errorf("request: X-Own %q", got)
	}
	if _, there := call.Header["X-Fc-Security-Token"]; !there {
		t.Error("the credentials' headers are there, and empty")
	}
	for name, want := range map[string]string{"X-Fc-Secret": "", "Server": "", "Keep-Alive": "", "Content-Disposition": "attachment", "X-Own": "mine"} {
		if value := got.header.Get(name); value != want {
			t.Errorf("answer: %s is %q, want %q", name, value, want)
		}
	}
	if got.header.Get("Date") == "mine" || got.header.Get("X-Fc-Request-Id") == "" || got.length != int64(len(got.body)) {
		t.Errorf("answer: %v", got.header)
	}
}

func TestFCLimits(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, role := range []struct{ entry, name string }{{faas.EntryFCWeb, "web"}, {faas.EntryFCEvent, "go1"}} {
		h := newRole(t, role.entry, role.name, nil)
		for _, tc := range []struct {
			name, path, header string
			body               int
			want               int
		}{
			{"header", "/", long(8 << 10), 0, http.StatusBadRequest},
			{"header within", "/", long(7 << 10), 0, http.StatusOK},
			{"path", "/?" + long(4<<10), "", 0, http.StatusBadRequest},
			{"path within", "/?" + long(4<<10-2), "", 0, http.StatusOK},
			{"body", "/", "", 32<<20 + 1, http.StatusBadRequest},
		} {
			r := h.request(http.MethodPost, tc.path, make([]byte, tc.body))
			r.Header.Set("X-Own", tc.header)
			got := h.do(r)
			if got.status != tc.want || (tc.want == http.StatusBadRequest) != strings.Contains(got.body, `"ErrorCode":"InvalidArgument"`) {
				t.Errorf("%s, %s: %d %.200s", role.entry, tc.name, got.status, got.body)
			}
		}
	}
}

func TestFCWebEvent(t *testing.T) {
	t.Parallel()
	h := newRole(t, faas.EntryFCWeb, "web", nil)
	result, err := h.fn.Invoke(t.Context(), Event{Payload: []byte("event"), Attempt: 3})
	if err != nil {
		t.Fatal(err)
	}
	call := decode[webCall](t, string(result.Payload))
	for name, want := range map[string]string{
		"X-Fc-Control-Path": "/invoke", "X-Fc-Retry-Count": "2", "Content-Type": "application/octet-stream", "X-Fc-Request-Id": result.ID,
	} {
		if got := call.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if call.Method != http.MethodPost || call.URI != "/invoke" || call.Body != "event" || result.ErrorType != "" {
		t.Errorf("%+v %+v", call, result)
	}
	if result, err = h.fn.Invoke(t.Context(), Event{Payload: []byte("fail")}); err != nil || result.ErrorType == "" {
		t.Errorf("a call that says of itself that it failed: %+v %v", result, err)
	}
}

// hooks are the hooks that were called, as the functions print them.
func (h *host) hooks() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for line := range strings.SplitSeq(h.output.String(), "\n") {
		if hook, ok := strings.CutPrefix(line, "hook "); ok {
			lines = append(lines, hook)
		}
	}
	return strings.Join(lines, ", ")
}

func TestFCHooks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ entry, role, want string }{
		{faas.EntryFCWeb, "web", "POST /initialize, GET /pre-stop"},
		{faas.EntryFCEvent, "go1", "initialize, pre-stop"},
	} {
		h := newRole(t, tc.entry, tc.role, func(c *Config) { c.Initializer, c.Instances = true, 1 })
		for range 2 {
			if _, err := h.fn.Invoke(t.Context(), Event{Payload: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}
		h.fn.Close()
		if got := h.hooks(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.entry, got, tc.want)
		}
		if _, err := h.fn.Invoke(t.Context(), Event{}); tc.entry == faas.EntryFCWeb && err == nil {
			t.Error("a closed function takes calls")
		}
	}
}

func TestFCEventContext(t *testing.T) {
	t.Parallel()
	h := newRole(t, faas.EntryFCEvent, "go1", nil)
	before := time.Now()
	result, err := h.fn.Invoke(t.Context(), Event{Payload: Timer("nightly", time.Unix(0, 0), "{}"), Attempt: 2})
	if err != nil || result.ErrorType != "" {
		t.Fatalf("%+v %v", result, err)
	}
	call := decode[go1Call](t, string(result.Payload))
	if want := `{"payload":"{}","triggerName":"nightly","triggerTime":"1970-01-01T00:00:00Z"}`; string(call.Payload) != want {
		t.Errorf("payload %s, want %s", call.Payload, want)
	}
	if c := call.Context; c.RequestID != result.ID || c.Function.Name != "probe" || c.Function.Timeout != 60 || c.RetryCount != 1 || c.Region != fcRegion {
		t.Errorf("%+v", c)
	}
	if left := time.UnixMilli(call.Deadline).Sub(before); left < 59*time.Second || left > 61*time.Second+patience {
		t.Errorf("the deadline is %s ahead", left)
	}
}

func TestFCEventFailures(t *testing.T) {
	t.Parallel()
	h := newRole(t, faas.EntryFCEvent, "go1", func(c *Config) { c.Timeout = 5 * time.Second })
	for payload, want := range map[string]string{
		`"fail"`: "UnhandledInvocationError", `"panic"`: "UnhandledInvocationError", `"hang"`: ErrorTimeout, `"well"`: "",
	} {
		result, err := h.fn.Invoke(t.Context(), Event{Payload: []byte(payload)})
		if err != nil || result.ErrorType != want {
			t.Errorf("%s: %+v %v, want %q", payload, result, err, want)
		}
	}
}

func TestFreezeBetweenCalls(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ entry, role string }{
		{faas.EntryFCWeb, "web"}, {faas.EntryFCEvent, "go1"}, {faas.EntryLambdaEvent, "lambda"},
	} {
		h := newRole(t, tc.entry, tc.role, func(c *Config) { c.Instances = 1 })
		for range 3 {
			if _, err := h.fn.Invoke(t.Context(), Event{Payload: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
			until(t, tc.entry+" is frozen", func() bool {
				list := h.fn.Instances()
				return len(list) == 1 && list[0].Frozen
			})
		}
	}
}

func TestInstancesThatDoNotStart(t *testing.T) {
	t.Parallel()
	h := newHost(t, faas.EntryFCWeb, "/bin/false", nil)
	if got := h.get("/"); got.status != http.StatusBadGateway || !strings.Contains(got.body, ErrorStart) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if _, err := Start(Config{Entry: faas.EntryFCWeb, Program: "/does/not/exist"}); err == nil {
		t.Error("a program that is not there is started")
	}
	if _, err := Start(Config{Entry: faas.EntryHTTP, Program: "/bin/false"}); err == nil {
		t.Error("an entry without a platform is started")
	}
}

func TestInstancesAreReplaced(t *testing.T) {
	t.Parallel()
	h := newRole(t, faas.EntryFCWeb, "web", func(c *Config) { c.Instances = 1 })
	if got := h.do(h.request(http.MethodPost, "/", []byte("exit"))); got.status != http.StatusBadGateway {
		t.Errorf("a call whose program ends: %d", got.status)
	}
	until(t, "the program has ended", func() bool { return len(h.fn.Instances()) == 0 })
	if got := h.get("/"); got.status != http.StatusOK {
		t.Errorf("the next call: %d", got.status)
	}
}
