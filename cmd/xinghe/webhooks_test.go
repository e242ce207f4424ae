package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
	"xinghe/workers/delivery"
)

// office is a NATS server, a worker that delivers, and two receivers: crm, which may be told
// to fail or to be gone, and audit.
type office struct {
	queue *queue.Queue
	vars  map[string]string
	stop  func()

	mu       sync.Mutex
	answer   int // of crm
	requests map[string][]string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	srv := natstest.Listen(t, "user", "canary")
	o := &office{answer: http.StatusOK, requests: map[string][]string{}, vars: map[string]string{
		"NATS_URL": strings.Replace(srv.URL(), "nats://", "nats://user:canary@", 1), "XINGHE_URL": "not looked at",
	}}
	receiver := httptest.NewServer(o)
	t.Cleanup(receiver.Close)
	var err error
	if o.queue, err = queue.Open(queue.ConnConfig{URL: o.vars["NATS_URL"]}, queue.Config{Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.queue.Close)
	if err := o.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("a canary of 24 bytes, no"))
	subscription := `{"name":%q,"url":"` + receiver.URL + `/%[1]s?token=canary","types":[%q],"secrets":["` + secret + `"],"concurrency":1}`
	vars := env.New(func(name string) string {
		return map[string]string{
			"XINGHE_WEBHOOKS":    "[" + fmt.Sprintf(subscription, "crm", "export.*") + "," + fmt.Sprintf(subscription, "audit", "*") + "]",
			"XINGHE_ALLOW_HOSTS": "127.0.0.1",
		}[name]
	})
	cfg := delivery.FromEnv(vars)
	if err := vars.Err(); err != nil {
		t.Fatal(err)
	}
	cfg.Queue, cfg.Retries = o.queue, []time.Duration{time.Millisecond}
	worker, err := delivery.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := worker.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	o.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(o.stop)
	eventually(t, "both targets are known", func() bool { return len(o.lines(t, "list")) == 2 })
	// A consumer begins with what is published after it was made.
	eventually(t, "both targets are delivered to", func() bool {
		o.publish(t, "export.probe", "probe-"+fmt.Sprint(time.Now().UnixNano()))
		return len(o.got("crm")) > 0 && len(o.got("audit")) > 0
	})
	eventually(t, "nothing waits", func() bool { return o.idle(t) })
	return o
}

func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/")
	o.requests[name] = append(o.requests[name], r.Header.Get("webhook-id"))
	if name == "crm" {
		w.WriteHeader(o.answer)
	}
}

func (o *office) answerWith(status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = status
}

// got lists the ids of what came to a receiver.
func (o *office) got(name string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests[name])
}

// count tells how often an event came.
func (o *office) count(name, id string) int {
	count := 0
	for _, got := range o.got(name) {
		if got == id {
			count++
		}
	}
	return count
}

func (o *office) publish(t *testing.T, kind, id string) {
	t.Helper()
	event, err := jobs.NewEvent(kind, id, "/xinghe/test", "", time.Now(), struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.queue.PublishEvent(t.Context(), jobs.EventPrefix+kind, id, data); err != nil {
		t.Fatal(err)
	}
}

func (o *office) run(t *testing.T, args ...string) result {
	t.Helper()
	return commandWith(t, o.vars, "", append([]string{"webhooks"}, args...)...)
}

// lines are the JSON objects that a command prints.
func (o *office) lines(t *testing.T, args ...string) []map[string]any {
	t.Helper()
	got := o.run(t, args...)
	if got.code != exitDone || got.stderr != "" {
		t.Fatalf("%v: %+v", args, got)
	}
	var lines []map[string]any
	for line := range strings.Lines(got.stdout) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, object)
	}
	return lines
}

// idle reports whether nothing waits for any target.
func (o *office) idle(t *testing.T) bool {
	t.Helper()
	return !slices.ContainsFunc(o.lines(t, "list"), func(line map[string]any) bool {
		return line["pending"] != 0.0 || line["again"] != 0.0
	})
}

// state is what list says of crm.
func (o *office) state(t *testing.T) any {
	t.Helper()
	for _, line := range o.lines(t, "list") {
		if line["name"] == "crm" {
			return line["state"]
		}
	}
	return nil
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute it is not so that %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestWebhooksReplay(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	began := time.Now()
	o.answerWith(http.StatusInternalServerError)
	o.publish(t, "export.done", "lost")
	eventually(t, "crm has failed twice", func() bool { return o.count("crm", "lost") == 2 })
	o.answerWith(http.StatusOK)
	o.publish(t, "export.done", "kept")
	o.publish(t, "chat.completed", "chat")
	eventually(t, "all has come", func() bool { return o.count("crm", "kept") == 1 && o.count("audit", "chat") == 1 })
	eventually(t, "all attempts are written down", func() bool {
		return len(o.lines(t, "attempts", "--target", "crm", "--failed")) == 2 && len(o.lines(t, "attempts", "--limit", "0")) >= 8
	})
	since := began.Add(-time.Millisecond).UTC().Format(time.RFC3339Nano)
	for _, tc := range []struct {
		args       []string
		crm, audit any
	}{
		{[]string{"--dry-run"}, 2.0, 3.0},
		{[]string{"--dry-run", "--type", "chat.*"}, 0.0, 1.0},
		{[]string{"--dry-run", "--type", "export.done", "--target", "crm"}, 2.0, nil},
		{[]string{"--failed"}, 1.0, 0.0},
		{nil, 2.0, 3.0},
	} {
		got := map[any]any{}
		for _, line := range o.lines(t, append([]string{"replay", "--since", since}, tc.args...)...) {
			got[line["target"]] = line["events"]
		}
		if got["crm"] != tc.crm || got["audit"] != tc.audit {
			t.Errorf("%v: %v", tc.args, got)
		}
	}
	eventually(t, "all has come again", func() bool {
		return o.count("crm", "lost") == 4 && o.count("crm", "kept") == 2 && o.count("audit", "chat") == 2 && o.count("audit", "lost") == 2
	})
	if n := o.count("crm", "chat"); n > 0 {
		t.Errorf("crm got %d events that it does not want", n)
	}
}

func TestWebhooksResume(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.answerWith(http.StatusGone)
	o.publish(t, "export.done", "e")
	eventually(t, "crm is paused", func() bool { return o.state(t) == "paused" })
	o.publish(t, "export.done", "f")
	eventually(t, "audit has all", func() bool { return o.count("audit", "e")+o.count("audit", "f") == 2 })
	o.answerWith(http.StatusOK)
	if lines := o.lines(t, "resume", "crm"); len(lines) != 1 || lines[0]["target"] != "crm" || lines[0]["state"] != "ok" {
		t.Errorf("%v", lines)
	}
	eventually(t, "crm has all", func() bool { return o.count("crm", "e") == 2 && o.count("crm", "f") == 1 })
	eventually(t, "crm is well", func() bool { return o.state(t) == "ok" && o.idle(t) })
}

func TestWebhooksForget(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.stop()
	o.publish(t, "export.done", "e")
	if lines := o.lines(t, "replay", "--since", "1h", "--target", "crm"); len(lines) != 1 || o.idle(t) {
		t.Errorf("nothing waits: %v", lines)
	}
	if got := o.run(t, "forget", "crm"); got.code != exitUsage || !strings.Contains(got.stderr, "--yes") {
		t.Errorf("%+v", got)
	}
	o.lines(t, "forget", "crm", "--yes")
	if lines := o.lines(t, "list"); len(lines) != 1 || lines[0]["name"] != "audit" {
		t.Errorf("%v", lines)
	}
}

func TestWebhooksUsage(t *testing.T) {
	t.Parallel()
	srv := natstest.Listen(t, "", "")
	vars := map[string]string{"NATS_URL": srv.URL()}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list"}, exitDone, ""},
		{[]string{"attempts"}, exitDone, ""},
		{[]string{"replay", "--since", "1h"}, exitFailed, "is a worker running?"},
		{[]string{"replay"}, exitUsage, "--since"},
		{[]string{"replay", "--since", "yesterday"}, exitUsage, `"yesterday"`},
		{[]string{"replay", "--since", "2999-01-01T00:00:00Z"}, exitUsage, "in the past"},
		{[]string{"replay", "--since", "-1h"}, exitUsage, "--since"},
		{[]string{"replay", "--since", "1h", "--target", "crm"}, exitFailed, `"crm"`},
		{[]string{"attempts", "--limit", "-1"}, exitUsage, "--limit"},
		{[]string{"attempts", "--target", "*"}, exitFailed, `"*"`},
		{[]string{"resume"}, exitUsage, "resume NAME"},
		{[]string{"resume", "crm"}, exitFailed, `"crm"`},
		{[]string{"list", "--timeout", "1ns"}, exitUsage, "--timeout"},
	} {
		got := commandWith(t, vars, "", append([]string{"webhooks"}, tc.args...)...)
		if got.code != tc.code || !strings.Contains(got.stderr, tc.want) {
			t.Errorf("%v: %+v", tc.args, got)
		}
	}
	srv.Stop()
	got := commandWith(t, vars, "", "webhooks", "list", "--timeout", "50ms")
	if got.code != exitFailed || !strings.Contains(got.stderr, "NATS does not answer") {
		t.Errorf("without NATS: %+v", got)
	}
}

func TestWebhooksOnATerminal(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	view := &targetView{out: &out}
	view.tabulate()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.Local)
	if err := view.add(targetLine{State: "paused", Pending: 7, Again: 2, Webhook: jobs.Webhook{
		Name: "crm", Host: "https://crm.example.com", Types: []string{"export.*", "chat.failed"}, Failures: 9, Since: &at,
		Reason: jobs.PauseGone, Error: "answered\x1b 410 Gone",
	}}); err != nil {
		t.Fatal(err)
	}
	if err := view.close(); err != nil {
		t.Fatal(err)
	}
	out.WriteString(attemptsText([]jobs.DeliveryAttempt{
		{Target: "crm", EventID: "e", Type: "export.done", Attempt: 2, Time: at, DurMs: 12, Status: 500, Error: "answered 500", Next: &at},
		{Target: "crm", EventID: "f", Type: "export.done", Attempt: 1, Time: at, DurMs: 3, Error: "ask crm.example.com: no answer"},
	}))
	want := strings.Join([]string{
		"NAME  STATE          HOST                     TYPES                 PENDING  AGAIN  FAILURES  SINCE                ERROR",
		"crm   paused (gone)  https://crm.example.com  export.*,chat.failed  7        2      9         2026-05-01 12:00:00  answered· 410 Gone",
		"TIME                 TARGET  TYPE         EVENT  ATTEMPT  MS  STATUS  NEXT                 ERROR",
		"2026-05-01 12:00:00  crm     export.done  e      2        12  500     2026-05-01 12:00:00  answered 500",
		"2026-05-01 12:00:00  crm     export.done  f      1        3                                ask crm.example.com: no answer",
	}, "\n") + "\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
