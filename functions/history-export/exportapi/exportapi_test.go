package exportapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"xinghe/functions/history-export/exportapi"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const spec = `{"name":"nightly","characters":["c1"],"users":["u1","u2"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`

func startNATS(t *testing.T) *server.Server {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	return srv
}

func setup(t *testing.T, conn queue.ConnConfig, timeout time.Duration) (*exportapi.API, http.Handler, *queue.Queue) {
	t.Helper()
	q, err := queue.Open(conn, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	api, err := exportapi.New(exportapi.Config{Queue: q, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := httpapi.ParseKeys("k")
	if err != nil {
		t.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys}, api.Routes()...)
	if err != nil {
		t.Fatal(err)
	}
	return api, handler, q
}

func do(handler http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer k")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestAcceptedIsDurable(t *testing.T) {
	t.Parallel()
	srv := startNATS(t)
	_, handler, q := setup(t, queue.ConnConfig{Options: []nats.Option{nats.InProcessServer(srv)}}, 10*time.Second)
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := do(handler, "POST", "/v1/exports", spec)
	var accepted, read jobs.Export
	if err := json.Unmarshal(w.Body.Bytes(), &accepted); err != nil || w.Code != http.StatusAccepted {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if accepted.State != jobs.StateQueued || accepted.Progress.Windows != 2 || accepted.Spec.Sink.Path != "nightly" || w.Header().Get("Location") != "/v1/exports/"+accepted.ID {
		t.Errorf("%+v, Location %q", accepted, w.Header().Get("Location"))
	}
	w = do(handler, "GET", "/v1/exports/"+accepted.ID, "")
	if err := json.Unmarshal(w.Body.Bytes(), &read); err != nil || w.Code != http.StatusOK || read.ID != accepted.ID {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := js.GetLastMsg(queue.StreamJobs, jobs.SubjectExport+accepted.ID)
	if err != nil || !json.Valid(stored.Data) {
		t.Errorf("the job is not in the stream: %v", err)
	}
}

func TestRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	srv := startNATS(t)
	_, handler, q := setup(t, queue.ConnConfig{Options: []nats.Option{nats.InProcessServer(srv)}}, 10*time.Second)
	// Nobody has made the streams: no worker has ever run.
	w := do(handler, "POST", "/v1/exports", spec)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "not accepted") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	exports, err := queue.OpenStore[jobs.Export](q, jobs.BucketExports, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for key, err := range exports.Keys(t.Context(), ">") {
		t.Errorf("a record is left: %s %v", key, err)
	}
}

func TestNATSDown(t *testing.T) {
	t.Parallel()
	_, handler, _ := setup(t, queue.ConnConfig{URL: "nats://127.0.0.1:9"}, 200*time.Millisecond)
	for _, w := range []*httptest.ResponseRecorder{
		do(handler, "POST", "/v1/exports", spec),
		do(handler, "GET", "/v1/exports/exp_1", ""),
	} {
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "NATS does not answer") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if w := do(handler, "POST", "/v1/exports", `{}`); w.Code != http.StatusBadRequest {
		t.Errorf("a bad spec is not refused without NATS: %d %s", w.Code, w.Body)
	}
}

func TestUnknownExport(t *testing.T) {
	t.Parallel()
	srv := startNATS(t)
	_, handler, _ := setup(t, queue.ConnConfig{Options: []nats.Option{nats.InProcessServer(srv)}}, 10*time.Second)
	for _, id := range []string{"exp_nope", "exp nope", "a%2F..%2Fb", "%00"} {
		if w := do(handler, "GET", "/v1/exports/"+strings.ReplaceAll(id, " ", "%20"), ""); w.Code != http.StatusNotFound {
			t.Errorf("%q: %d %s", id, w.Code, w.Body)
		}
	}
}

func TestEventStartsTheSameExport(t *testing.T) {
	t.Parallel()
	srv := startNATS(t)
	api, _, q := setup(t, queue.ConnConfig{Options: []nats.Option{nats.InProcessServer(srv)}}, 10*time.Second)
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer, err := api.Event(t.Context(), faas.Event{Kind: "timer", Name: "nightly", Payload: json.RawMessage(spec)})
	if err != nil || !strings.Contains(string(answer), `"state":"queued"`) {
		t.Errorf("%s %v", answer, err)
	}
	if _, err := api.Event(t.Context(), faas.Event{Kind: "timer", Name: "broken", Payload: json.RawMessage(`{"name":"x"}`)}); err == nil || !strings.Contains(err.Error(), "characters: missing") {
		t.Errorf("a bad payload: %v", err)
	}
}
