package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/schedule"
	"xinghe/shared/usage"
)

// operate runs a command of operators until what it prints will do.
func (s *system) operate(will func(stdout string) bool, stdin string, args ...string) {
	s.t.Helper()
	vars := map[string]string{"NATS_URL": s.NATSURL}
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
		got := commandWith(s.t, vars, stdin, args...)
		if got.code == exitDone && will(got.stdout) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%v: %+v", args, got)
		}
	}
}

func TestScheduleExportsOnTheStack(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 30)
	anything := func(string) bool { return true }
	s.operate(anything, s.spec("nightly", jobs.FormatJSONL, jobs.CompressionNone), "schedule", "set", "often", "--cron", "* * * * * *", "-")
	s.operate(func(stdout string) bool {
		var status schedule.Status
		if err := json.Unmarshal([]byte(stdout), &status); err != nil {
			t.Errorf("%s: %v", stdout, err)
		}
		return status.Export == jobs.StateDone
	}, "", "schedule", "list")
	s.operate(anything, "", "schedule", "remove", "often")
	for line := range strings.Lines(s.run("", "export", "list").stdout) {
		var e jobs.Export
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.State == jobs.StateDone && e.Progress.Rows != 30 {
			t.Errorf("%+v", e)
		}
	}
}

func TestUsageOnTheStack(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 3)
	chats := int64(0)
	chat := func() {
		body := `{"model":"character:` + s.character + `","user":"u","messages":[{"role":"user","content":"hi"}]}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer canary-key")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		chats++
	}
	s.operate(func(stdout string) bool {
		if stdout == "" { // an event may be lost: another one then
			chat()
			return false
		}
		var row usage.Row
		if err := json.Unmarshal([]byte(stdout), &row); err != nil || row.Bot != "character:"+s.character ||
			row.Requests < 1 || row.Requests > chats || row.OutputTokens == 0 {
			t.Errorf("after %d chats: %s", chats, stdout)
		}
		return true
	}, "", "usage", "--by", "bot")
}
