package exportapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/functions/history-export/exportapi"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

const spec = `{"name":"nightly","characters":["c1"],"users":["u1","u2"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`

// patience is how long something may take that will come for sure.
const patience = 20 * time.Second

// bundle is the surface over a NATS of its own, and the stores in which a worker works.
type bundle struct {
	t       *testing.T
	api     *exportapi.API
	handler http.Handler
	q       *queue.Queue
	nats    *natstest.Server
	files   string
	exports *queue.Store[jobs.Export]
	live    *queue.Store[jobs.Live]
	marks   *queue.Store[jobs.Mark]

	mu  sync.Mutex
	now time.Time
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := setupBare(t)
	if err := b.q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// setupBare is setup without the streams: no worker has ever run.
func setupBare(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, nats: natstest.New(t), files: t.TempDir(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var err error
	b.q, err = queue.New(b.nats.JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	to, err := sink.NewFolder(b.files)
	if err != nil {
		t.Fatal(err)
	}
	b.serve(to)
	b.exports = store[jobs.Export](t, b.q, jobs.BucketExports)
	b.live = store[jobs.Live](t, b.q, jobs.BucketLive)
	b.marks = store[jobs.Mark](t, b.q, jobs.BucketMarks)
	return b
}

// serve puts the surface over a sink.
func (b *bundle) serve(to sink.Sink) {
	b.t.Helper()
	var err error
	b.api, err = exportapi.New(exportapi.Config{Queue: b.q, Sink: to, Timeout: patience, Heartbeat: 20 * time.Millisecond, Now: b.clock})
	if err != nil {
		b.t.Fatal(err)
	}
	b.handler = serve(b.t, b.api, zerolog.Nop())
}

func serve(t *testing.T, api *exportapi.API, log zerolog.Logger) http.Handler {
	t.Helper()
	keys, err := httpapi.ParseKeys("k")
	if err != nil {
		t.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys, Logger: log}, api.Routes()...)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func store[T any](t *testing.T, q *queue.Queue, bucket string) *queue.Store[T] {
	t.Helper()
	s, err := queue.OpenStore[T](q, bucket, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *bundle) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bundle) pass(span time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(span)
}

func do(handler http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer k")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// answered makes a request that must be answered with a status, and decodes the export.
func (b *bundle) answered(status int, method, path, body string) jobs.Export {
	b.t.Helper()
	w := do(b.handler, method, path, body)
	var export jobs.Export
	if err := json.Unmarshal(w.Body.Bytes(), &export); err != nil || w.Code != status {
		b.t.Fatalf("%s %s: %d %s %v, want %d", method, path, w.Code, w.Body, err, status)
	}
	return export
}

// started starts an export of a name.
func (b *bundle) started(name string) jobs.Export {
	b.t.Helper()
	return b.answered(http.StatusAccepted, "POST", "/v1/exports", strings.Replace(spec, "nightly", name, 1))
}

// refused makes a request that must be refused in words.
func (b *bundle) refused(status int, method, path, body string, words ...string) {
	b.t.Helper()
	w := do(b.handler, method, path, body)
	if w.Code != status {
		b.t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	for _, word := range words {
		if !strings.Contains(w.Body.String(), word) {
			b.t.Errorf("%s %s: no %s in %s", method, path, word, w.Body)
		}
	}
}

// becomes changes an export's record as its worker does.
func (b *bundle) becomes(id string, change func(*jobs.Export)) uint64 {
	b.t.Helper()
	entry, err := b.exports.Modify(b.t.Context(), id, func(e *jobs.Export) error {
		change(e)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return entry.Revision
}

// ends brings an export to an end, and leaves its claim behind.
func (b *bundle) ends(id string, state jobs.State) uint64 {
	b.t.Helper()
	now := b.clock()
	return b.becomes(id, func(e *jobs.Export) { e.State, e.FinishedAt = state, &now })
}

// jobsOf are the ids of an export's jobs that wait.
func (b *bundle) jobsOf(id string) []string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	stream, err := b.nats.JetStream().Stream(ctx, queue.StreamJobs)
	if err != nil {
		b.t.Fatal(err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for sequence := info.State.FirstSeq; sequence <= info.State.LastSeq; sequence++ {
		msg, err := stream.GetMsg(ctx, sequence)
		if err != nil {
			b.t.Fatal(err)
		}
		if msg.Subject == jobs.SubjectExport+id {
			ids = append(ids, msg.Header.Get("Nats-Msg-Id"))
		}
	}
	return ids
}

func TestAcceptedIsDurable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := do(b.handler, "POST", "/v1/exports", spec)
	var accepted jobs.Export
	if err := json.Unmarshal(w.Body.Bytes(), &accepted); err != nil || w.Code != http.StatusAccepted {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if accepted.State != jobs.StateQueued || accepted.Round != 1 || accepted.Progress.Windows != 2 ||
		accepted.Spec.Sink != (jobs.Sink{Type: "folder", Path: "nightly"}) || w.Header().Get("Location") != "/v1/exports/"+accepted.ID {
		t.Errorf("%+v, Location %q", accepted, w.Header().Get("Location"))
	}
	if diff := cmp.Diff(accepted, b.answered(http.StatusOK, "GET", "/v1/exports/"+accepted.ID, "")); diff != "" {
		t.Errorf("read is not what was accepted:\n%s", diff)
	}
	if diff := cmp.Diff([]string{accepted.ID + ".1"}, b.jobsOf(accepted.ID)); diff != "" {
		t.Errorf("jobs in the stream:\n%s", diff)
	}
	claim, err := b.live.Get(t.Context(), "nightly")
	if want := (jobs.Live{ExportID: accepted.ID, Round: 1, Since: b.clock()}); err != nil || claim.Value != want {
		t.Errorf("claim %+v %v, want %+v", claim.Value, err, want)
	}
}

func TestRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setupBare(t)
	w := do(b.handler, "POST", "/v1/exports", spec)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "not accepted") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for key, err := range b.exports.Keys(t.Context(), ">") {
		t.Errorf("a record is left: %s %v", key, err)
	}
	if claim, err := b.live.Get(t.Context(), "nightly"); err != nil || claim.Value.ExportID != "" {
		t.Errorf("a claim is left: %+v %v", claim.Value, err)
	}
	// As soon as there is a worker the name is free.
	if err := b.q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.started("nightly")
}

func TestBadSpecs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tc := range []struct {
		name, body string
		words      []string
	}{
		{"nothing", `{}`, []string{`"field":"name"`, `"field":"characters"`, `"field":"users"`, `"field":"from"`}},
		{"not JSON", `{oops`, []string{"invalid_json"}},
		{"an unknown field", strings.Replace(spec, `"name"`, `"nam"`, 1), []string{`"field":"nam"`}},
		{"a sink that is not ours", strings.Replace(spec, `"name"`, `"sink":{"type":"s3"},"name"`, 1), []string{`"field":"sink.type"`, `writes to \"folder\"`}},
		{
			"a watermark without a value", `{"name":"n","characters":"my","users":"directory","watermark":{"name":"w"}}`,
			[]string{`"field":"from"`, `the watermark \"w\" has no value yet`},
		},
		{"too large for a job", strings.Replace(spec, `"u1"`, manyUsers(), 1), []string{`"field":"users"`, "too large"}},
	} {
		t.Log(tc.name)
		b.refused(http.StatusBadRequest, "POST", "/v1/exports", tc.body, tc.words...)
	}
	// What was refused has claimed nothing.
	b.started("nightly")
}

// manyUsers are ids, as JSON has them, that fill more than a job holds.
func manyUsers() string {
	ids := make([]string, 12_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%q", fmt.Sprintf("%0100d", i))
	}
	return strings.Join(ids, ",")
}

func TestWatermarkWithAValue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const body = `{"name":"n","characters":"my","users":"directory","watermark":{"name":"w"}}`
	first := strings.Replace(body, `"watermark"`, `"from":"2024-05-01T00:00:00Z","watermark"`, 1)
	if e := b.answered(http.StatusAccepted, "POST", "/v1/exports", first); e.Progress.Windows != 0 || e.Spec.Watermark.Lag != jobs.DefaultLag {
		t.Errorf("%+v", e)
	}
	if _, err := b.marks.Put(t.Context(), "w", jobs.Mark{To: b.clock()}); err != nil {
		t.Fatal(err)
	}
	b.answered(http.StatusAccepted, "POST", "/v1/exports", strings.Replace(body, `"n"`, `"m"`, 1))
}

func TestNameIsLiveOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.started("nightly")
	b.refused(http.StatusConflict, "POST", "/v1/exports", spec, `"code":"conflict"`, first.ID, `"field":"name"`)
	b.started("weekly")
	// Its end frees the name, whether or not the worker came to give the claim back.
	b.ends(first.ID, jobs.StateDone)
	second := b.started("nightly")
	b.refused(http.StatusConflict, "POST", "/v1/exports", spec, second.ID)
}

func TestManyAtOnceAreOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ended := b.started("nightly")
	b.ends(ended.ID, jobs.StateFailed)
	codes := make(chan int, 16)
	for i := range cap(codes) {
		go func() {
			if i%4 == 0 {
				codes <- do(b.handler, "POST", "/v1/exports/"+ended.ID+"/resume", "").Code
				return
			}
			codes <- do(b.handler, "POST", "/v1/exports", spec).Code
		}()
	}
	counts := map[int]int{}
	for range cap(codes) {
		counts[<-codes]++
	}
	if diff := cmp.Diff(map[int]int{http.StatusAccepted: 1, http.StatusConflict: 15}, counts); diff != "" {
		t.Error(diff)
	}
}

func TestClaimWithoutARecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// Somebody has claimed the name and died before the record was written.
	if _, err := b.live.Create(t.Context(), "nightly", jobs.Live{ExportID: "exp_gone", Round: 1, Since: b.clock()}); err != nil {
		t.Fatal(err)
	}
	b.refused(http.StatusConflict, "POST", "/v1/exports", spec, "exp_gone")
	b.pass(jobs.MaxClaim)
	b.started("nightly")
}

func TestClaimOfAResumeUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.started("nightly")
	b.ends(e.ID, jobs.StateFailed)
	// Somebody is about to resume it: the name is claimed, the record not yet written.
	if _, err := b.live.Put(t.Context(), "nightly", jobs.Live{ExportID: e.ID, Round: 2, Since: b.clock()}); err != nil {
		t.Fatal(err)
	}
	b.refused(http.StatusConflict, "POST", "/v1/exports", spec, e.ID)
	b.refused(http.StatusConflict, "POST", "/v1/exports/"+e.ID+"/resume", "", e.ID)
	b.pass(jobs.MaxClaim)
	b.started("nightly")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.started("nightly")
	asked := b.clock()
	if got := b.answered(http.StatusAccepted, "POST", "/v1/exports/"+e.ID+"/cancel", ""); got.CancelledAt == nil || !got.CancelledAt.Equal(asked) || got.State != jobs.StateQueued {
		t.Errorf("%+v", got)
	}
	b.pass(time.Minute)
	if got := b.answered(http.StatusAccepted, "POST", "/v1/exports/"+e.ID+"/cancel", ""); !got.CancelledAt.Equal(asked) {
		t.Errorf("asked again: %+v", got)
	}
	b.ends(e.ID, jobs.StateCancelled)
	b.refused(http.StatusConflict, "POST", "/v1/exports/"+e.ID+"/cancel", "", "is cancelled")
	b.refused(http.StatusNotFound, "POST", "/v1/exports/exp_none/cancel", "", "exp_none")
}

func TestResume(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.started("nightly")
	path := "/v1/exports/" + e.ID + "/resume"
	b.refused(http.StatusConflict, "POST", path, "", "is queued")
	reason := "the disk is full"
	b.becomes(e.ID, func(e *jobs.Export) { e.Error, e.CancelledAt, e.Progress.WindowsDone = &reason, &e.CreatedAt, 1 })
	b.ends(e.ID, jobs.StateFailed)
	got := b.answered(http.StatusAccepted, "POST", path, "")
	if got.State != jobs.StateQueued || got.Round != 2 || got.Error != nil || got.CancelledAt != nil || got.FinishedAt != nil || got.Progress.WindowsDone != 1 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{e.ID + ".1", e.ID + ".2"}, b.jobsOf(e.ID)); diff != "" {
		t.Errorf("jobs:\n%s", diff)
	}
	b.refused(http.StatusConflict, "POST", path, "", "is queued")
	b.refused(http.StatusConflict, "POST", "/v1/exports", spec, e.ID)

	b.ends(e.ID, jobs.StatePartial)
	other := b.started("nightly")
	b.refused(http.StatusConflict, "POST", path, "", other.ID)
	b.ends(other.ID, jobs.StateDone)
	b.refused(http.StatusConflict, "POST", "/v1/exports/"+other.ID+"/resume", "", "nothing is missing")
	b.answered(http.StatusAccepted, "POST", path, "")
	b.refused(http.StatusNotFound, "POST", "/v1/exports/exp_none/resume", "", "exp_none")
}

func TestResumeThatIsNotAcceptedChangesNothingButTheRound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.started("nightly")
	b.ends(e.ID, jobs.StateFailed)
	if err := b.nats.JetStream().DeleteStream(t.Context(), queue.StreamJobs); err != nil {
		t.Fatal(err)
	}
	b.refused(http.StatusServiceUnavailable, "POST", "/v1/exports/"+e.ID+"/resume", "", "not accepted")
	if got := b.answered(http.StatusOK, "GET", "/v1/exports/"+e.ID, ""); got.State != jobs.StateFailed || got.FinishedAt == nil || got.Round != 2 {
		t.Errorf("%+v", got)
	}
	if err := b.q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.answered(http.StatusAccepted, "POST", "/v1/exports/"+e.ID+"/resume", ""); got.Round != 3 {
		t.Errorf("%+v", got)
	}
}

func TestNATSDown(t *testing.T) {
	t.Parallel()
	q, err := queue.Open(queue.ConnConfig{URL: "nats://127.0.0.1:9"}, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	to, err := sink.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	api, err := exportapi.New(exportapi.Config{Queue: q, Sink: to, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	handler := serve(t, api, zerolog.Nop())
	for _, route := range []string{
		"POST /v1/exports", "GET /v1/exports", "GET /v1/exports/exp_1", "GET /v1/exports/exp_1/events", "POST /v1/exports/exp_1/cancel",
		"POST /v1/exports/exp_1/resume", "GET /v1/exports/exp_1/files/manifest.json",
	} {
		method, path, _ := strings.Cut(route, " ")
		if w := do(handler, method, path, spec); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "NATS does not answer") {
			t.Errorf("%s: %d %s", route, w.Code, w.Body)
		}
	}
	if w := do(handler, "POST", "/v1/exports", `{}`); w.Code != http.StatusBadRequest {
		t.Errorf("a bad spec is not refused without NATS: %d %s", w.Code, w.Body)
	}
}

func TestUnknownExport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"exp_nope", "exp nope", "a%2F..%2Fb", "%00", "%2A", "%3E"} {
		b.refused(http.StatusNotFound, "GET", "/v1/exports/"+strings.ReplaceAll(id, " ", "%20"), "", `"not_found"`)
		b.refused(http.StatusNotFound, "GET", "/v1/exports/"+strings.ReplaceAll(id, " ", "%20")+"/events", "", `"not_found"`)
	}
}

func TestEventStartsTheSameExport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	timer := faas.Event{Kind: faas.KindTimer, Name: "nightly", ID: "nightly@1", Time: time.UnixMilli(1795248000000), Payload: json.RawMessage(spec)}
	started := func(event faas.Event) string {
		t.Helper()
		answer, err := b.api.Event(t.Context(), event)
		var export jobs.Export
		if err == nil {
			err = json.Unmarshal(answer, &export)
		}
		if err != nil || export.State != jobs.StateQueued {
			t.Fatalf("%s %v", answer, err)
		}
		return export.ID
	}
	id := started(timer)
	if parsed, err := ulid.Parse(strings.TrimPrefix(id, "exp_")); err != nil || !parsed.Timestamp().Equal(timer.Time) {
		t.Errorf("id %s does not begin with the event's time: %v", id, err)
	}
	// The platform may call twice for one tick.
	again := timer
	again.Attempt = 2
	if got := started(again); got != id {
		t.Errorf("the same tick started %s and %s", id, got)
	}
	// Another tick, and an invocation, are about something else: the name is taken.
	for _, other := range []faas.Event{
		{Kind: faas.KindTimer, Name: "nightly", ID: "nightly@2", Time: timer.Time, Payload: timer.Payload},
		{Kind: faas.KindInvoke, Name: "nightly", ID: "nightly@1", Time: timer.Time, Payload: timer.Payload},
	} {
		_, err := b.api.Event(t.Context(), other)
		if refusal, ok := errors.AsType[*httpapi.Error](err); !ok || refusal.Status != http.StatusConflict || !strings.Contains(err.Error(), "conflict: name: ") {
			t.Errorf("%s %s: %v", other.Kind, other.ID, err)
		}
	}
	if _, err := b.api.Event(t.Context(), faas.Event{Kind: faas.KindTimer, Name: "broken", Payload: json.RawMessage(`{"name":"x"}`)}); err == nil || !strings.Contains(err.Error(), "characters: missing") {
		t.Errorf("a bad payload: %v", err)
	}
}

// put writes a file of an export as its worker does.
func (b *bundle) put(name, text string) {
	b.t.Helper()
	place := filepath.Join(b.files, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(place), 0o750); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(place, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}
