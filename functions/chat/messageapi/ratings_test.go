package messageapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/functions/chat/messageapi"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

var ratedAt = time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)

// ratingDesk is a surface for ratings over a queue of its own, and the worker's side of it.
type ratingDesk struct {
	t       *testing.T
	nats    *natstest.Server
	queue   *queue.Queue
	handler http.Handler
	rows    *queue.Store[jobs.RatingChunk]
	results *queue.Store[jobs.RatingResult]
}

func setupRatings(t *testing.T) *ratingDesk {
	t.Helper()
	d := &ratingDesk{t: t, nats: natstest.New(t)}
	js, err := jetstream.New(d.nats.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if d.queue, err = queue.New(js, queue.Config{}); err != nil {
		t.Fatal(err)
	}
	if err := d.queue.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.handler = d.serve(20 * time.Second)
	bucket := queue.StoreConfig{TTL: jobs.RatingRetention}
	if d.rows, err = queue.OpenStore[jobs.RatingChunk](d.queue, jobs.BucketRatings, bucket); err != nil {
		t.Fatal(err)
	}
	if d.results, err = queue.OpenStore[jobs.RatingResult](d.queue, jobs.BucketRatings, bucket); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *ratingDesk) serve(timeout time.Duration) http.Handler {
	d.t.Helper()
	api, err := messageapi.New(messageapi.Config{Queue: d.queue, Timeout: timeout, Now: func() time.Time { return ratedAt }})
	if err != nil {
		d.t.Fatal(err)
	}
	keys, err := httpapi.ParseKeys("k")
	if err != nil {
		d.t.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys}, api.Routes()...)
	if err != nil {
		d.t.Fatal(err)
	}
	return handler
}

// call makes a request; header is pairs of a name and a value.
func (d *ratingDesk) call(method, path, body string, header ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	req := httptest.NewRequestWithContext(d.t.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer k")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, req)
	return w
}

// tasks are the jobs that wait, whatever their number, which must be count.
func (d *ratingDesk) tasks(count int) []jobs.RatingTask {
	d.t.Helper()
	ctx, stop := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer stop()
	var tasks []jobs.RatingTask
	err := d.queue.Consume(ctx, queue.ConsumerConfig{Name: "rating", Subjects: []string{jobs.SubjectRating + ">"}}, func(_ context.Context, job *queue.Delivery) error {
		var task jobs.RatingTask
		if err := json.Unmarshal(job.Data, &task); err != nil || job.Subject != jobs.SubjectRating+task.Key() {
			d.t.Errorf("task %s: %s, %v", job.Subject, job.Data, err)
		}
		if tasks = append(tasks, task); len(tasks) == count {
			stop()
		}
		return nil
	})
	if err != nil || len(tasks) != count {
		d.t.Fatalf("%d tasks, want %d; %v", len(tasks), count, err)
	}
	return tasks
}

func into[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(w.Body.Bytes(), &value); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return value
}

type fault struct {
	Row     int
	Field   string
	Message string
}

type taken struct {
	ID                      string
	Accepted, RejectedCount int
	Rejected                []fault
	DryRun                  bool
}

func TestRatingsAreTaken(t *testing.T) {
	t.Parallel()
	const csv, ndjson = "text/csv; charset=utf-8", "application/x-ndjson"
	two := []jobs.RatingRow{{Row: 0, MessageID: "a", Rating: 5}, {Row: 1, MessageID: "b", Rating: -1, Info: "错, \"了\"\n"}}
	for _, tc := range []struct {
		name, kind, body string
		rows             []jobs.RatingRow
		rejected         []fault
	}{
		{"list", "application/json", `[{"messageId":"a","rating":5,"info":""},{"messageId":"b","rating":-1,"info":"错, \"了\"\n"}]`, two, nil},
		{"object", "", ` {"messageId":"a","rating":5}`, two[:1], nil},
		{"as curl sends it", "application/x-www-form-urlencoded", `{"messageId":"a","rating":5}`, two[:1], nil},
		{"lines", ndjson, "{\"messageId\":\"a\",\"rating\":5}\r\n\n" + `{"messageId":"b","rating":-1,"info":"错, \"了\"\n"}`, two, nil},
		{"CSV", csv, "messageId,rating,info\na,5,\nb,-1,\"错, \"\"了\"\"\n\"\n", two, nil},
		{"CSV from a spreadsheet", csv, "\ufeffinfo,rating,messageId\r\n,5,a\r\n\"错, \"\"了\"\"\n\", -1 ,b\r\n", two, nil},
		{"CSV without info", csv, "rating,messageId\n5,a", two[:1], nil},
		{"superseded in itself", "", `[{"messageId":"a","rating":1},{"messageId":"b","rating":2},{"messageId":"a","rating":3}]`, []jobs.RatingRow{
			{Row: 0, MessageID: "a", Rating: 1, SupersededBy: new(2)}, {Row: 1, MessageID: "b", Rating: 2}, {Row: 2, MessageID: "a", Rating: 3},
		}, nil},
		{
			"rows with faults", "", `[{"rating":5},{"messageId":"a","rating":6},{"messageId":"a"},{"messageId":"a","rating":"5"},{"messageId":"a","rating":4.5},{"messageId":"a","rating":5,"x":1},null,7,{"messageId":"a","rating":5},{"messageId":"a\u0000","rating":-2,"info":"` + strings.Repeat("长", 1001) + `"}]`,
			[]jobs.RatingRow{{Row: 8, MessageID: "a", Rating: 5}},
			[]fault{
				{0, "messageId", "missing"},
				{1, "rating", "must be a whole number from -1 to 5"},
				{2, "rating", "missing"},
				{3, "rating", "want a whole number"},
				{4, "rating", "want a whole number, not 4.5"},
				{5, "x", "is not a known field"},
				{6, "row", "is no JSON object"},
				{7, "row", "want an object"},
				{9, "messageId", "holds what cannot be printed"},
				{9, "rating", "must be a whole number from -1 to 5"},
				{9, "info", "longer than 1000 characters"},
			},
		},
		{
			"rows with several faults", "", `[{"messageId":7,"rating":"a","foo":1},{"foo":1,"info":7},{"messageId":"a","rating":6,"bar":1,"foo":1},{"messageId":"a","rating":5}]`,
			[]jobs.RatingRow{{Row: 3, MessageID: "a", Rating: 5}},
			[]fault{
				{0, "foo", "is not a known field"},
				{0, "messageId", "want a text"},
				{0, "rating", "want a whole number"},
				{1, "foo", "is not a known field"},
				{1, "info", "want a text"},
				{1, "rating", "missing"},
				{1, "messageId", "missing"},
				{2, "bar", "is not a known field"},
				{2, "foo", "is not a known field"},
				{2, "rating", "must be a whole number from -1 to 5"},
			},
		},
		{
			"a row with very many", "", `[{"messageId":"a","rating":5,` + unknown(60) + `},{"messageId":"a","rating":5}]`,
			[]jobs.RatingRow{{Row: 1, MessageID: "a", Rating: 5}},
			[]fault{
				{0, "x10", "is not a known field"},
				{0, "x11", "is not a known field"},
				{0, "x12", "is not a known field"},
				{0, "x13", "is not a known field"},
				{0, "x14", "is not a known field"},
				{0, "x15", "is not a known field"},
				{0, "x16", "is not a known field"},
				{0, "x17", "is not a known field"},
				{0, "x18", "is not a known field"},
				{0, "x19", "is not a known field"},
			},
		},
		{
			"lines with faults", ndjson, "{\n" + `{"messageId":"a","rating":5}` + "\n" + `{"messageId":"a","rating":5} {}`,
			[]jobs.RatingRow{{Row: 1, MessageID: "a", Rating: 5}},
			[]fault{
				{0, "row", "the JSON document ends too early"}, {2, "row", "more follows the JSON document at byte 30"},
			},
		},
		{
			"CSV with faults", csv, "messageId,rating\na,\n" + strings.Repeat("a", 129) + ",5\na\na,five\na,5\na,5,6\n",
			[]jobs.RatingRow{{Row: 4, MessageID: "a", Rating: 5}},
			[]fault{
				{0, "rating", "missing"},
				{1, "messageId", "longer than 128 bytes"},
				{2, "row", "has 1 columns, the header 2"},
				{3, "rating", "must be a whole number from -1 to 5"},
				{5, "row", "has 3 columns, the header 2"},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := setupRatings(t)
			w := d.call(http.MethodPost, "/v1/ratings", tc.body, "Content-Type", tc.kind)
			got := into[taken](t, w)
			if w.Code != http.StatusAccepted || got.Accepted != len(tc.rows) || !strings.HasPrefix(got.ID, "rat_") || w.Header().Get("Location") != "/v1/ratings/"+got.ID {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if diff := cmp.Diff(tc.rejected, got.Rejected); len(tc.rejected)+len(got.Rejected) > 0 && diff != "" {
				t.Errorf("rejected:\n%s", diff)
			}
			// What was answered is durable: the worker finds it.
			task := d.tasks(1)[0]
			chunk, err := d.rows.Get(t.Context(), "rows."+task.Key())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.rows, chunk.Value.Rows); diff != "" {
				t.Errorf("rows:\n%s", diff)
			}
		})
	}
}

// unknown are fields of no rating, from x10 on.
func unknown(count int) string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf(`"x%d":0`, i+10)
	}
	return strings.Join(list, ",")
}

func TestRatingsAreRefused(t *testing.T) {
	t.Parallel()
	d := setupRatings(t)
	many := `[` + strings.Repeat(`{"messageId":"a","rating":5},`, 20_000) + `{"messageId":"a","rating":5}]`
	for _, tc := range []struct {
		name, query, kind, body string
		status                  int
		detail                  string
	}{
		{"type", "", "application/xml", "<a/>", 415, "application/json, text/csv or application/x-ndjson"},
		{"nothing", "", "", "", 400, "empty"},
		{"no row", "", "", "[]", 400, "holds no rating"},
		{"no line", "", "application/x-ndjson", "\n\n", 400, "holds no rating"},
		{"no record", "", "text/csv", "messageId,rating\n", 400, "holds no rating"},
		{"no header", "", "text/csv", "", 400, "holds no rating"},
		{"text", "", "", `"a"`, 400, "body: "},
		{"half a list", "", "", `[{"messageId":"a","rating":5},`, 400, "too early"},
		{"columns", "", "text/csv", "messageId,stars,info,info\na,5,,\n", 400, `header: "stars" is none of messageId, rating and info; header: info stands there twice; header: rating is missing`},
		{"open quote", "", "text/csv", "messageId,rating\n\"a,5\n", 400, "not valid CSV"},
		{"too many", "", "", many, 400, "more than 20000 rows"},
		{"too long", "", "text/csv", strings.Repeat("x", httpapi.MaxBody+1), 413, "longer than"},
		{"no good row", "", "", `[{"messageId":"a"},{"rating":9}]`, 400, "[0].rating: missing; [1].messageId: missing; [1].rating: must be"},
		{"dry run of what", "?dryRun=maybe", "", `[{"messageId":"a","rating":5}]`, 400, "dryRun: must be true or false"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := d.call(http.MethodPost, "/v1/ratings"+tc.query, tc.body, "Content-Type", tc.kind)
			problem := into[struct{ Detail string }](t, w)
			if w.Code != tc.status || !strings.Contains(problem.Detail, tc.detail) {
				t.Errorf("%d %s, want %d and %q", w.Code, w.Body, tc.status, tc.detail)
			}
		})
	}
}

func TestDryRunTakesNothing(t *testing.T) {
	t.Parallel()
	d := setupRatings(t)
	w := d.call(http.MethodPost, "/v1/ratings?dryRun=true", `[{"messageId":"a","rating":5},{"messageId":"","rating":5}]`)
	want := taken{Accepted: 1, RejectedCount: 1, Rejected: []fault{{1, "messageId", "missing"}}, DryRun: true}
	if diff := cmp.Diff(want, into[taken](t, w)); w.Code != http.StatusOK || diff != "" {
		t.Errorf("%d\n%s", w.Code, diff)
	}
	w = d.call(http.MethodPost, "/v1/ratings?dryRun=1", `[{"messageId":"","rating":5}]`)
	if got := into[taken](t, w); w.Code != http.StatusOK || got.Accepted != 0 {
		t.Errorf("of no good row: %d %s", w.Code, w.Body)
	}
	d.call(http.MethodPost, "/v1/ratings", `{"messageId":"b","rating":5}`)
	d.tasks(1) // and no other
}

func TestManyRatingsInChunks(t *testing.T) {
	t.Parallel()
	d := setupRatings(t)
	var body bytes.Buffer
	body.WriteString("messageId,rating,info\n")
	for i := range 19_900 {
		_, _ = fmt.Fprintf(&body, "m%d,%d,\n", i, i%7-1)
	}
	for i := range 100 {
		_, _ = fmt.Fprintf(&body, "n%d,1,%s\n", i, strings.Repeat("<\u2028长好", 250)) // the worst in JSON
	}
	began := time.Now()
	w := d.call(http.MethodPost, "/v1/ratings", body.String(), "Content-Type", "text/csv")
	t.Logf("accepted within %s", time.Since(began))
	got := into[taken](t, w)
	if w.Code != http.StatusAccepted || got.Accepted != 20_000 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	state := into[jobs.RatingState](t, d.call(http.MethodGet, "/v1/ratings/"+got.ID, ""))
	want := jobs.RatingState{ID: got.ID, State: jobs.StateRunning, Accepted: 20_000, Pending: 20_000, Failed: []jobs.RatingFailure{}, CreatedAt: ratedAt}
	if diff := cmp.Diff(want, state); diff != "" {
		t.Errorf("state:\n%s", diff)
	}
	lines := strings.Split(strings.TrimSpace(d.call(http.MethodGet, "/v1/ratings/"+got.ID+"/results", "").Body.String()), "\n")
	if len(lines) != 20_000 || lines[19_899] != `{"row":19899,"messageId":"m19899","rating":4,"outcome":"pending"}` {
		t.Errorf("%d lines, %s", len(lines), lines[19_899])
	}
}

func TestResultsOfRatings(t *testing.T) {
	t.Parallel()
	d := setupRatings(t)
	id := into[taken](t, d.call(http.MethodPost, "/v1/ratings", `[{"messageId":"=a","rating":5},{"messageId":"b","rating":-1},{"messageId":"c","rating":0},{"messageId":"d","rating":1}]`)).ID
	result := jobs.RatingResult{Outcomes: []jobs.RatingOutcome{
		{Outcome: jobs.RatingApplied},
		jobs.FailedRating("no, \"really\""),
		{Outcome: jobs.RatingSuperseded, By: &jobs.RatingRef{ID: "rat_2", Row: 0}},
		{Outcome: jobs.RatingPending},
	}}
	if _, err := d.results.Put(t.Context(), "done."+id+".0", result); err != nil {
		t.Fatal(err)
	}
	t.Run("State", func(t *testing.T) {
		t.Parallel()
		want := `{"id":"` + id + `","state":"running","accepted":4,"pending":1,"applied":1,"superseded":1,"failedCount":1,"failed":[{"row":1,"messageId":"b","reason":"no, \"really\""}],"createdAt":"2024-05-01T00:00:00Z"}` + "\n"
		if diff := cmp.Diff(want, d.call(http.MethodGet, "/v1/ratings/"+id, "").Body.String()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("Lines", func(t *testing.T) {
		t.Parallel()
		w := d.call(http.MethodGet, "/v1/ratings/"+id+"/results", "", "Accept", "*/*")
		want := `{"row":0,"messageId":"=a","rating":5,"outcome":"applied"}
{"row":1,"messageId":"b","rating":-1,"outcome":"failed","reason":"no, \"really\""}
{"row":2,"messageId":"c","rating":0,"outcome":"superseded","by":{"id":"rat_2","row":0}}
{"row":3,"messageId":"d","rating":1,"outcome":"pending"}
`
		if diff := cmp.Diff(want, w.Body.String()); diff != "" || w.Header().Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%v\n%s", w.Header(), diff)
		}
	})
	t.Run("CSV", func(t *testing.T) {
		t.Parallel()
		w := d.call(http.MethodGet, "/v1/ratings/"+id+"/results", "", "Accept", "text/csv")
		want := "\ufeffrow,messageId,rating,outcome,by,byRow,reason\r\n0,'=a,5,applied,,,\r\n1,b,-1,failed,,,\"no, \"\"really\"\"\"\r\n2,c,0,superseded,rat_2,0,\r\n3,d,1,pending,,,\r\n"
		if diff := cmp.Diff(want, w.Body.String()); diff != "" {
			t.Error(diff)
		}
	})
	for _, path := range []string{"/v1/ratings/rat_none", "/v1/ratings/a%20b", "/v1/ratings/rat_none/results"} {
		if w := d.call(http.MethodGet, path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestRatingsDone(t *testing.T) {
	t.Parallel()
	d := setupRatings(t)
	body, outcomes := `[`, make([]jobs.RatingOutcome, 100)
	for i := range 1_100 {
		body += fmt.Sprintf(`{"messageId":"m%d","rating":5},`, i)
		outcomes[i%100] = jobs.FailedRating(strings.Repeat("长", 100))
	}
	id := into[taken](t, d.call(http.MethodPost, "/v1/ratings", strings.TrimSuffix(body, ",")+"]")).ID
	for i := range 11 {
		if _, err := d.results.Put(t.Context(), fmt.Sprintf("done.%s.%d", id, i), jobs.RatingResult{Outcomes: outcomes}); err != nil {
			t.Fatal(err)
		}
	}
	state := into[jobs.RatingState](t, d.call(http.MethodGet, "/v1/ratings/"+id, ""))
	if state.State != jobs.StateDone || state.FailedCount != 1_100 || len(state.Failed) != jobs.MaxRatingFailed || state.Failed[999].Row != 999 {
		t.Errorf("%s, %d failed, %d of them named, the last %+v", state.State, state.FailedCount, len(state.Failed), state.Failed[999])
	}
	if reason := state.Failed[0].Reason; len(reason) > 200 || !strings.HasSuffix(reason, "长…") {
		t.Errorf("reason of %d bytes: %s", len(reason), reason)
	}
}

func TestRatingsWithoutNATS(t *testing.T) {
	t.Parallel()
	d := setupRatings(t)
	id := into[taken](t, d.call(http.MethodPost, "/v1/ratings", `{"messageId":"a","rating":5}`)).ID
	d.nats.Stop()
	d.handler = d.serve(50 * time.Millisecond)
	for _, w := range []*httptest.ResponseRecorder{
		d.call(http.MethodPost, "/v1/ratings", `{"messageId":"a","rating":5}`),
		d.call(http.MethodGet, "/v1/ratings/"+id, ""),
		d.call(http.MethodGet, "/v1/ratings/"+id+"/results", ""),
	} {
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func FuzzRatingBodies(f *testing.F) {
	f.Add("application/json", []byte(`[{"messageId":"a","rating":5,"info":"x"},{"rating":1e400},null]`))
	f.Add("application/x-ndjson", []byte("{\"messageId\":\"a\",\"rating\":5}\n{\n\n"))
	f.Add("text/csv", []byte("\ufeffrating,messageId\n5,a\n\"6\"\",b\n"))
	q, err := queue.Open(queue.ConnConfig{}, queue.Config{}) // never connected: dry runs store nothing
	if err != nil {
		f.Fatal(err)
	}
	api, err := messageapi.New(messageapi.Config{Queue: q})
	if err != nil {
		f.Fatal(err)
	}
	keys, err := httpapi.ParseKeys("k")
	if err != nil {
		f.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys}, api.Routes()...)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/ratings?dryRun=true", bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer k")
		req.Header["Content-Type"] = []string{kind}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		answer, err := io.ReadAll(w.Body)
		if err != nil || w.Code >= http.StatusInternalServerError {
			t.Fatalf("%d %s, %v", w.Code, answer, err)
		}
		if w.Code != http.StatusOK {
			return
		}
		var got taken
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatal(err)
		}
		named := map[int]bool{}
		for _, fault := range got.Rejected {
			named[fault.Row] = true
			if fault.Field == "" || fault.Message == "" {
				t.Errorf("a fault without words: %+v", fault)
			}
		}
		if len(named) != got.RejectedCount || got.Accepted+got.RejectedCount == 0 {
			t.Errorf("%d rows rejected, %d of them named, %d accepted", got.RejectedCount, len(named), got.Accepted)
		}
	})
}
