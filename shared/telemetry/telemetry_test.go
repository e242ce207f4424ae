package telemetry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
	"xinghe/shared/telemetry"
	"xinghe/shared/trace"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	parent  = trace.Parent("00-" + traceID + "-b7ad6b7169203331-01")
)

func scrape(t *testing.T, tele *telemetry.Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tele.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func expect(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
}

// collected is what a collector of spans was sent.
type collected struct {
	mu    sync.Mutex
	spans []span
}

type span struct {
	Service, Name, Trace, Outcome string
	Failed                        bool
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, one := range scope.GetSpans() {
				s := span{Service: resource.GetResource().GetAttributes()[0].GetValue().GetStringValue(), Name: one.GetName(), Failed: one.GetStatus().GetMessage() != ""}
				for _, b := range one.GetTraceId() {
					s.Trace += string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15])
				}
				for _, attribute := range one.GetAttributes() {
					if attribute.GetKey() == "xinghe.outcome" {
						s.Outcome = attribute.GetValue().GetStringValue()
					}
				}
				c.spans = append(c.spans, s)
			}
		}
	}
}

// Jobs are counted and become spans of the trace that they carry; what they publish belongs
// to it too.
func TestJobs(t *testing.T) {
	t.Parallel()
	var spans collected
	server := httptest.NewServer(&spans)
	t.Cleanup(server.Close)
	vars := env.New(func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL}[name]
	})
	tele, err := telemetry.New(t.Context(), telemetry.FromEnv(vars, "test"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.New(natstest.New(t).JetStream(), queue.Config{Observer: tele})
	if err != nil {
		t.Fatal(err)
	}
	tele.Watch(q)
	expect(t, scrape(t, tele), "xinghe_nats_up 1")
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for _, id := range []string{"good", "bad"} {
		if err := q.Publish(trace.With(ctx, parent), queue.Job{Subject: "xinghe.jobs.test." + id, ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	var carried []string
	err = q.Consume(ctx, queue.ConsumerConfig{Name: "tester", Subjects: []string{"xinghe.jobs.test.>"}}, func(ctx context.Context, job *queue.Delivery) error {
		carried = append(carried, trace.From(ctx).TraceID())
		if trace.From(ctx) == parent {
			t.Error("what the job does belongs to its caller's span instead of its own")
		}
		if job.ID == "bad" {
			stop()
			return queue.Discard(errors.New("no"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{traceID, traceID}, carried); diff != "" {
		t.Error(diff)
	}
	expect(t, scrape(t, tele),
		`xinghe_jobs_total{consumer="tester",outcome="dead"} 1`, `xinghe_jobs_total{consumer="tester",outcome="done"} 1`,
		`xinghe_jobs_running{consumer="tester"} 0`, `xinghe_job_duration_seconds_count{consumer="tester"} 2`,
	)
	if err := tele.Close(); err != nil {
		t.Error(err)
	}
	spans.mu.Lock()
	defer spans.mu.Unlock()
	want := []span{{"test", "tester", traceID, "done", false}, {"test", "tester", traceID, "dead", true}}
	if diff := cmp.Diff(want, spans.spans); diff != "" {
		t.Error(diff)
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	srv := natstest.New(t)
	q, err := queue.New(srv.JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.Publish(t.Context(), queue.Job{Subject: "xinghe.jobs.test.1", ID: "1"}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	err = q.Consume(ctx, queue.ConsumerConfig{Name: "tester", Subjects: []string{"xinghe.jobs.test.>"}}, func(context.Context, *queue.Delivery) error {
		tele, err := telemetry.New(t.Context(), telemetry.Config{})
		if err != nil {
			t.Error(err)
			return nil
		}
		tele.Watch(q)
		expect(t, scrape(t, tele), "xinghe_nats_up 1", `xinghe_stream_messages{stream="XINGHE_JOBS"} 1`, `xinghe_stream_messages{stream="XINGHE_DEAD"} 0`,
			`xinghe_consumer_waiting{consumer="tester",stream="XINGHE_JOBS"} 0`, `xinghe_consumer_unacknowledged{consumer="tester",stream="XINGHE_JOBS"} 1`)
		stop()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Stop()
	tele, err := telemetry.New(t.Context(), telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tele.Watch(q)
	if text := scrape(t, tele); strings.Contains(text, "xinghe_stream_messages{") {
		t.Errorf("tells of streams while NATS is away:\n%s", text)
	} else {
		expect(t, text, "xinghe_nats_up 0")
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	tele, err := telemetry.New(t.Context(), telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tele.Request(httpapi.Observation{Route: "GET /v1/things/{id}", Status: http.StatusOK, Took: 5 * time.Millisecond})
	}
	tele.Request(httpapi.Observation{Status: http.StatusNotFound})
	expect(t, scrape(t, tele), `xinghe_requests_total{route="GET /v1/things/{id}",status="200"} 3`, `xinghe_requests_total{route="none",status="404"} 1`,
		`xinghe_request_duration_seconds_bucket{route="GET /v1/things/{id}",le="0.016"} 3`)
}
