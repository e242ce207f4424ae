package webhookapi_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nats-io/nats.go/jetstream"

	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/webhook"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// The secrets of the tests' sources.
const (
	current = "whsec_Y3VycmVudC1zZWNyZXQtb2YtdGhlLXRlc3Rz"
	former  = "whsec_Zm9ybWVyLXNlY3JldC1vZi10aGUtdGVzdHMt"
	hubKey  = "the-secret-of-the-hub"
)

// noon is when all tests take place.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sources are one of each kind of proof.
const sources = `[
	{"name":"plain","standard":{"secrets":["` + current + `","` + former + `"]},"action":"publish"},
	{"name":"orders","standard":{"secrets":["` + current + `"],"tolerance":"1m"},"when":{"/type":["order.shipped","order.late"],"/paid":true},"action":"reminder",
		"fields":{"characterId":"c1","userId":{"template":"{/data/customer}"},"content":{"template":"订单 {/data/order} 已发货 {…}"}}},
	{"name":"hub","hmac":{"secrets":["` + hubKey + `"],"header":"X-Hub-Signature-256","prefix":"sha256=","id":{"header":"X-Hub-Delivery"}},"action":"publish"},
	{"name":"timed","hmac":{"secrets":["` + hubKey + `"],"header":"X-Sign","encoding":"base64","timestamp":"X-Time","signs":"v0:{timestamp}:{body}","id":{"pointer":"/id"}},"action":"publish"},
	{"name":"dotted","hmac":{"secrets":["` + hubKey + `"],"header":"X-Sign","timestamp":"X-Time","id":{"header":"X-Id"}},"action":"publish"},
	{"name":"nameless","hmac":{"secrets":["` + hubKey + `"],"header":"X-Sign"},"action":"publish"},
	{"name":"ratings","standard":{"secrets":["` + current + `"]},"action":"rating",
		"fields":{"messageId":{"pointer":"/message"},"rating":{"pointer":"/stars"},"info":"from the shop"}},
	{"name":"exports","standard":{"secrets":["` + current + `"]},"action":"export",
		"fields":{"name":{"template":"order-{/order}"},"characters":["c1"],"users":{"pointer":"/users"},"from":{"pointer":"/from"},"to":"2026-01-01T00:00:00Z"}}
]`

// bundle is the surface over a NATS of its own, with an upstream that the test plays.
type bundle struct {
	t       *testing.T
	nats    *natstest.Server
	js      jetstream.JetStream
	queue   *queue.Queue
	client  *xingchen.Client
	handler http.Handler

	mu    sync.Mutex
	now   time.Time
	asked []string // bodies that upstream got
	reply func(w http.ResponseWriter, n int)
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, nats: natstest.New(t), now: noon, reply: func(w http.ResponseWriter, _ int) { _, _ = io.WriteString(w, done) }}
	b.js = b.nats.JetStream()
	q, err := queue.New(b.js, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(http.HandlerFunc(b.upstream))
	t.Cleanup(upstream.Close)
	client, err := xingchen.New(xingchen.Config{BaseURL: upstream.URL, APIKey: sign.NewSecret("lm-test")})
	if err != nil {
		t.Fatal(err)
	}
	b.queue, b.client = q, client
	b.serve(20 * time.Second)
	return b
}

// serve makes the surface, which waits so long for NATS.
func (b *bundle) serve(timeout time.Duration) {
	b.t.Helper()
	list, err := webhookapi.ParseSources(sign.NewSecret(sources), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	api, err := webhookapi.New(webhookapi.Config{Sources: list, Queue: b.queue, Xingchen: b.client, Timeout: timeout, Now: b.clock})
	if err != nil {
		b.t.Fatal(err)
	}
	if b.handler, err = httpapi.New(httpapi.Config{Ready: api.Ready}, api.Routes()...); err != nil {
		b.t.Fatal(err)
	}
}

// done is upstream's answer to a reminder.
const done = `{"requestId":"up-1","code":200,"data":true,"success":true}`

func (b *bundle) upstream(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.asked = append(b.asked, string(body))
	n, reply := len(b.asked), b.reply
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	reply(w, n)
}

func (b *bundle) calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.asked...)
}

func (b *bundle) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bundle) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// send has the surface receive a request.
func (b *bundle) send(source, body string, header http.Header) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, "/v1/webhooks/"+source, strings.NewReader(body))
	r.Header = header.Clone()
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// standard signs a message after the specification.
func standard(t *testing.T, secret, id, body string, at time.Time) http.Header {
	t.Helper()
	secrets, err := webhook.ParseSecrets(sign.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	if err := secrets.Sign(header, id, at, []byte(body)); err != nil {
		t.Fatal(err)
	}
	return header
}

func mac(key, text string) []byte {
	hash := hmac.New(sha256.New, []byte(key))
	hash.Write([]byte(text))
	return hash.Sum(nil)
}

func body(text string) io.Reader { return strings.NewReader(text) }

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// headers makes headers of pairs.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// events are those of a type that have been stored.
func (b *bundle) events(kind string) (list []jobs.Event) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	stream, err := b.js.Stream(ctx, queue.StreamEvents)
	if err != nil {
		b.t.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	for seq := uint64(1); seq <= last; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if err != nil {
			b.t.Fatal(err)
		}
		var event jobs.Event
		if err := json.Unmarshal(msg.Data, &event); err != nil {
			b.t.Fatal(err)
		}
		if msg.Subject == jobs.EventPrefix+kind {
			list = append(list, event)
		}
	}
	return list
}

// want fails unless the answer has a status, and a problem that tells it.
func want(t *testing.T, w *httptest.ResponseRecorder, status int, parts ...string) {
	t.Helper()
	body := w.Body.String()
	if w.Code != status {
		t.Errorf("%d %s, want %d", w.Code, body, status)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("%s does not tell %q", body, part)
		}
	}
	if status < http.StatusBadRequest {
		return
	}
	var problem struct {
		Status                       int
		Code, RequestID, Type, Title string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Header().Get("Content-Type") != "application/problem+json" ||
		problem.Status != status || problem.Code == "" || problem.RequestID == "" || problem.Type == "" || problem.Title == "" {
		t.Errorf("no problem: %s %s %v", w.Header().Get("Content-Type"), body, err)
	}
}

// ids makes a fresh id with each call.
func ids() func() string {
	n := 0
	return func() string {
		n++
		return fmt.Sprintf("msg_%d", n)
	}
}
