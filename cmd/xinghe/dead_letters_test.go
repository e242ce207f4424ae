package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

// cemetery is a NATS server with dead letters, reached by its address as an operator does.
type cemetery struct {
	*natstest.Server
	queue *queue.Queue
	vars  map[string]string
}

// newCemetery buries jobs, numbered from 1 in the order of the subjects.
func newCemetery(t *testing.T, subjects ...string) *cemetery {
	t.Helper()
	srv := natstest.Listen(t, "user", "canary")
	c := &cemetery{Server: srv, vars: map[string]string{
		"NATS_URL": strings.Replace(srv.URL(), "nats://", "nats://user:canary@", 1), "XINGHE_URL": "not looked at",
	}}
	var err error
	if c.queue, err = queue.Open(queue.ConnConfig{URL: c.vars["NATS_URL"]}, queue.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.queue.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.queue.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	for i, subject := range subjects {
		job := queue.Job{Subject: subject, ID: fmt.Sprintf("job-%d", i+1), Data: fmt.Appendf(nil, `{"n":%d}`, i+1)}
		if err := c.queue.Publish(ctx, job); err != nil {
			t.Fatal(err)
		}
		dying, died := context.WithCancel(ctx)
		err := c.queue.Consume(dying, queue.ConsumerConfig{
			Name: "worker", Subjects: []string{"xinghe.jobs.>"}, MaxAttempts: 2, Backoff: func(int) time.Duration { return time.Millisecond },
		}, func(_ context.Context, job *queue.Delivery) error {
			if job.Attempt == 2 {
				died()
			}
			return errors.New("bad\x1b[2J gateway")
		})
		died()
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cemetery) run(t *testing.T, args ...string) result {
	t.Helper()
	return commandWith(t, c.vars, "", append([]string{"dead-letters"}, args...)...)
}

// left lists what is still buried.
func (c *cemetery) left(t *testing.T) string {
	t.Helper()
	var ids []string
	for letter, err := range c.queue.DeadLetters(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, letter.ID)
	}
	return strings.Join(ids, " ")
}

// ids of the jobs in lines of JSON.
func ids(t *testing.T, lines string) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(lines) {
		var letter queue.DeadLetter
		if err := json.Unmarshal([]byte(line), &letter); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		found = append(found, letter.ID)
	}
	return strings.Join(found, " ")
}

func TestDeadLettersListAndShow(t *testing.T) {
	t.Parallel()
	c := newCemetery(t, "xinghe.jobs.rating.1.a", "xinghe.jobs.image.b", "xinghe.jobs.rating.2.c")
	for name, tc := range map[string]struct {
		args         []string
		want, stderr string
	}{
		"all":       {nil, "job-1 job-2 job-3", ""},
		"subject":   {[]string{"--subject", "xinghe.jobs.rating.>"}, "job-1 job-3", ""},
		"none":      {[]string{"--subject", "xinghe.jobs.other"}, "", ""},
		"page":      {[]string{"--limit", "2"}, "job-1 job-2", "there are more: --after 2\n"},
		"last page": {[]string{"--limit", "2", "--after", "2", "--json"}, "job-3", ""},
		"of some":   {[]string{"--limit", "1", "--subject", "xinghe.jobs.rating.>"}, "job-1", "there are more: --after 1\n"},
		"unbounded": {[]string{"--limit", "0"}, "job-1 job-2 job-3", ""},
	} {
		got := c.run(t, append([]string{"list"}, tc.args...)...)
		if got.code != exitDone || ids(t, got.stdout) != tc.want || got.stderr != tc.stderr {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got := c.run(t, "show", "2")
	var letter queue.DeadLetter
	if err := json.Unmarshal([]byte(got.stdout), &letter); err != nil || got.code != exitDone {
		t.Fatalf("show: %+v, %v", got, err)
	}
	if letter.Subject != "xinghe.jobs.image.b" || letter.Attempts != 2 || len(letter.History) != 2 || string(letter.Data) != `{"n":2}` {
		t.Errorf("show: %+v", letter)
	}
	if got := c.run(t, "show", "9"); got.code != exitFailed || got.stderr != "xinghe: get dead letter 9: not found\n" {
		t.Errorf("show 9: %+v", got)
	}
}

func TestDeadLettersRetryAndDrop(t *testing.T) {
	t.Parallel()
	c := newCemetery(t, "xinghe.jobs.rating.1.a", "xinghe.jobs.image.b", "xinghe.jobs.rating.2.c", "xinghe.jobs.image.d", "xinghe.jobs.image.e")
	for _, tc := range []struct {
		args           []string
		code           int
		stdout, stderr string
		left           string
	}{
		{[]string{"drop", "--all"}, exitUsage, "", "xinghe: 5 dead letters would be dropped: confirm with --yes\n", "job-1 job-2 job-3 job-4 job-5"},
		{
			[]string{"retry", "--all", "--subject", "xinghe.jobs.rating.>", "--yes"},
			exitDone,
			`{"sequence":1,"result":"retried"}` + "\n" + `{"sequence":3,"result":"retried"}` + "\n", "", "job-2 job-4 job-5",
		},
		{
			[]string{"drop", "2", "3"},
			exitPartial,
			`{"sequence":2,"result":"dropped"}` + "\n" + `{"sequence":3,"result":"failed","error":"there is no such dead letter"}` + "\n",
			"xinghe: 1 of 2 dead letters could not be dropped\n", "job-4 job-5",
		},
		{
			[]string{"retry", "7"},
			exitFailed, `{"sequence":7,"result":"failed","error":"there is no such dead letter"}` + "\n",
			"xinghe: no dead letter could be retried\n", "job-4 job-5",
		},
		{[]string{"drop", "--all", "--yes"}, exitDone, `{"sequence":4,"result":"dropped"}` + "\n" + `{"sequence":5,"result":"dropped"}` + "\n", "", ""},
		{[]string{"drop", "--all", "--yes"}, exitDone, "", "", ""},
	} {
		got := c.run(t, tc.args...)
		if diff := cmp.Diff(result{tc.code, tc.stdout, tc.stderr}, got, cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.args, diff)
		}
		if left := c.left(t); left != tc.left {
			t.Errorf("%v leaves %q, want %q", tc.args, left, tc.left)
		}
	}
	retried := make(chan string, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := c.queue.Consume(ctx, queue.ConsumerConfig{Name: "worker", Subjects: []string{"xinghe.jobs.>"}}, func(_ context.Context, job *queue.Delivery) error {
		if retried <- job.ID; len(retried) == 2 {
			cancel()
		}
		return nil
	})
	if err != nil || len(retried) != 2 {
		t.Fatalf("%d jobs came back, want 2: %v", len(retried), err)
	}
	if first, second := <-retried, <-retried; first != "job-1" || second != "job-3" {
		t.Errorf("%s and %s came back", first, second)
	}
}

func TestDeadLettersUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                                  "which command?",
		"bury":                              `there is no command "bury"`,
		"list extra":                        "usage:",
		"list --limit -1":                   "--limit -1: below 0",
		"list --subject xinghe.jobs..a":     "not a subject",
		"list --subject xinghe.>.a":         "not a subject",
		"list --timeout 0s":                 "--timeout 0s: at least 1ms",
		"list --nothing":                    "unknown flag",
		"show":                              "usage:",
		"show x":                            `"x": not the number of a dead letter`,
		"show 0":                            "not the number",
		"retry":                             "usage:",
		"retry 1 --all":                     "not both",
		"retry 1 --yes":                     "go with --all",
		"retry 1 --subject xinghe.jobs.a":   "go with --all",
		"drop --all --yes --subject a.b*.c": "not a subject",
	} {
		got := commandWith(t, map[string]string{"NATS_URL": "nats://127.0.0.1:1"}, "", append([]string{"dead-letters"}, strings.Fields(args)...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%q: %+v, want %q", args, got, want)
		}
	}
}

func TestDeadLettersWithoutNATS(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // it takes connections and says nothing
	away := map[string]string{"NATS_URL": "nats://user:canary@" + listener.Addr().String()}
	for _, args := range [][]string{{"list"}, {"show", "1"}, {"retry", "1"}, {"drop", "--all", "--yes"}} {
		got := commandWith(t, away, "", append([]string{"dead-letters", "--timeout", "50ms"}, args...)...)
		if got.code != exitFailed || !strings.Contains(got.stderr, "NATS does not answer, see NATS_URL and NATS_CREDS") || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%v: %+v", args, got)
		}
	}
	srv := natstest.Listen(t, "", "")
	got := commandWith(t, map[string]string{"NATS_URL": srv.URL()}, "", "dead-letters", "list")
	if want := "xinghe: list dead letters: stream XINGHE_DEAD does not exist: is a worker running?\n"; got.code != exitFailed || got.stderr != want {
		t.Errorf("without a stream: %+v", got)
	}
}

func TestDeadLettersForReading(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 5, 22, 1, 54, 54, 0, time.UTC)
	letter := queue.DeadLetter{
		Sequence: 7, Time: at, Subject: "xinghe.jobs.a", ID: "job-1", Reason: "bad\x1b[2J gateway", Attempts: 2, Consumer: "worker",
		History: []queue.Failure{{Attempt: 1, Time: at, Error: "first"}, {Attempt: 2, Time: at, Error: "second"}},
		Headers: map[string]string{"Trace": "t"}, Data: []byte("星河"),
	}
	want := `number     7
subject    xinghe.jobs.a
job        job-1
consumer   worker
died       2024-05-22T01:54:54Z
attempts   2
reason     bad·[2J gateway
attempt 1  2024-05-22T01:54:54Z  first
attempt 2  2024-05-22T01:54:54Z  second
header     Trace: t
data       星河
`
	if diff := cmp.Diff(want, letterText(letter)); diff != "" {
		t.Errorf("letterText (-want +got):\n%s", diff)
	}
	letter.Data = []byte{0xff}
	if text := letterText(letter); !strings.Contains(text, "base64     /w==\n") {
		t.Errorf("bytes: %s", text)
	}
	var out bytes.Buffer
	view := &letterView{out: &out}
	view.tabulate()
	if err := errors.Join(view.add(letter), view.close()); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.HasPrefix(text, "NUMBER") || !strings.HasSuffix(text, "xinghe.jobs.a  job-1  2         bad·[2J gateway\n") {
		t.Errorf("table:\n%s", text)
	}
}
