package stack_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/fault"
)

// TestNoSecretIsShown plants canaries in every key and secret, lets the stack work and
// fail in many ways, and searches all that was logged, answered and stored for them.
func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	const (
		frontKey    = "canary-front-5d1c"
		wrongKey    = "canary-wrong-1f0e"
		xingchenKey = "lm-canary-xingchen-77aa"
		agentKey    = "canary-agent-90fe"
		keySecret   = "canary-secret-3b2c"
		stsToken    = "canary-sts-6ee1"
	)
	b := setup(t, map[string]string{"XINGHE_API_KEYS": frontKey, "LOG_LEVEL": "debug"}, emulator.Config{
		XingchenKeys: []string{xingchenKey}, AgentKey: agentKey,
		Accounts: []beebot.Account{{AccessKeyID: "LTAI-canary", AccessKeySecret: sign.NewSecret(keySecret), SecurityToken: sign.NewSecret(stsToken)}},
	})
	var answered strings.Builder
	note := func(a answer) {
		answered.WriteString(a.body)
		for name, values := range a.header {
			answered.WriteString(name + ": " + strings.Join(values, ",") + "\n")
		}
	}
	try := func() {
		for _, key := range []string{frontKey, wrongKey, ""} {
			note(b.call(http.MethodPost, b.URL+"/v2/api/chat/send", key, chat(xiaowan, "u", "你好")))
			note(b.call(http.MethodPost, b.URL+"/v2/api/chat/send", key, chat(xiaowan, "u", "你好"), "X-AcA-SSE", "enable"))
			note(b.call(http.MethodPost, b.URL+"/v1/beebot/"+robot+"/chat", key, `{"utterance":"你好"}`))
			note(b.call(http.MethodPost, b.URL+"/v1/beebot/"+robot+"/chat", key, `{"utterance":"你好","stream":true}`))
			note(b.call(http.MethodPost, b.URL+"/v2/api/chat/send", key, `{`))
		}
	}
	try()
	for _, name := range []fault.Name{
		fault.InternalError, fault.Throttle, fault.Refuse, fault.Cut, fault.ErrorEvent, fault.MalformedJSON, fault.TokenExpired,
	} {
		if err := b.Emulator.Faults().Set(fault.Rule{Fault: name, AtFrame: 1}); err != nil {
			if err := b.Emulator.Faults().Set(fault.Rule{Fault: name}); err != nil {
				t.Fatal(err)
			}
		}
		try()
	}
	b.Emulator.Faults().Clear()
	body := `{"name":"canary","characters":["` + xiaowan + `","nope"],"users":["u"],"from":"2024-05-01T00:00:00Z","to":"` + time.Now().Add(time.Second).UTC().Format(time.RFC3339) + `"}`
	started := b.call(http.MethodPost, b.URL+"/v1/exports", frontKey, body)
	note(started)
	b.ended(frontKey, started.header.Get("Location"), note)
	note(b.call(http.MethodGet, b.EmulatorURL+"/_emulator/requests", "", ""))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	logged := b.log.String()
	if !strings.Contains(logged, `"level":"warn"`) || answered.Len() < 10_000 {
		t.Fatalf("too little was seen to prove anything: %d bytes answered, log: %s", answered.Len(), logged)
	}
	places := map[string]string{"the log": logged, "the answers": answered.String()}
	err := filepath.WalkDir(b.Data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		places[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for place, text := range places {
		for _, canary := range []string{frontKey, wrongKey, xingchenKey, agentKey, keySecret, stsToken} {
			if i := strings.Index(text, canary); i >= 0 {
				t.Errorf("%s shows %q: …%s…", place, canary, text[max(0, i-80):min(len(text), i+len(canary)+20)])
			}
		}
		if i := strings.Index(text, "/sse/paas4Json/"); i >= 0 && !strings.HasPrefix(text[i:], "/sse/paas4Json/"+sign.Redacted) && !strings.HasPrefix(text[i:], "/sse/paas4Json/*") {
			t.Errorf("%s shows a signed address: %s", place, text[i:min(len(text), i+120)])
		}
	}
}

// ended polls an export until its end.
func (b *bundle) ended(key, location string, note func(answer)) {
	b.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		got := b.call(http.MethodGet, b.URL+location, key, "")
		note(got)
		for _, state := range []jobs.State{jobs.StateDone, jobs.StatePartial, jobs.StateFailed} {
			if strings.Contains(got.body, `"state":"`+string(state)+`"`) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatal(errors.New("the export does not end: " + got.body))
		}
	}
}
