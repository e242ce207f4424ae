package stack_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"xinghe/testlocal/emulator"
)

// The stack tells of its requests by their routes, and of its streams, without a key and
// without what a caller has chosen.
func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	get := func(path string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	get("/v1/exports/exp_canary?x=canary")
	get("/canary")
	text := get("/metrics")
	for _, line := range []string{
		`xinghe_requests_total{route="GET /v1/exports/{id}",status="401"} 1`, `xinghe_requests_total{route="none",status="404"} 1`,
		"xinghe_nats_up 1", `xinghe_stream_messages{stream="XINGHE_JOBS"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
	if strings.Contains(text, "canary") {
		t.Errorf("a caller's words are labels:\n%s", text)
	}
}
