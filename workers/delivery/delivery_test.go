package delivery_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
	"xinghe/workers/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// The secrets of targets.
var (
	secret  = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a canary of 24 bytes, no"))
	another = "whsec_" + base64.StdEncoding.EncodeToString([]byte("another canary of 32 bytes, yes!"))
)

// bundle is a queue with a clock that stands until a test moves it.
type bundle struct {
	t     *testing.T
	nats  *natstest.Server
	js    jetstream.JetStream
	queue *queue.Queue

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

// Write takes log lines.
func (b *bundle) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(line)
}

// logged are the lines so far.
func (b *bundle) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func setup(t *testing.T) *bundle {
	t.Helper()
	srv := natstest.New(t)
	b := &bundle{t: t, nats: srv, js: srv.JetStream(), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	if b.queue, err = queue.New(b.js, queue.Config{Timeout: patience}); err != nil {
		t.Fatal(err)
	}
	if err := b.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bundle) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bundle) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// config is that of a worker which looks at the bundle's clock all the time.
func (b *bundle) config(subscriptions string) delivery.Config {
	b.t.Helper()
	vars := env.New(func(name string) string {
		return map[string]string{
			"XINGHE_WEBHOOKS": subscriptions, "XINGHE_ALLOW_HOSTS": "127.0.0.1", "SECRET": secret, "ANOTHER": another,
		}[name]
	})
	cfg := delivery.FromEnv(vars)
	if err := vars.Err(); err != nil {
		b.t.Fatal(err)
	}
	cfg.Queue, cfg.Now, cfg.Recheck = b.queue, b.clock, 10*time.Millisecond
	cfg.Timeout = patience
	return cfg
}

// start runs a worker until the test ends or stop is called. It returns when the consumers
// of all that the worker delivers to are there.
func (b *bundle) start(cfg delivery.Config, names ...string) (stop func()) {
	b.t.Helper()
	w, err := delivery.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(zerolog.New(b).WithContext(context.WithoutCancel(b.t.Context())))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err := w.Close(); err != nil {
			b.t.Error(err)
		}
		for _, hidden := range []string{"canary", secret, another} {
			if strings.Contains(b.logged(), hidden) {
				b.t.Errorf("a secret is logged: %s", b.logged())
			}
		}
	})
	b.t.Cleanup(stop)
	for _, name := range names {
		b.eventually(func() string {
			for stream, consumer := range map[string]string{
				queue.StreamEvents: jobs.DeliveryConsumer(name), queue.StreamJobs: jobs.RedeliveryConsumer(name),
			} {
				if _, err := b.js.Consumer(b.t.Context(), stream, consumer); err != nil {
					return fmt.Sprintf("%s: %v", consumer, err)
				}
			}
			return ""
		})
	}
	return stop
}

// eventually waits until what returns nothing to complain of.
func (b *bundle) eventually(what func() string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		complaint := what()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatal(complaint)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// publish publishes events, as functions and workers do, and returns their bodies.
func (b *bundle) publish(kind string, ids ...string) [][]byte {
	b.t.Helper()
	var bodies [][]byte
	for _, id := range ids {
		event, err := jobs.NewEvent(kind, id, "/xinghe/test", "thing", b.clock(), map[string]string{"said": "你好 <" + id + ">"})
		if err != nil {
			b.t.Fatal(err)
		}
		data, err := json.Marshal(event)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := b.queue.PublishEvent(b.t.Context(), jobs.EventPrefix+kind, id, data); err != nil {
			b.t.Fatal(err)
		}
		bodies = append(bodies, data)
	}
	return bodies
}

// record is what is known of a target.
func (b *bundle) record(name string) jobs.Webhook {
	b.t.Helper()
	targets, err := queue.OpenStore[jobs.Webhook](b.queue, jobs.BucketWebhooks, queue.StoreConfig{})
	if err != nil {
		b.t.Fatal(err)
	}
	entry, err := targets.Get(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return entry.Value
}

// attempts that were written down of a target, in their order.
func (b *bundle) attempts(name string) []jobs.DeliveryAttempt {
	b.t.Helper()
	log, err := queue.OpenStore[jobs.DeliveryLog](b.queue, jobs.BucketDeliveries, queue.StoreConfig{TTL: 72 * time.Hour})
	if err != nil {
		b.t.Fatal(err)
	}
	logs := map[string][]jobs.DeliveryAttempt{}
	var keys []string
	for entry, err := range log.List(b.t.Context(), name+".>") {
		if err != nil {
			b.t.Fatal(err)
		}
		keys = append(keys, entry.Key)
		logs[entry.Key] = entry.Value.Attempts
	}
	slices.Sort(keys)
	var all []jobs.DeliveryAttempt
	for _, key := range keys {
		all = append(all, logs[key]...)
	}
	return all
}

// got is a request that came to a receiver.
type got struct {
	id     string
	header http.Header
	body   []byte
}

// receiver is somebody's server. It answers as answer says, 204 by default.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []got
	answer   func(w http.ResponseWriter, r *http.Request, number int)
}

// receive starts a receiver; answer is told the number of the request, from 1.
func receive(tb testing.TB, answer func(w http.ResponseWriter, r *http.Request, number int)) *receiver {
	tb.Helper()
	rec := &receiver{answer: answer}
	rec.Server = httptest.NewServer(rec)
	tb.Cleanup(rec.Close)
	return rec
}

func (rec *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	rec.mu.Lock()
	rec.requests = append(rec.requests, got{id: r.Header.Get("webhook-id"), header: r.Header.Clone(), body: body})
	number := len(rec.requests)
	rec.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	if rec.answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	rec.answer(w, r, number)
}

func (rec *receiver) all() []got {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.requests)
}

// ids of the events that came, each once, in order of the alphabet.
func (rec *receiver) ids() string {
	var ids []string
	for _, g := range rec.all() {
		ids = append(ids, g.id)
	}
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), " ")
}

// arrived waits for these events, in order of the alphabet, and no others.
func (b *bundle) arrived(rec *receiver, ids ...string) {
	b.t.Helper()
	want := strings.Join(ids, " ")
	b.eventually(func() string {
		if ids := rec.ids(); ids != want {
			return fmt.Sprintf("came: %s\nwant: %s", ids, want)
		}
		return ""
	})
}

// subscription is the configuration of one target.
func subscription(name, address string, more ...string) string {
	fields := append([]string{
		fmt.Sprintf(`"name":%q`, name), fmt.Sprintf(`"url":%q`, address+"/hook?token=canary"),
	}, more...)
	for field, value := range map[string]string{"types": `["*"]`, "secrets": `["env:SECRET"]`} {
		if !strings.Contains(strings.Join(more, ","), `"`+field+`"`) {
			fields = append(fields, fmt.Sprintf("%q:%s", field, value))
		}
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func list(subscriptions ...string) string { return "[" + strings.Join(subscriptions, ",") + "]" }

// numbered makes ids that sort as they were made.
func numbered(prefix string, count int) []string {
	ids := make([]string, count)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	return ids
}
