package httpapi_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"xinghe/shared/httpapi"
	"xinghe/shared/trace"
)

// A request belongs to the trace that its header names, in the log and for the handler, and
// is observed under its route.
func TestTraceAndObservation(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var log bytes.Buffer
	var observed []httpapi.Observation
	var carried []trace.Parent
	handler, err := httpapi.New(httpapi.Config{
		Logger: zerolog.New(&log),
		Observe: func(o httpapi.Observation) {
			o.Took = 0
			observed = append(observed, o)
		},
	}, httpapi.Route{Pattern: "GET /v1/things/{id}", Handler: func(w http.ResponseWriter, r *http.Request) error {
		carried = append(carried, trace.From(r.Context()))
		if r.PathValue("id") == "bad" {
			panic("no")
		}
		return httpapi.WriteJSON(w, http.StatusAccepted, nil)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, header, inLog string }{
		{"/v1/things/1", parent, `"trace_id":"0af7651916cd43dd8448eb211c80319c"`},
		{"/v1/things/bad", "", ""},
		{"/v1/nothing", parent, `"trace_id":`},
		{"/v1/things/2", "00-short", ""},
	} {
		log.Reset()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path, http.NoBody)
		r.Header.Set(trace.Header, tc.header)
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if has := strings.Contains(log.String(), "trace_id"); has != (tc.inLog != "") || !strings.Contains(log.String(), tc.inLog) {
			t.Errorf("%s: %s", tc.path, log.String())
		}
	}
	want := []httpapi.Observation{
		{Route: "GET /v1/things/{id}", Status: 202}, {Route: "GET /v1/things/{id}", Status: 500}, {Status: 404}, {Route: "GET /v1/things/{id}", Status: 202},
	}
	if diff := cmp.Diff(want, observed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]trace.Parent{parent, "", ""}, carried); diff != "" {
		t.Error(diff)
	}
}
