package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"xinghe/shared/usage"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	tele, err := New(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 5, 1, 23, 59, 59, 0, time.UTC)
	var fail error
	tele.registry.MustRegister(&used{now: func() time.Time { return now }, read: func(_ context.Context, first, last string) ([]usage.Row, error) {
		if first != usage.Day(now) || last != first {
			t.Errorf("%s to %s was asked for", first, last)
		}
		rows := []usage.Row{{Key: "shop", Bot: "beebot:a", Counts: usage.Counts{Requests: 1000, Failures: 2, InputTokens: 3, OutputTokens: 4, ThrottledMs: 1500}}}
		for i := range maxUsage + 9 { // ten more than are told by name
			rows = append(rows, usage.Row{Key: "shop", Bot: fmt.Sprintf("beebot:%d", i), Counts: usage.Counts{Requests: 2}})
		}
		return rows, fail
	}})
	scrape := func() string {
		t.Helper()
		w := httptest.NewRecorder()
		tele.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	text := scrape()
	for _, line := range []string{
		`xinghe_usage_requests{bot="beebot:a",key="shop"} 1000`, `xinghe_usage_failures{bot="beebot:a",key="shop"} 2`,
		`xinghe_usage_input_tokens{bot="beebot:a",key="shop"} 3`, `xinghe_usage_output_tokens{bot="beebot:a",key="shop"} 4`,
		`xinghe_usage_throttled_seconds{bot="beebot:a",key="shop"} 1.5`, `xinghe_usage_requests{bot="(other)",key="(other)"} 20`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is not there", line)
		}
	}
	if n := strings.Count(text, "xinghe_usage_requests{"); n != maxUsage+1 {
		t.Errorf("%d pairs are told by name", n)
	}
	now, fail = now.Add(time.Minute), errors.New("away")
	if text := scrape(); strings.Contains(text, "xinghe_usage_requests{") {
		t.Error("tells of usage that it cannot read")
	}
}
