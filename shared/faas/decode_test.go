package faas

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEventsAreToldApart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, tc := range []struct {
		name, payload string
		fc, lambda    *Event // nil: an invocation with the payload as it is
	}{
		{
			name: "FC timer", payload: `{"triggerTime":"2023-12-26T07:49:00Z","triggerName":"nightly","payload":"{\"name\":\"n\"}"}`,
			fc: &Event{Kind: KindTimer, Name: "nightly", ID: "nightly@2023-12-26T07:49:00Z", Time: at("2023-12-26T07:49:00Z"), Payload: json.RawMessage(`{"name":"n"}`)},
		},
		{
			name: "FC timer with a plain payload", payload: `{"triggerTime":"2023-12-26T07:49:00Z","triggerName":"nightly","payload":"tick"}`,
			fc: &Event{Kind: KindTimer, Name: "nightly", ID: "nightly@2023-12-26T07:49:00Z", Time: at("2023-12-26T07:49:00Z"), Payload: json.RawMessage(`"tick"`)},
		},
		{
			name: "FC timer without a payload", payload: `{"triggerTime":"soon","triggerName":"nightly"}`,
			fc: &Event{Kind: KindTimer, Name: "nightly", ID: "nightly@soon", Time: now, Payload: json.RawMessage(`null`)},
		},
		{
			name: "classic schedule", payload: `{"version":"0","id":"e1","detail-type":"Scheduled Event","source":"aws.events","account":"1","time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":["arn:aws:events:us-east-1:1:rule/nightly"],"detail":{}}`,
			lambda: &Event{Kind: KindSchedule, Name: "nightly", ID: "e1", Time: at("2026-01-02T03:04:05Z"), Payload: json.RawMessage(`{}`)},
		},
		{
			name: "EventBridge Scheduler in an envelope", payload: `{"source":"aws.scheduler","detail-type":"Scheduled Event","id":"attempt1","time":"2026-01-02T03:04:05Z","resources":["arn:aws:scheduler:us-east-1:1:schedule/default/nightly"],"detail":{"name":"n"}}`,
			lambda: &Event{Kind: KindSchedule, Name: "nightly", ID: "arn:aws:scheduler:us-east-1:1:schedule/default/nightly@2026-01-02T03:04:05Z", Time: at("2026-01-02T03:04:05Z"), Payload: json.RawMessage(`{"name":"n"}`)},
		},
		{
			name: "EventBridge", payload: `{"version":"0","id":"e2","detail-type":"order.paid","source":"shop","time":"2026-01-02T03:04:05Z","resources":[],"detail":{"path":"/v1/exports"}}`,
			lambda: &Event{Kind: KindBus, Name: "shop order.paid", ID: "e2", Time: at("2026-01-02T03:04:05Z"), Payload: json.RawMessage(`{"path":"/v1/exports"}`)},
		},
		{
			name: "CloudEvent", payload: `{"specversion":"1.0","id":"c1","source":"shop","type":"order.paid","time":"2026-01-02T03:04:05Z","data":{"a":1}}`,
			fc:     &Event{Kind: KindBus, Name: "shop order.paid", ID: "shop@c1", Time: at("2026-01-02T03:04:05Z"), Payload: json.RawMessage(`{"a":1}`)},
			lambda: &Event{Kind: KindBus, Name: "shop order.paid", ID: "shop@c1", Time: at("2026-01-02T03:04:05Z"), Payload: json.RawMessage(`{"a":1}`)},
		},
		{name: "direct invocation", payload: `{"method":"POST","path":"/v1/exports","headers":{},"body":{"name":"n"},"key":"k"}`},
		{name: "bare spec", payload: `{"name":"nightly","characters":["c"],"users":["u"],"format":"jsonl"}`},
		{name: "fields that mean something else", payload: `{"source":7,"time":{},"id":[],"type":1,"resources":"x"}`},
		{name: "a timer's fields of another type", payload: `{"triggerTime":1,"triggerName":"n"}`},
		{name: "no object", payload: `[1,2]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for platform, want := range map[string]*Event{"fc": tc.fc, "lambda": tc.lambda} {
				got := lambdaEventOf([]byte(tc.payload), "r1", now)
				if platform == "fc" {
					got = fcEventOf([]byte(tc.payload), "r1", 0, now)
				}
				if want == nil {
					want = &Event{Kind: KindInvoke, ID: "r1", Time: now, Payload: json.RawMessage(tc.payload)}
				}
				want.Attempt = 1
				if diff := cmp.Diff(*want, got); diff != "" {
					t.Errorf("%s:\n%s", platform, diff)
				}
				if got.Unattended() == (got.Kind == KindInvoke) {
					t.Errorf("%s: unattended %v", platform, got.Unattended())
				}
			}
		})
	}
}

func TestPayloadsThatAreNoJSON(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{"": "null", " \n": "null", "tick": `"tick"`, `{"a":`: `"{\"a\":"`, "\xff": `"\ufffd"`, " {} ": "{}"} {
		if got := string(fcEventOf([]byte(payload), "", 0, time.Time{}).Payload); got != want {
			t.Errorf("%q: %s, want %s", payload, got, want)
		}
	}
}

func FuzzEvents(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `tick`, `[]`,
		`{"triggerTime":"2023-12-26T07:49:00Z","triggerName":"n","payload":"{}"}`,
		`{"detail-type":"x","source":"aws.scheduler","time":"2023-12-26T07:49:00Z","resources":["a/b"],"detail":"\u0000"}`,
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data":"x"}`,
		`{"Records":[{"eventSource":"aws:sqs","messageId":"m","body":"{"}]}`,
		`{"version":"2.0","requestContext":{"http":{"method":"GET"}},"rawPath":"/%zz"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		now := time.Unix(0, 0)
		for _, event := range []Event{
			fcEventOf([]byte(payload), "id", -1, now),
			lambdaEventOf([]byte(payload), "id", now),
			record{Body: payload, SourceARN: payload, Attributes: map[string]string{"SentTimestamp": payload, "ApproximateReceiveCount": payload}}.event(now),
		} {
			if !json.Valid(event.Payload) || event.Kind == "" || event.Attempt < 1 || event.Time.IsZero() && !strings.Contains(payload, "0001") {
				t.Errorf("%q: %+v", payload, event)
			}
		}
		if r, err := requestOf(t.Context(), []byte(payload), "id"); err == nil && (r.URL.Path == "" || r.URL.Path[0] != '/' || r.RequestURI[0] != '/') {
			t.Errorf("%q: %q %q", payload, r.URL, r.RequestURI)
		}
	})
}
