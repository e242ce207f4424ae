package main

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/env"
	"xinghe/shared/faas/faastest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBuildTouchesNoNetwork(t *testing.T) {
	t.Parallel()
	faastest.NoNetwork(t, build)
}

// TestFaultsTogether holds that every variable that will not do is told, once, with NATS or
// without.
func TestFaultsTogether(t *testing.T) {
	t.Parallel()
	broken := map[string]string{
		"BEEBOT_INSTANCES": "abc", "XINGCHEN_RPS": "-1", "XINGCHEN_STREAM_OUTPUT": "x", "XINGHE_API_KEYS": "[", "XINGHE_CORS_ORIGINS": "foo",
		"XINGHE_EVENT_RETENTION": "x", "XINGHE_EVENT_TEXT": "x", "XINGHE_IDEMPOTENCY_TTL": "1s", "XINGHE_NATS_REPLICAS": "9",
		"XINGHE_ON_DISCONNECT": "foo", "XINGHE_SINK": "ftp://x", "NATS_CREDS": "/none",
	}
	for _, address := range []string{"", "nats://127.0.0.1:1"} {
		vars := env.New(func(name string) string {
			return map[string]string{"NATS_URL": address, "XINGCHEN_API_KEY": "lm-local"}[name] + broken[name]
		})
		fn, err := build(vars, zerolog.Nop())
		if fn.Close != nil {
			fn.Close()
		}
		if vars.Err() == nil {
			t.Fatalf("no faults, and %v", err)
		}
		told := "\n" + vars.Err().Error()
		for name := range broken {
			if n := strings.Count(told, "\n"+name+": "); n != 1 {
				t.Errorf("with NATS at %q %s is told %d times:%s", address, name, n, told)
			}
		}
	}
}
