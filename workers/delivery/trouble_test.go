package delivery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/workers/delivery"
)

func failing(w http.ResponseWriter, _ *http.Request, _ int) {
	w.WriteHeader(http.StatusInternalServerError)
}

// Whatever one target does, another one gets its events while it does it.
func TestOthersAreNotDelayed(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) string{
		"hangs": func(t *testing.T) string {
			t.Helper()
			release := make(chan struct{})
			rec := receive(t, func(http.ResponseWriter, *http.Request, int) { <-release })
			t.Cleanup(func() { close(release) })
			return rec.URL
		},
		"answers 500": func(t *testing.T) string {
			t.Helper()
			return receive(t, failing).URL
		},
		"answers 410": func(t *testing.T) string {
			t.Helper()
			return receive(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusGone) }).URL
		},
		"is away": func(t *testing.T) string {
			t.Helper()
			gone := httptest.NewServer(http.NotFoundHandler())
			gone.Close()
			return gone.URL
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			good := receive(t, nil)
			cfg := b.config(list(subscription("bad", start(t), `"concurrency":2`), subscription("good", good.URL, `"types":["export.*"]`)))
			cfg.Drain = -1 // who hangs will not answer before the worker has ended
			stop := b.start(cfg, "bad", "good")
			defer stop()
			ids := numbered("e", 100)
			b.publish("export.done", ids...)
			b.arrived(good, ids...)
			if state := b.record("good").State(b.clock()); state != "ok" {
				t.Errorf("the good one is %s", state)
			}
		})
	}
}

// A target that fails for an hour is asked now and then only, and gets everything in the
// end. Meanwhile the other one has each event before the clock moves on.
func TestAnHourOfFailures(t *testing.T) {
	t.Parallel()
	b := setup(t)
	began := b.clock()
	bad := receive(t, func(w http.ResponseWriter, r *http.Request, number int) {
		if b.clock().Sub(began) < time.Hour {
			failing(w, r, number)
		}
	})
	good := receive(t, nil)
	cfg := b.config(list(subscription("bad", bad.URL), subscription("good", good.URL)))
	cfg.RestAfter, cfg.Rest = 5, func(int) time.Duration { return 5 * time.Minute }
	b.start(cfg, "bad", "good")
	var ids []string
	for minute := range 60 {
		batch := numbered(fmt.Sprintf("e%02d-", minute), 2)
		b.publish("export.done", batch...)
		ids = append(ids, batch...)
		b.arrived(good, ids...)
		b.advance(time.Minute)
	}
	// 5 failures until it rests, those that were under way or had to wait for the record by
	// then, and a probe each rest.
	if n := len(bad.all()); n > 5+2*delivery.DefaultConcurrency+12 {
		t.Errorf("%d attempts within the hour", n)
	}
	b.eventually(func() string {
		b.advance(time.Minute)
		if got, want := bad.ids(), strings.Join(ids, " "); got != want {
			return fmt.Sprintf("came: %s\nwant: %s", got, want)
		}
		return ""
	})
	b.eventually(func() string {
		record := b.record("bad")
		return cmp.Diff(jobs.Webhook{Name: "bad", Host: bad.URL, Types: []string{"*"}}, record)
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	began := b.clock()
	rec := receive(t, func(w http.ResponseWriter, _ *http.Request, number int) {
		switch number {
		case 1:
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.Header().Set("Retry-After", began.Add(time.Hour).Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	cfg := b.config(list(subscription("crm", rec.URL, `"concurrency":1`)))
	cfg.Retries = []time.Duration{time.Second, time.Second}
	b.start(cfg, "crm")
	b.publish("export.done", "a")
	b.eventually(func() string {
		if b.record("crm").RestUntil == nil {
			return "it does not rest"
		}
		return ""
	})
	b.publish("export.done", "b")
	b.eventually(func() string {
		b.advance(30 * time.Second)
		if n := len(rec.all()); n < 4 {
			return fmt.Sprintf("%d requests", n)
		}
		return ""
	})
	for i, want := range []time.Duration{0, 10 * time.Minute, time.Hour, time.Hour} {
		sent := rec.all()[i]
		var seconds int64
		if _, err := fmt.Sscan(sent.header.Get("webhook-timestamp"), &seconds); err != nil {
			t.Fatal(err)
		}
		if after := time.Unix(seconds, 0).Sub(began); after < want {
			t.Errorf("request %d (%s) after %s, want at least %s", i+1, sent.id, after, want)
		}
	}
	b.arrived(rec, "a", "b")
	b.eventually(func() string {
		log := b.attempts("crm")
		if len(log) < 2 {
			return fmt.Sprintf("%+v", log)
		}
		if log[0].Next.Before(began.Add(10*time.Minute)) || log[1].Next.Before(began.Add(time.Hour)) {
			t.Errorf("due at %s and %s", log[0].Next, log[1].Next)
		}
		return ""
	})
}

// pauses are the events that tell of pauses, as they were published.
func (b *bundle) pauses() []jobs.DeliveryPaused {
	b.t.Helper()
	consumer, err := b.js.OrderedConsumer(b.t.Context(), queue.StreamEvents, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{jobs.EventPrefix + jobs.EventDeliveryPaused},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	batch, err := consumer.FetchNoWait(100)
	if err != nil {
		b.t.Fatal(err)
	}
	var all []jobs.DeliveryPaused
	for msg := range batch.Messages() {
		var event jobs.Event
		var told jobs.DeliveryPaused
		if err := json.Unmarshal(msg.Data(), &event); err != nil {
			b.t.Fatal(err)
		}
		if err := json.Unmarshal(event.Data, &told); err != nil {
			b.t.Fatal(err)
		}
		if strings.Contains(string(msg.Data()), "canary") {
			b.t.Errorf("a secret is told: %s", msg.Data())
		}
		all = append(all, told)
	}
	return all
}

// A target of which nothing is heard for long is paused, others are told, and it is tried
// again after a while, with all that has happened since.
func TestPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var well atomic.Bool
	bad := receive(t, func(w http.ResponseWriter, r *http.Request, number int) {
		if !well.Load() {
			failing(w, r, number)
		}
	})
	good := receive(t, nil)
	cfg := b.config(list(subscription("bad", bad.URL), subscription("good", good.URL, `"types":["delivery.paused"]`)))
	b.start(cfg, "bad", "good")
	ids := numbered("e", 3)
	b.publish("export.done", ids...)
	b.eventually(func() string {
		b.advance(20 * time.Minute)
		if len(good.all()) == 0 {
			return fmt.Sprintf("nobody was told of a pause: %+v", b.record("bad"))
		}
		return ""
	})
	b.eventually(func() string {
		if record := b.record("bad"); record.State(b.clock()) != "paused" {
			return fmt.Sprintf("%+v", record)
		}
		return ""
	})
	record := b.record("bad")
	if record.Reason != jobs.PauseFailing || record.PausedAt.Sub(*record.Since) < 12*time.Hour || record.RestUntil.Sub(*record.PausedAt) != 6*time.Hour {
		t.Errorf("%+v", record)
	}
	made := len(bad.all())
	more := numbered("f", 10)
	b.publish("export.done", more...)
	b.eventually(func() string { // it is asked once after six hours, and after six more
		b.advance(20 * time.Minute)
		well.Store(len(bad.all()) > made)
		if got := bad.ids(); got != strings.Join(slices.Concat(ids, more), " ") {
			return fmt.Sprintf("came: %s, %+v", got, b.record("bad"))
		}
		return ""
	})
	for _, sent := range bad.all()[made:] {
		if strings.HasPrefix(sent.id, "dlv_") {
			t.Errorf("it was told of its own pause")
		}
	}
	if n := strings.Count(b.logged(), "target is paused"); n != 1 {
		t.Errorf("%d pauses in the log", n)
	}
	if told := b.pauses(); len(told) != 1 || told[0].Target != "bad" || told[0].Failures < 5 || told[0].ResumesAt == nil || told[0].Host != bad.URL {
		t.Errorf("%+v", told)
	}
}

// 410 pauses at once and until somebody resumes, whatever was under way.
func TestGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	began := b.clock()
	rec := receive(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		if b.clock().Sub(began) < 100*time.Hour {
			w.WriteHeader(http.StatusGone)
		}
	})
	b.start(b.config(list(subscription("crm", rec.URL, `"concurrency":1`))), "crm")
	ids := numbered("e", 5)
	b.publish("export.done", ids...)
	b.eventually(func() string {
		if record := b.record("crm"); record.Reason != jobs.PauseGone || record.RestUntil != nil {
			return fmt.Sprintf("%+v", record)
		}
		return ""
	})
	b.advance(1000 * time.Hour)
	if n := len(rec.all()); n != 1 {
		t.Errorf("%d requests to a target that is gone", n)
	}
	if told := b.pauses(); len(told) != 1 || told[0].Reason != jobs.PauseGone || told[0].ResumesAt != nil || told[0].Failures != 1 {
		t.Errorf("%+v", told)
	}
	targets, err := queue.OpenStore[jobs.Webhook](b.queue, jobs.BucketWebhooks, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := targets.Modify(t.Context(), "crm", func(record *jobs.Webhook) error {
		record.Resume(b.clock())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.eventually(func() string {
		b.advance(time.Minute)
		if got := rec.ids(); got != strings.Join(ids, " ") {
			return "came: " + got
		}
		return ""
	})
}

// Who does not answer in time has failed, and the request is given up.
func TestTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	left := make(chan struct{})
	rec := receive(t, func(_ http.ResponseWriter, r *http.Request, number int) {
		if number == 1 {
			<-r.Context().Done()
			close(left)
		}
	})
	cfg := b.config(list(subscription("crm", rec.URL)))
	cfg.Timeout, cfg.Retries = 100*time.Millisecond, []time.Duration{time.Minute}
	b.start(cfg, "crm")
	b.publish("export.done", "e")
	<-left
	b.eventually(func() string {
		if log := b.attempts("crm"); len(log) != 1 || log[0].Error == "" || log[0].Status != 0 || log[0].Next == nil {
			return fmt.Sprintf("%+v", log)
		}
		return ""
	})
}

// Who waits for the rate is left to another worker when this one stops.
func TestRate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rec := receive(t, nil)
	stop := b.start(b.config(list(subscription("crm", rec.URL, `"rate":0.0001`))), "crm")
	b.publish("export.done", "a")
	b.arrived(rec, "a")
	b.publish("export.done", "b", "c")
	stop()
	if n := len(rec.all()); n != 1 {
		t.Errorf("%d requests within one of the rate", n)
	}
	b.start(b.config(list(subscription("crm", rec.URL))), "crm")
	b.arrived(rec, "a", "b", "c")
}
