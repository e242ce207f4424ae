package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// page is a log that can be read while it is written.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// TestWorkersThatRun starts those that the variable names, and stops them.
func TestWorkersThatRun(t *testing.T) {
	t.Parallel()
	server := natstest.Listen(t, "", "")
	for names, want := range map[string]string{
		"usage,directory":  `"workers":2,`,
		"usage,usage":      `"workers":1,`,
		" schedule, usage": `"workers":2,`,
		"":                 `"workers":7,`,
	} {
		t.Run(names, func(t *testing.T) {
			t.Parallel()
			var log page
			vars := map[string]string{
				"NATS_URL": server.URL(), "XINGHE_WORKERS": names, "XINGHE_EXPORT_DIR": t.TempDir(),
				"XINGCHEN_API_KEY": "lm-x", "XINGCHEN_BASE_URL": "http://127.0.0.1:1",
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- run(ctx, func(name string) string { return vars[name] }, &log) }()
			deadline := time.After(30 * time.Second)
			for !strings.Contains(log.String(), want) {
				select {
				case err := <-ended:
					t.Fatalf("ended with %v: %s", err, &log)
				case <-deadline:
					t.Fatalf("no %s: %s", want, &log)
				case <-time.After(10 * time.Millisecond):
				}
			}
			stop()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// TestFaultsAreToldTogether holds that a worker which cannot start says all that it lacks.
func TestFaultsAreToldTogether(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"NATS_URL": natstest.Listen(t, "", "").URL(), "XINGHE_WORKERS": "rating,exprot,image", "XINGHE_EXPORT_DIR": t.TempDir(),
		"XINGCHEN_RPS": "many", "LOG_LEVEL": "loud",
	}
	err := run(t.Context(), func(name string) string { return vars[name] }, new(page))
	if err == nil {
		t.Fatal("it runs")
	}
	for _, want := range []string{`XINGHE_WORKERS: "exprot" is no kind of worker`, "XINGCHEN_API_KEY: missing: ratings go to it", "pictures come from it", "XINGCHEN_RPS", "LOG_LEVEL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}
