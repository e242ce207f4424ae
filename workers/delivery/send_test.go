package delivery_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/google/go-cmp/cmp"
	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// What is sent is what was published, signed so that the reference library knows it by each
// of the secrets, and an event to the library of CloudEvents.
func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.advance(time.Since(b.clock())) // the reference library looks at the real clock
	rec := receive(t, nil)
	b.start(b.config(list(subscription("crm", rec.URL, `"secrets":["env:ANOTHER","`+secret+`"]`))), "crm")
	bodies := b.publish("export.done", "exp_1.1.done")
	b.arrived(rec, "exp_1~1~done")
	sent := rec.all()[0]
	if diff := cmp.Diff(string(bodies[0]), string(sent.body)); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{secret, another} {
		verifier, err := reference.NewWebhook(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(sent.body, sent.header); err != nil {
			t.Error(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(sent.body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = sent.header
	event, err := cloudevents.NewEventFromHTTPRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	if event.ID() != "exp_1.1.done" || event.Type() != "xinghe.export.done" || event.Source() != "/xinghe/test" ||
		event.Subject() != "thing" || event.DataContentType() != "application/json" || event.SpecVersion() != "1.0" {
		t.Errorf("the event: %s", event)
	}
	var data struct{ Said string }
	if err := event.DataAs(&data); err != nil || data.Said != "你好 <exp_1.1.done>" {
		t.Errorf("data: %+v, %v", data, err)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	exact, wide, all := receive(t, nil), receive(t, nil), receive(t, nil)
	b.start(b.config(list(
		subscription("exact", exact.URL, `"types":["export.done","xinghe.export.done"]`),
		subscription("wide", wide.URL, `"types":["export.*","export.done","image.failed"]`),
		subscription("all", all.URL),
	)), "exact", "wide", "all")
	b.publish("export.done", "1")
	b.publish("export.failed", "2")
	b.publish("image.failed", "3")
	b.publish("chat.completed", "4")
	b.arrived(all, "1", "2", "3", "4")
	b.arrived(wide, "1", "2", "3")
	b.arrived(exact, "1")
}

// Every attempt has the time and the signature of its own, and the id of the event.
func TestAttempts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rec := receive(t, func(w http.ResponseWriter, _ *http.Request, number int) {
		w.WriteHeader([]int{http.StatusInternalServerError, http.StatusFound, http.StatusOK}[number-1])
	})
	cfg := b.config(list(subscription("crm", rec.URL)))
	cfg.Retries = []time.Duration{time.Minute, time.Hour}
	b.start(cfg, "crm")
	began := b.clock()
	b.publish("export.done", "e")
	for attempt, wait := range []time.Duration{70 * time.Second, 70 * time.Minute, 0} {
		b.eventually(func() string {
			if n := len(b.attempts("crm")); n != attempt+1 {
				return strconv.Itoa(n) + " attempts"
			}
			return ""
		})
		b.advance(wait)
	}
	verifier, err := reference.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	signatures := map[string]bool{}
	for i, at := range []time.Duration{0, 70 * time.Second, 70*time.Second + 70*time.Minute} {
		sent := rec.all()[i]
		if want := strconv.FormatInt(began.Add(at).Unix(), 10); sent.id != "e" || sent.header.Get("webhook-timestamp") != want {
			t.Errorf("attempt %d: id %s, timestamp %s, want %s", i+1, sent.id, sent.header.Get("webhook-timestamp"), want)
		}
		if err := verifier.VerifyIgnoringTimestamp(sent.body, sent.header); err != nil {
			t.Error(err)
		}
		signatures[sent.header.Get("webhook-signature")] = true
	}
	if len(signatures) != 3 {
		t.Errorf("signatures: %v", signatures)
	}
	log := b.attempts("crm")
	for i := range log {
		if log[i].DurMs < 0 || (log[i].Next == nil) != (i == 2) {
			t.Errorf("%+v", log[i])
		}
		log[i].DurMs, log[i].Next = 0, nil
	}
	want := []jobs.DeliveryAttempt{
		{Target: "crm", EventID: "e", Type: "export.done", Attempt: 1, Time: began, Status: 500, Error: "answered 500 Internal Server Error"},
		{Target: "crm", EventID: "e", Type: "export.done", Attempt: 2, Time: began.Add(70 * time.Second), Status: 302, Error: "answered 302 Found"},
		{Target: "crm", EventID: "e", Type: "export.done", Attempt: 3, Time: began.Add(70*time.Second + 70*time.Minute), Status: 200},
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Error(diff)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	elsewhere := receive(t, nil)
	rec := receive(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	b.start(b.config(list(subscription("crm", rec.URL))), "crm")
	b.publish("export.done", "e")
	b.eventually(func() string {
		if log := b.attempts("crm"); len(log) != 1 || !strings.Contains(log[0].Error, "redirect") {
			return "no attempt that failed for a redirect"
		}
		return ""
	})
	if n := len(elsewhere.all()); n > 0 {
		t.Errorf("%d requests where the redirect points", n)
	}
}

// A name that leads to the inside of a network is refused when it is dialled.
func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rec := receive(t, nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(rec.URL, "http://"), ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	cfg := b.config(list(subscription("inside", "http://localhost")))
	cfg.Egress.Ports = []uint16{80, uint16(number)}
	b.start(cfg, "inside")
	b.publish("export.done", "e")
	b.eventually(func() string {
		if log := b.attempts("inside"); len(log) != 1 || !strings.HasPrefix(log[0].Error, "refused localhost") {
			return "not refused"
		}
		return ""
	})
}

func TestGivenUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rec := receive(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusBadRequest) })
	cfg := b.config(list(subscription("crm", rec.URL)))
	cfg.Retries = []time.Duration{time.Nanosecond, time.Nanosecond}
	b.start(cfg, "crm")
	b.publish("export.done", "e")
	b.eventually(func() string {
		b.advance(time.Second)
		if log := b.attempts("crm"); len(log) != 3 || log[2].Next != nil || log[2].Error == "" {
			return "not given up after three attempts"
		}
		return ""
	})
	b.publish("export.done", "f")
	b.arrived(rec, "e", "f")
}

// What is no event goes to the dead letters, and what follows it to the target.
func TestNoEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rec := receive(t, nil)
	b.start(b.config(list(subscription("crm", rec.URL))), "crm")
	for id, body := range map[string]string{"a": `[]`, "b": `{"id":"b"}`, "c": `{"id":"c","type":"xinghe.delivery.paused","data":[]}`} {
		if err := b.queue.PublishEvent(t.Context(), "xinghe.events.test", id, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for id, header := range map[string]map[string]string{
		"d": {jobs.HeaderDeliveryAttempts: "-1"}, "e": {jobs.HeaderDeliveryDue: "soon"},
	} {
		job := queue.Job{Subject: jobs.SubjectDelivery + "crm", ID: id, Data: []byte(`{"id":"x","type":"y"}`), Headers: header}
		if err := b.queue.Publish(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	b.publish("export.done", "good")
	b.arrived(rec, "good")
	b.eventually(func() string {
		var reasons []string
		for letter, err := range b.queue.DeadLetters(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			reasons = append(reasons, letter.Reason)
		}
		if len(reasons) != 5 {
			return strings.Join(reasons, "\n")
		}
		return ""
	})
}
