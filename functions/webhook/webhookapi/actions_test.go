package webhookapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"xinghe/shared/faas"
	"xinghe/shared/jobs"
	"xinghe/shared/webhook"
)

const shipped = `{"type":"order.shipped","paid":true,"data":{"order":"2026-<7>","customer":1234567}}`

// TestReminder fills the fields of an action from a message.
func TestReminder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.send("orders", shipped, standard(t, current, "m1", shipped, noon))
	want(t, w, http.StatusOK, `{"source":"orders","id":"m1","action":"reminder"}`)
	if diff := cmp.Diff([]string{`{"characterId":"c1","bizUserId":"1234567","content":"订单 2026-\u003c7\u003e 已发货 {…}"}`}, b.calls()); diff != "" {
		t.Error(diff)
	}
	want(t, b.send("orders", shipped, standard(t, current, "m1", shipped, noon)), http.StatusConflict)
	if n := len(b.calls()); n != 1 {
		t.Errorf("upstream was called %d times", n)
	}
}

// TestWhatNoActionWants is published, and nothing else is done with it.
func TestWhatNoActionWants(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id, body := range map[string]string{
		"another-type": `{"type":"order.paid","paid":true}`,
		"not-paid":     `{"type":"order.shipped","paid":false}`,
		"as-a-text":    `{"type":"order.shipped","paid":"true"}`,
		"null":         `{"type":"order.late","paid":null}`,
		"no-object":    `["order.shipped",true]`,
		"a-text":       `"order.shipped"`,
	} {
		want(t, b.send("orders", body, standard(t, current, id, body, noon)), http.StatusAccepted, `"action":"publish"`)
	}
	if calls := b.calls(); len(calls) != 0 {
		t.Errorf("upstream was called: %v", calls)
	}
	list := b.events(jobs.EventWebhookReceived)
	if len(list) != 6 {
		t.Fatalf("%d events", len(list))
	}
	for _, event := range list {
		var data jobs.WebhookMessage
		if err := json.Unmarshal(event.Data, &data); err != nil {
			t.Fatal(err)
		}
		if event.Source != "/xinghe/webhook" || event.Subject != "orders" || !event.Time.Equal(noon) || data.Source != "orders" ||
			data.ContentType != "application/json" || data.RequestID == "" || !json.Valid(data.Body) {
			t.Errorf("%+v %+v", event, data)
		}
	}
}

// TestMessagesThatLackWhatTheActionWants are refused, and may come again when mended.
func TestMessagesThatLackWhatTheActionWants(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tc := range []struct{ source, body, tells string }{
		{"orders", `{"type":"order.late","paid":true,"data":{"order":1}}`, `userId: nothing stands at /data/customer`},
		{"orders", `{"type":"order.late","paid":true,"data":{"order":1,"customer":null}}`, `userId`},
		{"orders", `{"type":"order.late","paid":true,"data":{"order":[],"customer":1}}`, `no text or number`},
		{"orders", `{"type":"order.late","paid":true,"data":{"order":1,"customer":""}}`, `userId: missing`},
		{"ratings", `{"message":"m"}`, `rating: nothing stands at /stars`},
		{"ratings", `{"message":"m","stars":"5"}`, `rating: want a whole number`},
		{"ratings", `{"message":"m","stars":6}`, `from -1 to 5`},
		{"ratings", `{"message":"","stars":5}`, `messageId: missing`},
		{"exports", `{"order":"7 8","users":["u"],"from":"2025-01-01T00:00:00Z"}`, `name: only letters`},
		{"exports", `{"order":7,"users":[],"from":"2025-01-01T00:00:00Z"}`, `users: missing`},
		{"exports", `{"order":7,"users":["u"],"from":"yesterday"}`, `from: want a time such as`},
		{"exports", `{"order":7,"users":["u"],"from":"2027-01-01T00:00:00Z"}`, `to: not after from`},
	} {
		want(t, b.send(tc.source, tc.body, standard(t, current, "again", tc.body, noon)), http.StatusBadRequest, tc.tells)
	}
	for source, body := range map[string]string{"orders": shipped, "ratings": `{"message":"m","stars":5}`} {
		if w := b.send(source, body, standard(t, current, "again", body, noon)); w.Code >= http.StatusBadRequest {
			t.Errorf("%s: %d %s", source, w.Code, w.Body)
		}
	}
}

// TestJobs accepts what workers do.
func TestJobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const rating, export = `{"message":"m","stars":5}`, `{"order":7,"users":["u"],"from":"2025-01-01T00:00:00Z"}`
	for source, tc := range map[string]struct{ body, place, prefix string }{
		"ratings": {rating, "/v1/ratings/", "rat_"}, "exports": {export, "/v1/exports/", "exp_"},
	} {
		w := b.send(source, tc.body, standard(t, current, "m1", tc.body, noon))
		want(t, w, http.StatusAccepted, `"job":"`+tc.prefix)
		var told struct{ Job string }
		if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || w.Header().Get("Location") != tc.place+told.Job {
			t.Errorf("%s at %q, %v", w.Body, w.Header().Get("Location"), err)
		}
	}
	// The name is being exported: that is refused, and the id is free when it has ended.
	want(t, b.send("exports", export, standard(t, current, "m2", export, noon)), http.StatusConflict, "is being exported")
	want(t, b.send("exports", export, standard(t, current, "m2", export, noon)), http.StatusConflict, "is being exported")
}

// TestUpstreamDown holds that a message which was not carried out may come again.
func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reply = func(w http.ResponseWriter, n int) {
		if n <= 2 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, done)
	}
	header := standard(t, current, "m1", shipped, noon)
	want(t, b.send("orders", shipped, header), http.StatusBadGateway, "upstream_error")
	want(t, b.send("orders", shipped, header), http.StatusBadGateway)
	want(t, b.send("orders", shipped, header), http.StatusOK)
	want(t, b.send("orders", shipped, header), http.StatusConflict, "before")
	if n := len(b.calls()); n != 3 {
		t.Errorf("upstream was called %d times", n)
	}
}

// TestRace has one message delivered many times at once.
func TestRace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	arrived, go1 := make(chan struct{}), make(chan struct{})
	b.reply = func(w http.ResponseWriter, n int) {
		if n == 1 {
			close(arrived)
		}
		<-go1
		_, _ = io.WriteString(w, done)
	}
	header := standard(t, current, "m1", shipped, noon)
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- b.send("orders", shipped, header) }()
	<-arrived
	var others sync.WaitGroup
	for range 8 {
		others.Go(func() {
			w := b.send("orders", shipped, header)
			want(t, w, http.StatusConflict, "being carried out")
			if w.Header().Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
		})
	}
	others.Wait()
	close(go1)
	want(t, <-first, http.StatusOK)
	if n := len(b.calls()); n != 1 {
		t.Errorf("upstream was called %d times", n)
	}
}

// TestTheSenderLeaves holds that what has begun is brought to its end.
func TestTheSenderLeaves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, leave := context.WithCancel(t.Context())
	b.reply = func(w http.ResponseWriter, _ int) {
		leave()
		_, _ = io.WriteString(w, done)
	}
	header := standard(t, current, "m1", shipped, noon)
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/webhooks/orders", body(shipped))
	r.Header = header.Clone()
	b.handler.ServeHTTP(httptest.NewRecorder(), r)
	want(t, b.send("orders", shipped, header), http.StatusConflict, "before")
}

// TestNATSDown holds that nothing is accepted, and nothing half done.
func TestNATSDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.serve(200 * time.Millisecond)
	b.nats.Stop()
	for source, message := range map[string]string{"plain": hello, "orders": shipped, "ratings": `{"message":"m","stars":5}`} {
		w := b.send(source, message, standard(t, current, "m1", message, noon))
		want(t, w, http.StatusServiceUnavailable, "NATS")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if calls := b.calls(); len(calls) != 0 {
		t.Errorf("upstream was called: %v", calls)
	}
	ready := httptest.NewRecorder()
	b.handler.ServeHTTP(ready, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody))
	want(t, ready, http.StatusServiceUnavailable)
	b.nats.Start()
	b.serve(20 * time.Second)
	for source, message := range map[string]string{"plain": hello, "orders": shipped, "ratings": `{"message":"m","stars":5}`} {
		if w := b.send(source, message, standard(t, current, "m1", message, noon)); w.Code >= http.StatusBadRequest {
			t.Errorf("%s: %d %s", source, w.Code, w.Body)
		}
	}
}

// TestReferenceLibrary has the specification's own library sign for us.
func TestReferenceLibrary(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.now = time.Now() // that library has a clock of its own
	hook, err := standardwebhooks.NewWebhook(current)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := hook.Sign("theirs", b.now, []byte(hello))
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	header.Set(standardwebhooks.HeaderWebhookID, "theirs")
	header.Set(standardwebhooks.HeaderWebhookTimestamp, unix(b.now))
	header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	want(t, b.send("plain", hello, header), http.StatusAccepted, `"id":"theirs"`)

	ours := standard(t, former, "ours", hello, b.now)
	if err := hook.Verify([]byte(hello), ours); err == nil {
		t.Error("their library takes another secret")
	}
	ours = standard(t, current, "ours", hello, b.now)
	if err := hook.Verify([]byte(hello), ours); err != nil {
		t.Errorf("their library refuses what ours has signed: %v", err)
	}
}

// TestDirect sends a message as an event.
func TestDirect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const spaced = `{ "type": "hello",  "data": {"n": 1.0} }` // signed as it is spelled
	header := standard(t, current, "m1", spaced, noon)
	payload := `{"path":"/v1/webhooks/plain","headers":{"Webhook-Id":"m1","webhook-timestamp":"` + header.Get(webhook.HeaderTimestamp) +
		`","webhook-signature":"` + header.Get(webhook.HeaderSignature) + `"},"body":` + spaced + `}`
	call := faas.Direct(b.handler, nil)
	for i, status := range []int{http.StatusAccepted, http.StatusConflict} {
		text, err := call(t.Context(), faas.Event{Payload: json.RawMessage(payload)})
		if err != nil {
			t.Fatal(err)
		}
		var told struct{ Status int }
		if err := json.Unmarshal(text, &told); err != nil || told.Status != status {
			t.Errorf("call %d: %s %v", i, text, err)
		}
	}
}
