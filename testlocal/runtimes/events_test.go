package runtimes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/faas"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	batch := decode[struct{ Records []sqsRecord }](t, string(SQS("jobs", 2, "a", "b")))
	if len(batch.Records) != 2 || batch.Records[1].Body != "b" || batch.Records[0].Attributes["ApproximateReceiveCount"] != "2" ||
		batch.Records[0].MD5OfBody != "0cc175b9c0f1b6a831c399e269772661" || !strings.HasSuffix(batch.Records[0].EventSourceARN, ":jobs") {
		t.Errorf("%+v", batch)
	}
	event := decode[map[string]any](t, string(EventBridge("1", "aws.events", "Scheduled Event", at, json.RawMessage(`{"a":1}`))))
	if event["detail-type"] != "Scheduled Event" || event["time"] != "2026-01-02T03:04:05Z" || event["id"] != "1" {
		t.Errorf("%v", event)
	}
}

// told is what the probe answers to an event.
type told struct {
	Kind, Name string
	Attempt    int
	Payload    json.RawMessage
}

// TestEventSources holds that functions get what the platforms' sources send.
func TestEventSources(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tc := range []struct {
		entry   string
		payload []byte
		attempt int
		want    told
	}{
		{faas.EntryFCWeb, Timer("nightly", now, `{"a":1}`), 2, told{faas.KindTimer, "nightly", 2, json.RawMessage(`{"a":1}`)}},
		{faas.EntryFCEvent, Timer("nightly", now, `{"a":1}`), 2, told{faas.KindTimer, "nightly", 2, json.RawMessage(`{"a":1}`)}},
		{faas.EntryFCWeb, []byte(`{"a":1}`), 1, told{faas.KindInvoke, "", 1, json.RawMessage(`{"a":1}`)}},
		{faas.EntryFCEvent, []byte(`{"a":1}`), 1, told{faas.KindInvoke, "", 1, json.RawMessage(`{"a":1}`)}},
		{faas.EntryLambdaEvent, []byte(`{"a":1}`), 1, told{faas.KindInvoke, "", 1, json.RawMessage(`{"a":1}`)}},
		{faas.EntryLambdaURL, EventBridge("7", "my.app", "Done", now, json.RawMessage(`{"a":1}`)), 1, told{faas.KindBus, "my.app Done", 1, json.RawMessage(`{"a":1}`)}},
		{faas.EntryLambdaEvent, EventBridge("7", "my.app", "Done", now, json.RawMessage(`{"a":1}`)), 1, told{faas.KindBus, "my.app Done", 1, json.RawMessage(`{"a":1}`)}},
	} {
		h := newProbe(t, tc.entry, nil)
		result, err := h.fn.Invoke(t.Context(), Event{Payload: tc.payload, Attempt: tc.attempt})
		if err != nil || result.ErrorType != "" {
			t.Errorf("%s, %s: %+v %v", tc.entry, tc.payload, result, err)
			continue
		}
		if diff := cmp.Diff(tc.want, decode[told](t, string(result.Payload))); diff != "" {
			t.Errorf("%s, %s: %s", tc.entry, tc.payload, diff)
		}
	}
}

// TestQueueBatch holds that only what failed is delivered again.
func TestQueueBatch(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{faas.EntryLambdaURL, faas.EntryLambdaEvent} {
		h := newProbe(t, entry, nil)
		payload := SQS("jobs", 1, `{}`, `{"do":"fail"}`, `{"do":"panic"}`, `{}`)
		result, err := h.fn.Invoke(t.Context(), Event{Payload: payload})
		if err != nil || result.ErrorType != "" {
			t.Fatalf("%s: %+v %v", entry, result, err)
		}
		sent := decode[struct{ Records []sqsRecord }](t, string(payload)).Records
		want := fmt.Sprintf(`{"batchItemFailures":[{"itemIdentifier":%q},{"itemIdentifier":%q}]}`, sent[1].MessageID, sent[2].MessageID)
		if string(result.Payload) != want {
			t.Errorf("%s: %s, want %s", entry, result.Payload, want)
		}
	}
}

// TestSchedule holds that the history-export function, called by a timer or a schedule, has
// its job stored before it answers.
func TestSchedule(t *testing.T) {
	t.Parallel()
	const spec = `{"name":"nightly","characters":["c"],"users":["u"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`
	for entry, payload := range map[string][]byte{
		faas.EntryFCWeb:       Timer("nightly", time.Now(), spec),
		faas.EntryFCEvent:     Timer("nightly", time.Now(), spec),
		faas.EntryLambdaURL:   []byte(spec), // as EventBridge Scheduler sends its input
		faas.EntryLambdaEvent: []byte(spec),
	} {
		t.Run(entry, func(t *testing.T) {
			t.Parallel()
			broker := natstest.Listen(t, "", "")
			ensure(t, broker)
			h := newHost(t, entry, program(t, "history-export"), nil,
				"NATS_URL="+broker.URL(), "XINGHE_API_KEYS=k", "XINGHE_SINK=folder:"+t.TempDir())
			result, err := h.fn.Invoke(t.Context(), Event{Payload: payload})
			if err != nil || result.ErrorType != "" {
				t.Fatalf("%+v %v", result, err)
			}
			if e := decode[jobs.Export](t, string(result.Payload)); e.State != jobs.StateQueued {
				t.Errorf("%s", result.Payload)
			}
			if kept := stored(t, broker); kept != 1 {
				t.Errorf("%d jobs are stored", kept)
			}
		})
	}
}

// stored is how many exports wait to be planned.
func stored(t *testing.T, broker *natstest.Server) int {
	t.Helper()
	stream, err := broker.JetStream().Stream(t.Context(), queue.StreamJobs)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(jobs.SubjectExport+">"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, n := range info.State.Subjects {
		count += int(n)
	}
	return count
}
