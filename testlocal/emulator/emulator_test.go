package emulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bench struct {
	tb     testing.TB
	emu    *emulator.Emulator
	url    string
	client *http.Client
}

func setup(tb testing.TB, cfg emulator.Config) *bench {
	tb.Helper()
	if cfg.Pace == 0 {
		cfg.Pace = emulator.NoPace
	}
	emu, err := emulator.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: emu, ReadHeaderTimeout: time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(emu.Guard(listener)) }()
	transport := &http.Transport{}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
		if err := errors.Join(emu.Close(), emu.Close()); err != nil {
			tb.Error(err)
		}
	})
	return &bench{tb: tb, emu: emu, url: "http://" + listener.Addr().String(), client: &http.Client{Transport: transport}}
}

func (b *bench) try(method, path, key, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(b.tb.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-fag-appcode", "aca")
	req.Header.Set("x-fag-servicename", "aca-chat-send")
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

func (b *bench) do(method, path, key, body string) (int, string) {
	b.tb.Helper()
	status, raw, err := b.try(method, path, key, body)
	if err != nil {
		b.tb.Fatal(err)
	}
	return status, raw
}

const chat = `{"input":{"messages":[{"role":"user","content":"你好"}],"aca":{"botProfile":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0"},"userProfile":{"userId":"u1"}}}}`

func TestPaths(t *testing.T) {
	t.Parallel()
	b := setup(t, emulator.Config{})
	for _, row := range []struct {
		method, path, words string
		status              int
	}{
		{http.MethodPost, "/v2/api/chat/send", `"success":true`, 200},
		{http.MethodGet, "/?Action=Chat", `"Code"`, 0},
		{http.MethodGet, "/_emulator/files/none.png", "AccessDenied", 403},
		{http.MethodGet, "/_emulator/health", `"seed":1`, 200},
		{http.MethodGet, "/_emulator/none", "NotFound", 404},
		{http.MethodGet, "/none", "NotFound", 404},
		{http.MethodPatch, "/_emulator/faults", "MethodNotAllowed", 405},
		{http.MethodPut, "/_emulator/requests", "MethodNotAllowed", 405},
	} {
		body := ""
		if row.method == http.MethodPost {
			body = chat
		}
		status, raw := b.do(row.method, row.path, "lm-local", body)
		if row.status != 0 && status != row.status || !strings.Contains(raw, row.words) || !json.Valid([]byte(raw)) {
			t.Errorf("%s %s: status %d: %s", row.method, row.path, status, raw)
		}
	}
}

func TestFaultsByHTTP(t *testing.T) {
	t.Parallel()
	b := setup(t, emulator.Config{})
	status, raw := b.do(http.MethodPut, "/_emulator/faults", "",
		`{"seed":5,"rules":[{"route":"/v2/api/chat/send","key":"lm-local","user":"u1","fault":"throttle","retryAfter":"3s"}]}`)
	if status != 200 || !strings.Contains(raw, `"seed":5`) || strings.Contains(raw, "lm-local") {
		t.Fatalf("put: %d %s", status, raw)
	}
	if status, raw := b.do(http.MethodPost, "/v2/api/chat/send", "lm-local", chat); status != 429 {
		t.Errorf("struck: %d %s", status, raw)
	}
	for _, bad := range []string{``, `{`, `[]`, `{"rules":[{"fault":"none"}]}`, `{"rules":[{"fault":"cut","share":2}]}`, `{"rules":[{"fault":"stall","delay":"soon"}]}`, `{}{}`} {
		if status, raw := b.do(http.MethodPut, "/_emulator/faults", "", bad); status != 400 || !json.Valid([]byte(raw)) {
			t.Errorf("%s: %d %s", bad, status, raw)
		}
	}
	for field, bad := range map[string]string{"rout": `{"rules":[{"rout":"x","fault":"cut"}]}`, "rule": `{"rule":[{"fault":"cut"}]}`} {
		if status, raw := b.do(http.MethodPut, "/_emulator/faults", "", bad); status != 400 || !strings.Contains(raw, `unknown field \"`+field+`\"`) {
			t.Errorf("%s: %d %s", bad, status, raw)
		}
	}
	if status, _ := b.do(http.MethodPost, "/v2/api/chat/send", "lm-local", chat); status != 429 {
		t.Error("refused rules must leave the old ones in force")
	}
	if status, raw := b.do(http.MethodDelete, "/_emulator/faults", "", ""); status != 200 || !strings.Contains(raw, `"rules":[]`) {
		t.Errorf("delete: %d %s", status, raw)
	}
	if status, _ := b.do(http.MethodPost, "/v2/api/chat/send", "lm-local", chat); status != 200 {
		t.Errorf("after a delete: %d", status)
	}
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, emulator.Config{})
	if err := b.emu.Faults().Set(fault.Rule{Fault: fault.Refuse, Delay: 150 * time.Millisecond, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.try(http.MethodPost, "/v2/api/chat/send", "lm-local", chat); err == nil {
		t.Fatal("the first request came through")
	}
	if _, _, err := b.try(http.MethodPost, "/v2/api/chat/send", "lm-local", chat); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want ECONNREFUSED", err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		status, _, err := b.try(http.MethodPost, "/v2/api/chat/send", "lm-local", chat)
		if err == nil && status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the port stays closed: %v", err)
		}
	}
}

func TestRequestsAreMasked(t *testing.T) {
	t.Parallel()
	const canary = "canary-4711"
	b := setup(t, emulator.Config{
		XingchenKeys: []string{canary + "-key"}, AgentKey: canary + "-agent",
		Accounts: []beebot.Account{{AccessKeyID: canary + "-id", AccessKeySecret: sign.NewSecret(canary + "-secret")}},
	})
	b.do(http.MethodPost, "/v2/api/chat/send", canary+"-key", chat)
	b.do(http.MethodGet, "/?Action=Chat&AccessKeyId="+canary+"-id&Signature="+canary+"&AgentKey="+canary+"-agent&SecurityToken="+canary, "", "")
	b.do(http.MethodPost, "/", "", "Action=Chat&AccessKeyId="+canary+"-id&Signature="+canary+"&AgentKey="+canary+"-agent")
	b.do(http.MethodPost, "/sse/paas4Json/"+canary+"/"+canary+"/"+canary+"/1716192000000", "", "{}")
	b.do(http.MethodPut, "/_emulator/faults", "", `{"rules":[{"key":"`+canary+`-key","fault":"cut"}]}`)
	_, rules := b.do(http.MethodGet, "/_emulator/faults", "", "")
	_, raw := b.do(http.MethodGet, "/_emulator/requests", "", "")
	if strings.Contains(raw, canary) || strings.Contains(rules, canary) {
		t.Errorf("a secret is shown:\n%s\n%s", raw, rules)
	}
	var got struct {
		Requests []emulator.Request
		Total    int
	}
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	if got.Total != 4 || len(got.Requests) != 4 {
		t.Fatalf("%d of %d requests", len(got.Requests), got.Total)
	}
	first := got.Requests[0]
	if first.User != "u1" || first.Route != "/v2/api/chat/send" || first.Status != 200 || !first.Done || first.Bytes == 0 || !strings.Contains(first.Body, "你好") {
		t.Errorf("first request: %+v", first)
	}
	b.do(http.MethodDelete, "/_emulator/requests", "", "")
	if left := b.emu.Requests(); len(left) != 0 {
		t.Errorf("%d requests after a delete", len(left))
	}
}

func TestRequestLogIsARing(t *testing.T) {
	t.Parallel()
	b := setup(t, emulator.Config{RequestLog: 3})
	for _, path := range []string{"/a", "/b", "/c", "/d", "/e"} {
		b.do(http.MethodGet, path, "", "")
	}
	var got []string
	for _, r := range b.emu.Requests() {
		got = append(got, r.URL)
	}
	if diff := cmp.Diff([]string{"/c", "/d", "/e"}, got); diff != "" {
		t.Error(diff)
	}
	none := setup(t, emulator.Config{RequestLog: -1})
	none.do(http.MethodGet, "/a", "", "")
	if len(none.emu.Requests()) != 0 {
		t.Error("a log of no requests has some")
	}
}

func TestFaultsReplay(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) []int {
		b := setup(t, emulator.Config{Faults: fault.Set{Seed: seed, Rules: []fault.Rule{{Fault: fault.Unavailable, Share: 0.4}}}})
		var statuses []int
		for range 40 {
			status, _ := b.do(http.MethodPost, "/v2/api/chat/send", "lm-local", chat)
			statuses = append(statuses, status)
		}
		return statuses
	}
	first := run(11)
	if diff := cmp.Diff(first, run(11)); diff != "" {
		t.Errorf("the same seed, other faults:\n%s", diff)
	}
	if cmp.Equal(first, run(12)) {
		t.Error("another seed, the same faults")
	}
	struck := 0
	for _, status := range first {
		if status == 503 {
			struck++
		}
	}
	if struck < 6 || struck > 26 {
		t.Errorf("%d of 40 struck at a share of 0.4", struck)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, emulator.Config{DataDir: t.TempDir(), Faults: fault.Set{Rules: []fault.Rule{{Fault: fault.Split, Share: 0.3}, {Fault: fault.Cut, Share: 0.2}}}})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			user := strings.Repeat("u", worker+1)
			for range 20 {
				_, _, err := b.try(http.MethodPost, "/v2/api/chat/send", "lm-local", strings.Replace(chat, `"u1"`, `"`+user+`"`, 1))
				if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Error(err)
				}
				_ = b.emu.Requests()
			}
		})
	}
	group.Wait()
}

func TestReadAssumptions(t *testing.T) {
	t.Parallel()
	got, err := emulator.ReadAssumptions(strings.NewReader(`{"Xingchen":{"strict":true,"imageDelay":"5s","blockedWords":["a"]},"beebot":{"tokenLifetime":"1m"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := emulator.Assumptions{
		Xingchen: xingchen.Assumptions{Strict: true, ImageDelay: 5 * time.Second, BlockedWords: []string{"a"}},
		Beebot:   beebot.Assumptions{TokenLifetime: time.Minute},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{`{"xingchen":{"strickt":true}}`, `{"other":{}}`, `[]`, `{"xingchen":{"imageDelay":"soon"}}`, ``} {
		if _, err := emulator.ReadAssumptions(strings.NewReader(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]emulator.Config{
		"Faults":  {Faults: fault.Set{Rules: []fault.Rule{{Fault: "none"}}}},
		"Keys":    {XingchenKeys: []string{"a", "a"}},
		"Account": {Accounts: []beebot.Account{{}}},
	} {
		if _, err := emulator.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzReadFaults(f *testing.F) {
	f.Add([]byte(`{"seed":1,"rules":[{"route":"/v2/api/chat/send","share":0.1,"fault":"cut","atFrame":3,"delay":"1s","jitter":5}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := emulator.ReadFaults(bytes.NewReader(text))
		if err != nil {
			return
		}
		engine := fault.New(1)
		if engine.Apply(set) != nil {
			return
		}
		again, err := json.Marshal(engine.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		back, err := emulator.ReadFaults(bytes.NewReader(again))
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(engine.Snapshot(), back); diff != "" && len(set.Rules) > 0 {
			t.Error(diff)
		}
	})
}
