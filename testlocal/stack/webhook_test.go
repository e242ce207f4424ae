package stack_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/shared/webhook"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/stack"
)

const hubSecret = "hub-secret-of-the-tests"

// webhookSources has each action once, and the kinds of proof.
const webhookSources = `[
	{"name":"orders","standard":{"secrets":["` + stack.DefaultWebhookSecret + `"]},"when":{"/type":"order.shipped"},"action":"reminder",
		"fields":{"characterId":"` + xiaowan + `","userId":{"template":"{/data/customer}"},"content":{"template":"您的订单 {/data/order} 已经发货了。"}}},
	{"name":"stars","standard":{"secrets":["` + stack.DefaultWebhookSecret + `"]},"action":"rating",
		"fields":{"messageId":{"pointer":"/message"},"rating":{"pointer":"/stars"}}},
	{"name":"nightly","standard":{"secrets":["` + stack.DefaultWebhookSecret + `"]},"action":"export",
		"fields":{"name":{"template":"night-{/day}"},"characters":"` + xiaowan + `","users":{"pointer":"/users"},"from":"2023-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}},
	{"name":"tickets","standard":{"secrets":["` + stack.DefaultWebhookSecret + `"]},"action":"ask",
		"fields":{"bot":{"pointer":"/bot"},"userId":{"pointer":"/user"},"text":{"pointer":"/question"}}},
	{"name":"hub","hmac":{"secrets":["` + hubSecret + `"],"header":"X-Hub-Signature-256","prefix":"sha256=","id":{"header":"X-GitHub-Delivery"}},"action":"publish"}
]`

// setupWebhooks is a stack with these sources.
func setupWebhooks(t *testing.T, emu emulator.Config) *bundle {
	t.Helper()
	return setup(t, map[string]string{"XINGHE_WEBHOOK_SOURCES": webhookSources}, emu)
}

// signedWebhook are the headers of a message after Standard Webhooks.
func signedWebhook(t *testing.T, id, body string, at time.Time) []string {
	t.Helper()
	secrets, err := webhook.ParseSecrets(sign.NewSecret(stack.DefaultWebhookSecret))
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	if err := secrets.Sign(header, id, at, []byte(body)); err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for name := range header {
		pairs = append(pairs, name, header.Get(name))
	}
	return pairs
}

// deliver sends a message without a key.
func (b *bundle) deliver(source, id, body string) answer {
	b.t.Helper()
	return b.call(http.MethodPost, b.URL+"/v1/webhooks/"+source, "", body, signedWebhook(b.t, id, body, time.Now())...)
}

// told is what a sender is told.
type toldSender struct {
	Source, ID, Action, Job, Event string
	Answer                         *struct {
		MessageID, SessionID, Text string
		Handover                   *struct{ SkillGroup string }
	}
}

// delivered delivers a message that must be taken.
func (b *bundle) delivered(source, id, body string, status int) toldSender {
	b.t.Helper()
	got := b.deliver(source, id, body)
	var told toldSender
	if err := json.Unmarshal([]byte(got.body), &told); err != nil || got.status != status || told.Source != source || told.ID != id {
		b.t.Fatalf("%s: %d %s %v, want %d", body, got.status, got.body, err, status)
	}
	return told
}

// history is what a user and the character of the examples have said.
func (b *bundle) history(user string) string {
	b.t.Helper()
	got := b.post("/v2/api/chat/message/histories", `{"where":{"characterId":"`+xiaowan+`","bizUserId":"`+user+`","startTime":1},"pageSize":20}`)
	if got.status != http.StatusOK {
		b.t.Fatalf("%d %s", got.status, got.body)
	}
	return got.body
}

func order(kind, customer, number string) string {
	return fmt.Sprintf(`{"type":"order.%s","data":{"order":%q,"customer":%s}}`, kind, number, customer)
}

// TestWebhookActions has each action carried out, from the front door to its end.
func TestWebhookActions(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, emulator.Config{})
	g := b.gather()

	if told := b.delivered("orders", "o1", order("shipped", "7001", "A-1"), http.StatusOK); told.Action != "reminder" {
		t.Errorf("%+v", told)
	}
	if said := b.history("7001"); !strings.Contains(said, "您的订单 A-1 已经发货了。") {
		t.Errorf("no reminder in %s", said)
	}
	if told := b.delivered("orders", "o2", order("paid", "7001", "A-1"), http.StatusAccepted); told.Action != "publish" || told.Event == "" {
		t.Errorf("%+v", told)
	}

	rated := b.delivered("stars", "r1", `{"message":"a4d8ae9dbcd54d9196cd20afeb7a3059","stars":5}`, http.StatusAccepted)
	b.state("/v1/ratings/"+rated.Job, "done", `"applied":1`)

	exported := b.delivered("nightly", "e1", `{"day":17,"users":["1234567"]}`, http.StatusAccepted)
	b.state("/v1/exports/"+exported.Job, "done", `"name":"night-17"`)

	asked := b.delivered("tickets", "q1", `{"bot":"beebot:`+robot+`","user":"7002","question":"人工客服"}`, http.StatusOK)
	if asked.Answer == nil || asked.Answer.MessageID == "" || !strings.Contains(asked.Answer.Text, "转接人工") || asked.Answer.Handover == nil || asked.Answer.Handover.SkillGroup != "12" {
		t.Errorf("%+v", asked.Answer)
	}
	asked = b.delivered("tickets", "q2", `{"bot":"character:`+xiaowan+`","user":"7003","question":"你今年多大"}`, http.StatusOK)
	if asked.Answer == nil || !strings.Contains(asked.Answer.Text, "17岁") || asked.Answer.Handover != nil {
		t.Errorf("%+v", asked.Answer)
	}

	mac := hmac.New(sha256.New, []byte(hubSecret))
	mac.Write([]byte(`{"zen":"keep it simple"}`))
	hub := []string{"X-Hub-Signature-256", "sha256=" + hex.EncodeToString(mac.Sum(nil)), "X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"}
	if got := b.call(http.MethodPost, b.URL+"/v1/webhooks/hub", "", `{"zen":"keep it simple"}`, hub...); got.status != http.StatusAccepted {
		t.Errorf("%d %s", got.status, got.body)
	}
	g.wait(t, map[string]int{
		jobs.EventWebhookReceived: 2, jobs.EventWebhookAnswered: 2, jobs.EventRatingApplied: 1, jobs.EventExportDone: 1,
		jobs.EventChatCompleted: 2, jobs.EventHandoverRequested: 1,
	})
	for _, secret := range []string{hubSecret, stack.DefaultWebhookSecret} {
		if strings.Contains(b.log.String(), secret) {
			t.Error("a secret stands in the log")
		}
	}
}

// state waits until a job is in a state, and looks for a part of its answer.
func (b *bundle) state(path, state, part string) {
	b.t.Helper()
	var got answer
	until(b.t, path+" is "+state, func() bool {
		got = b.call(http.MethodGet, b.URL+path, stack.DefaultKey, "")
		return strings.Contains(got.body, `"state":"`+state+`"`)
	})
	if !strings.Contains(got.body, part) {
		b.t.Errorf("%s: %s lacks %s", path, got.body, part)
	}
}

// callCentre is a subscriber that verifies what it gets with the reference library.
type callCentre struct {
	*httptest.Server
	t *testing.T

	mu  sync.Mutex
	got map[string]jobs.ChatEvent // by type
}

func openCallCentre(t *testing.T) *callCentre {
	t.Helper()
	c := &callCentre{t: t, got: map[string]jobs.ChatEvent{}}
	hook, err := standardwebhooks.NewWebhook(stack.DefaultWebhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/closed" {
			w.WriteHeader(http.StatusGone)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = hook.Verify(body, r.Header)
		}
		var event jobs.Event
		var data jobs.ChatEvent
		if err = errors.Join(err, json.Unmarshal(body, &event), json.Unmarshal(event.Data, &data)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got[event.Type] = data
	}))
	t.Cleanup(c.Close)
	return c
}

// TestOrderSystem is the example of the documents: an order system's webhook makes a
// character write a reminder, and the customer's wish for a person ends in an event that is
// delivered to the call centre, signed. A call centre that has closed is told of.
func TestOrderSystem(t *testing.T) {
	t.Parallel()
	centre := openCallCentre(t)
	subscriptions := fmt.Sprintf(`[{"name":"centre","url":%q,"types":["handover.requested"],"secrets":[%q]},{"name":"closed","url":%q,"types":["*"],"secrets":[%[2]q]}]`,
		centre.URL+"/events", stack.DefaultWebhookSecret, centre.URL+"/closed")
	b := setup(t, map[string]string{ // and the source that the local stack has by itself
		"XINGHE_WEBHOOKS": subscriptions, "XINGHE_ALLOW_HOSTS": strings.TrimPrefix(centre.URL, "http://"),
	}, emulator.Config{})
	g := b.gather()
	b.delivered("orders", "o1", order("shipped", "7001", "2026-0301"), http.StatusOK)
	if said := b.history("7001"); !strings.Contains(said, "您的订单 2026-0301 已经发货了。") {
		t.Errorf("no reminder in %s", said)
	}
	if got := b.post(converse, `{"utterance":"人工客服","senderId":"7001"}`, "X-Request-Id", "wish"); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	until(t, "the call centre is told", func() bool {
		centre.mu.Lock()
		defer centre.mu.Unlock()
		wish, ok := centre.got["xinghe."+jobs.EventHandoverRequested]
		return ok && wish.UserID == "7001" && wish.RequestID == "wish" && wish.Handover.SkillGroup == "12" && len(centre.got) == 1
	})
	g.wait(t, map[string]int{jobs.EventDeliveryPaused: 1})
}

// TestWebhookWhileUpstreamIsDown holds that a message which was not carried out may come
// again, and is carried out then, once.
func TestWebhookWhileUpstreamIsDown(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, emulator.Config{})
	message := order("shipped", "7001", "A-1")
	question := `{"bot":"character:` + xiaowan + `","user":"7003","question":"你今年多大"}`
	for _, broken := range []fault.Rule{{Fault: fault.InternalError}, {Fault: fault.Refuse}, {Fault: fault.Throttle, RetryAfter: time.Second}} {
		if err := b.Emulator.Faults().Set(broken); err != nil {
			t.Fatal(err)
		}
		status := http.StatusBadGateway
		if broken.Fault == fault.Throttle {
			status = http.StatusTooManyRequests
		}
		for source, body := range map[string]string{"orders": message, "tickets": question} {
			if got := b.deliver(source, "m1", body); got.status != status {
				t.Errorf("%s: %d %s, want %d", broken.Fault, got.status, got.body, status)
			}
		}
	}
	if err := b.Emulator.Faults().Set(); err != nil {
		t.Fatal(err)
	}
	b.delivered("orders", "m1", message, http.StatusOK)
	b.delivered("tickets", "m1", question, http.StatusOK)
	if got := b.deliver("orders", "m1", message); got.status != http.StatusConflict {
		t.Errorf("%d %s", got.status, got.body)
	}
	if said := b.history("7001"); strings.Count(said, "A-1") != 1 {
		t.Errorf("said %d times: %s", strings.Count(said, "A-1"), said)
	}
}

// TestWebhookRace delivers a message many times at once: it is carried out once.
func TestWebhookRace(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, emulator.Config{})
	message := order("shipped", "7001", "A-1")
	header := signedWebhook(t, "m1", message, time.Now())
	var senders sync.WaitGroup
	statuses := make([]int, 8)
	for i := range statuses {
		senders.Go(func() {
			statuses[i] = b.call(http.MethodPost, b.URL+"/v1/webhooks/orders", "", message, header...).status
		})
	}
	senders.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if count[http.StatusOK] != 1 || count[http.StatusConflict] != len(statuses)-1 {
		t.Errorf("%v", count)
	}
	if said := b.history("7001"); strings.Count(said, "A-1") != 1 {
		t.Errorf("said %d times", strings.Count(said, "A-1"))
	}
}

// webhooks asks the route of the contract, with the source that the local stack has.
func (h *held) webhooks() {
	h.t.Helper()
	const path = "POST /v1/webhooks/orders"
	send := func(id, body string, status int, faulty bool) {
		h.do(ask{path, body, status, signedWebhook(h.t, id, body, time.Now()), faulty})
	}
	send("m1", order("shipped", "7001", "A-1"), http.StatusOK, false)
	send("m1", order("shipped", "7001", "A-1"), http.StatusConflict, false)
	send("m2", order("paid", "7001", "A-1"), http.StatusAccepted, false)
	send("m3", order("shipped", "null", "A-1"), http.StatusBadRequest, false)
	send("m4", "{oops", http.StatusBadRequest, true)
	send("m5", strings.Repeat(" ", 7<<20), http.StatusRequestEntityTooLarge, true)
	h.do(ask{path, "{}", http.StatusUnauthorized, nil, false})
	h.do(ask{path, "{}", http.StatusUnauthorized, signedWebhook(h.t, "m6", "{}", time.Now().Add(-time.Hour)), false})
	h.do(ask{"POST /v1/webhooks/nobody", "{}", http.StatusNotFound, nil, false})
	h.fault(fault.Rule{Fault: fault.InternalError, Route: "/v2/api/chat/reminder"})
	send("m7", order("shipped", "7001", "A-2"), http.StatusBadGateway, false)
	h.fault()
}
