package chaos

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"xinghe/functions/history-export/exportapi"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
)

// front is the export function.
type front struct {
	tb      testing.TB
	handler http.Handler
}

func newFront(tb testing.TB, q *queue.Queue, to sink.Sink) *front {
	tb.Helper()
	api, err := exportapi.New(exportapi.Config{Queue: q, Sink: to})
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := httpapi.ParseKeys("k")
	if err != nil {
		tb.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{Keys: keys}, api.Routes()...)
	if err != nil {
		tb.Fatal(err)
	}
	return &front{tb, handler}
}

func (f *front) ask(method, path, body string) (status int, e jobs.Export, text string) {
	f.tb.Helper()
	r := httptest.NewRequestWithContext(f.tb.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer k")
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	text = w.Body.String()
	if w.Code < 300 {
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			f.tb.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
	return w.Code, e, text
}

// start starts an export and returns its id.
func (f *front) start(spec jobs.ExportSpec) string {
	f.tb.Helper()
	body, err := json.Marshal(spec)
	if err != nil {
		f.tb.Fatal(err)
	}
	status, e, text := f.ask(http.MethodPost, "/v1/exports", string(body))
	if status != http.StatusAccepted {
		f.tb.Fatalf("the export is refused: %d %s", status, text)
	}
	return e.ID
}

// await asks for an export, even while NATS is away, until it has ended.
func (f *front) await(id string, within time.Duration) jobs.Export {
	f.tb.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last string
	for deadline := time.Now().Add(within); time.Now().Before(deadline); <-tick.C {
		status, e, text := f.ask(http.MethodGet, "/v1/exports/"+id, "")
		if last = text; status == http.StatusOK && e.State.Ended() {
			return e
		}
	}
	f.tb.Fatalf("the export has not ended within %s: %s", within, last)
	return jobs.Export{}
}
