package roles_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"xinghe/shared/sign"
	"xinghe/shared/webhook"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	character = "c39797a35ad243f1a85baaa6e1ec37e0"
	user      = "1234567"
)

func TestRoles(t *testing.T) {
	h := open(t)
	for _, kind := range []string{"export", "image", "rating"} {
		h.work(kind, "XINGHE_IMAGE_FIRST_POLL=10ms", "XINGHE_IMAGE_FROM_CHAT=*")
	}
	for _, kind := range []string{"directory", "schedule", "usage"} {
		h.work(kind, "XINGCHEN_RPS=") // they call nobody
	}
	target := h.listens(t)
	h.work("delivery", "XINGCHEN_RPS=", "XINGHE_ALLOW_HOSTS="+strings.TrimPrefix(target.url, "http://"), "XINGHE_WEBHOOK_RETRIES=10ms,1m",
		`XINGHE_WEBHOOKS=[{"name":"one","url":"`+target.url+`/one","types":["webhook.received"],"secrets":["`+secret+`"]},
		{"name":"some","url":"`+target.url+`/some","types":["export.done","rating.*"],"secrets":["`+secret+`"]}]`)
	const none = "XINGHE_WEBHOOK_SOURCES=[]"
	chat := h.face("chat", none)
	characters := h.face("character", none)
	exports := h.face("history-export", none)
	sources := `[{"name":"shop","standard":{"secrets":["` + secret + `"]},"action":"rating","fields":{"messageId":{"pointer":"/message"},"rating":5}},
		{"name":"note","standard":{"secrets":["` + secret + `"]},"action":"publish"},
		{"name":"desk","standard":{"secrets":["` + secret + `"]},"action":"ask",
			"fields":{"bot":{"pointer":"/bot"},"userId":{"pointer":"/userId"},"text":{"pointer":"/text"}}},
		{"name":"start","standard":{"secrets":["` + secret + `"]},"action":"export","fields":{"name":"told","characters":["` + character + `"],
			"users":["` + user + `"],"from":"2024-05-01T00:00:00Z","watermark":{"name":"told"}}}]`
	webhooks := h.face("webhook", "XINGHE_WEBHOOK_SOURCES="+sources)
	for _, address := range []string{chat, characters, exports, webhooks} {
		h.await(t, "GET", address+"/readyz", nil, func(status int, _ []byte) bool { return status == http.StatusOK })
	}

	t.Run("Work", func(t *testing.T) {
		answer := h.chats(t, chat)
		h.rates(t, chat, answer)
		h.paints(t, chat, answer)
		h.call(t, "POST", characters+"/v2/api/character/create", example, nil, http.StatusOK)
		h.exports(t, exports)
		h.hears(t, webhooks, answer)
		h.buries(t)
		target.await(t)
		h.operate(t, nil, "webhooks", "list")
		h.schedules(t)
		h.operate(t, func(out string) bool { return strings.Contains(out, character) }, "usage", "--json", "--by", "bot")
	})
	t.Run("AllWorkers", func(t *testing.T) {
		h.start("workers", "workers", h.environment("workers")).await(t, "workers started")
	})
	t.Run("Changes", func(t *testing.T) {
		changed := h.face("history-export", none, "XINGHE_IDEMPOTENCY_TTL=25h") // of the bucket, too
		h.await(t, "GET", changed+"/readyz", nil, func(status int, _ []byte) bool { return status == http.StatusOK })
		h.call(t, "POST", changed+"/v1/exports", `{"name":"changed","characters":["`+character+`"],"users":["`+user+`"],
			"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`, once("changed"), http.StatusAccepted)
	})
	t.Run("Limits", func(t *testing.T) { h.refuses(t) })
	for _, line := range h.refusals() {
		t.Errorf("a permission is missing: %s", line)
	}
}

// call sends a request and returns the body of its answer.
func (h *house) call(t *testing.T, method, address, body string, header http.Header, want int) []byte {
	t.Helper()
	status, data, err := h.send(t, method, address, body, header)
	if err != nil || status != want {
		t.Fatalf("%s %s: %d, want %d: %v\n%s", method, address, status, want, err, data)
	}
	return data
}

func (h *house) send(t *testing.T, method, address, body string, header http.Header) (int, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + apiKey}, "Content-Type": {"application/json"}}
	maps.Copy(req.Header, header)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, err
}

// await sends a request until its answer is the one that is waited for.
func (h *house) await(t *testing.T, method, address string, header http.Header, done func(status int, body []byte) bool) []byte {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		status, body, err := h.send(t, method, address, "", header)
		if err == nil && done(status, body) {
			return body
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s %s: %d, %v\n%s", method, address, status, err, body)
		}
	}
}

// state is what the states of jobs have in common.
type state struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Manifest string `json:"manifest"`
}

func read(t *testing.T, body []byte) (s state) {
	t.Helper()
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return s
}

func ended(_ int, body []byte) bool {
	var s state
	return json.Unmarshal(body, &s) == nil && s.State != "" && s.State != "pending" && s.State != "running" && s.State != "queued"
}

// chats has a conversation and returns the id of its answer.
func (h *house) chats(t *testing.T, chat string) string {
	t.Helper()
	body := h.call(t, "POST", chat+"/v2/api/chat/send", `{"input":{"messages":[{"role":"user","content":"给我画一张星空"}],
		"aca":{"botProfile":{"characterId":"`+character+`"},"userProfile":{"userId":"`+user+`"}}}}`, nil, http.StatusOK)
	var answer struct {
		Data struct {
			Context struct {
				AnswerID string `json:"answerId"`
			} `json:"context"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Data.Context.AnswerID == "" {
		t.Fatalf("%v: %s", err, body)
	}
	return answer.Data.Context.AnswerID
}

func once(key string) http.Header { return http.Header{"Idempotency-Key": {key}} }

// example is a character that may be created.
const example = `{"name":"满腔忠义的关云长","avatar":{"fileUrl":"https://gw.alicdn.com/a.jpg","filename":"a.jpg"},"introduction":"满腔忠义的关云长",
	"basicInformation":"我们来玩一个角色扮演的游戏","openingLine":"我是关云长","traits":"用文言文回答","chatExample":"{{user}}:敢问阁下尊姓大名。"}`

func (h *house) rates(t *testing.T, chat, message string) {
	t.Helper()
	body := h.call(t, "POST", chat+"/v1/ratings", `[{"messageId":"`+message+`","rating":5}]`, once("rating"), http.StatusAccepted)
	address := chat + "/v1/ratings/" + read(t, body).ID
	h.await(t, "GET", address, nil, ended)
	h.call(t, "GET", address+"/results", "", nil, http.StatusOK)
}

func (h *house) paints(t *testing.T, chat, message string) {
	t.Helper()
	h.call(t, "POST", chat+"/v1/images", `{"messageId":"`+message+`","userId":"`+user+`"}`, once("image"), http.StatusAccepted)
	h.await(t, "GET", chat+"/v1/images/"+message, nil, ended)
}

// exports exports what the directory knows, follows it, and starts one to cancel it.
func (h *house) exports(t *testing.T, address string) {
	t.Helper()
	spec := func(name, users string) string {
		return `{"name":"` + name + `","characters":["` + character + `"],"users":` + users + `,"from":"2024-05-01T00:00:00Z","to":"2030-05-02T00:00:00Z"}`
	}
	// The directory hears of the chat in its own time.
	for number := 1; ; number++ {
		body := h.call(t, "POST", address+"/v1/exports", spec("directory", `"directory"`), nil, http.StatusAccepted)
		one := address + "/v1/exports/" + read(t, body).ID
		h.call(t, "GET", one+"/events", "", nil, http.StatusOK) // ends with the export
		body = h.await(t, "GET", one, nil, ended)
		if strings.Contains(string(body), `"windows":1,`) {
			h.call(t, "GET", one+"/files/"+read(t, body).Manifest, "", nil, http.StatusOK)
			break
		}
		if number == 600 {
			t.Fatalf("the directory stays empty: %s", body)
		}
	}
	listed := strings.Replace(spec("listed", `["`+user+`"]`), `"to":"2030-05-02T00:00:00Z"`, `"watermark":{"name":"listed"}`, 1)
	body := h.call(t, "POST", address+"/v1/exports", listed, once("export"), http.StatusAccepted)
	if again := h.call(t, "POST", address+"/v1/exports", listed, once("export"), http.StatusAccepted); read(t, again).ID != read(t, body).ID {
		t.Errorf("a repeated request: %s and %s", body, again)
	}
	h.await(t, "GET", address+"/v1/exports/"+read(t, body).ID, nil, ended)
	h.call(t, "POST", address+"/v1/exports", strings.Replace(listed, `"from":"2024-05-01T00:00:00Z",`, "", 1), nil, http.StatusAccepted)
	h.call(t, "GET", address+"/v1/exports", "", nil, http.StatusOK)
}

// hears sends signed messages.
func (h *house) hears(t *testing.T, webhooks, message string) {
	t.Helper()
	secrets, err := webhook.ParseSecrets(sign.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	for source, body := range map[string]string{
		"shop": `{"message":"` + message + `"}`, "note": `{"a":1}`, "start": `{}`,
		"desk": `{"bot":"character:` + character + `","userId":"` + user + `","text":"你好"}`,
	} {
		header := http.Header{}
		if err := secrets.Sign(header, webhook.ID("message."+source), time.Now(), []byte(body)); err != nil {
			t.Fatal(err)
		}
		status, data, err := h.send(t, "POST", webhooks+"/v1/webhooks/"+source, body, header)
		if err != nil || status >= 300 {
			t.Errorf("webhook %s: %d, %v\n%s", source, status, err, data)
		}
	}
}

// target is where webhooks go; it takes each path at the second time.
type target struct {
	url string

	mu    sync.Mutex
	taken map[string]int
}

func (h *house) listens(t *testing.T) *target {
	t.Helper()
	x := &target{taken: map[string]int{}}
	server := httptest.NewServer(x)
	t.Cleanup(server.Close)
	x.url = server.URL
	return x
}

func (x *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.taken[r.URL.Path]++; x.taken[r.URL.Path] == 1 {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// await returns when both paths have been taken.
func (x *target) await(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		x.mu.Lock()
		done := x.taken["/one"] > 1 && x.taken["/some"] > 1
		x.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("webhooks have not come: %v", x.taken)
		}
	}
}

// buries has a job fail for good, and an operator look at it, retry it and drop it.
func (h *house) buries(t *testing.T) {
	t.Helper()
	workers := h.connect(t, "workers")
	js, err := workers.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish("xinghe.jobs.image.broken", []byte("not a job")); err != nil {
		t.Fatal(err)
	}
	listed := h.operate(t, func(out string) bool { return strings.Contains(out, "broken") }, "dead-letters", "list", "--json")
	number := func(out string) string {
		var letter struct {
			Sequence json.Number `json:"sequence"`
		}
		line, _, _ := strings.Cut(out, "\n")
		if err := json.Unmarshal([]byte(line), &letter); err != nil || letter.Sequence == "" {
			t.Fatalf("%v: %s", err, out)
		}
		return letter.Sequence.String()
	}
	first := number(listed)
	h.operate(t, nil, "dead-letters", "show", first)
	h.operate(t, nil, "dead-letters", "retry", first)
	again := h.operate(t, func(out string) bool { return strings.Contains(out, "broken") }, "dead-letters", "list", "--json")
	h.operate(t, nil, "dead-letters", "drop", number(again))
}

// schedules has an export start by the clock.
func (h *house) schedules(t *testing.T) {
	t.Helper()
	h.write("spec.json", []byte(`{"name":"clock","characters":["`+character+`"],"users":["`+user+`"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`))
	h.operate(t, func(string) bool { return true }, "schedule", "set", "clock", "--cron", "* * * * * *", h.path("spec.json"))
	h.operate(t, func(out string) bool { return strings.Contains(out, "started") }, "schedule", "list", "--json")
	h.operate(t, nil, "schedule", "remove", "clock")
}

// operate runs the command line, again until its output is what is waited for.
func (h *house) operate(t *testing.T, done func(string) bool, args ...string) string {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		cmd := exec.CommandContext(t.Context(), h.path("bin/xinghe"), args...)
		cmd.Env = h.environment("operator")
		var out, fault bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &fault
		err := cmd.Run()
		if err == nil && (done == nil || done(out.String())) {
			return out.String()
		}
		if err != nil && done == nil || time.Now().After(deadline) {
			t.Fatalf("xinghe %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), fault.String())
		}
	}
}

// refuses tries what a role must not do.
func (h *house) refuses(t *testing.T) {
	t.Helper()
	const info, deadLetter = "$JS.API.STREAM.INFO.XINGHE_DEAD", "$JS.API.STREAM.MSG.DELETE.XINGHE_DEAD"
	functions := []string{"chat", "character", "webhook", "history_export"}
	workers := []string{"worker_export", "worker_image", "worker_rating", "worker_directory", "worker_delivery", "worker_schedule", "worker_usage"}
	for _, tc := range []struct {
		what    string
		subject string
		roles   []string
	}{
		{"forge a window of an export", "xinghe.jobs.export.window.x.1.0", append(functions, "worker_image", "worker_rating", "worker_directory")},
		{"start an export", "xinghe.jobs.export.run.x", []string{"chat", "character", "worker_image", "worker_rating", "worker_directory"}},
		{"rate", "xinghe.jobs.rating.x.1", []string{"character", "history_export", "worker_export", "worker_image"}},
		{"tell that an export is done", "xinghe.events.export.done", append(functions, "worker_image", "worker_rating")},
		{"tell of a chat", "xinghe.events.chat.completed", append(workers, "character", "history_export")},
		{"bury a job", "xinghe.dead.xinghe.jobs.x", functions},
		{"read dead letters", info, functions},
		{"drop dead letters", deadLetter, append(append(functions, workers...), "workers")},
		{"remove a stream", "$JS.API.STREAM.DELETE.XINGHE_JOBS", append(append(functions, workers...), "workers", "operator")},
		{"empty a stream", "$JS.API.STREAM.PURGE.XINGHE_JOBS", append(append(functions, workers...), "workers")},
		{"make any stream", "$JS.API.STREAM.CREATE.OTHER", append(functions, workers...)},
		{"take jobs of others", "$JS.API.CONSUMER.MSG.NEXT.XINGHE_JOBS.rating", append(functions, "worker_export", "worker_image")},
		{"look at who has talked", "$JS.API.DIRECT.GET.KV_xinghe_directory.$KV.xinghe_directory.x", append(functions, "worker_image", "worker_rating")},
		{"change a watermark", "$KV.xinghe_watermarks.nightly", functions},
		{"talk beside", "other.subject", append(append(functions, workers...), "workers", "operator")},
	} {
		for _, role := range tc.roles {
			nc := h.connect(t, role)
			if err := nc.Publish(tc.subject, nil); err != nil {
				t.Fatal(err)
			}
			if err := nc.FlushTimeout(patience); err != nil {
				t.Fatal(err)
			}
			if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s may %s: %v", role, tc.what, err)
			}
			nc.Close()
		}
	}
	for _, role := range append(append(functions, workers...), "workers", "operator") {
		nc := h.connect(t, role)
		if _, err := nc.SubscribeSync("xinghe.events.>"); err != nil {
			t.Fatal(err)
		}
		_ = nc.FlushTimeout(patience)
		if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s hears what others publish: %v", role, err)
		}
		nc.Close()
	}
}
