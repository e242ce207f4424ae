package doctor_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/cmd/xinghe/doctor"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/natstest"
	"xinghe/testlocal/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// healthy starts a deployment and returns the variables that fit it.
func healthy(t *testing.T) map[string]string {
	t.Helper()
	set := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0",
		"XINGHE_DATA": t.TempDir(), "XINGHE_API_KEYS": "canary-key",
	}
	s, err := stack.Start(t.Context(), stack.Config{Getenv: func(name string) string { return set[name] }, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return map[string]string{
		"XINGHE_API_KEYS": "canary-key", "XINGHE_URL": s.URL, "XINGHE_KEY": "canary-key",
		"XINGCHEN_BASE_URL": s.EmulatorURL, "XINGCHEN_API_KEY": emulator.DefaultXingchenKey,
		"BEEBOT_ENDPOINT": s.EmulatorURL, "BEEBOT_AGENT_KEY": emulator.DefaultAgentKey,
		"ALIBABA_CLOUD_ACCESS_KEY_ID": emulator.DefaultAccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": emulator.DefaultAccessKeySecret,
		"NATS_URL": s.NATSURL, "XINGHE_SINK": "folder:" + t.TempDir(),
	}
}

// late is a service whose clock is an hour behind.
func late(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		if strings.HasPrefix(r.URL.Path, "/404") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestExamine(t *testing.T) {
	t.Parallel()
	good := healthy(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]doctor.State{
		"variables": doctor.OK, "keys": doctor.OK, "xingchen": doctor.OK, "beebot": doctor.OK, "clock": doctor.OK, "nats": doctor.OK, "sink": doctor.OK, "deployment": doctor.OK,
	}
	for name, tc := range map[string]struct {
		change map[string]string
		wrong  map[string]string // what the detail of each must have
		left   []string          // what is skipped then
	}{
		"healthy":            {},
		"malformed keys":     {change: map[string]string{"XINGHE_API_KEYS": `[{"name":"ci"}]`}, wrong: map[string]string{"variables": "XINGHE_API_KEYS"}, left: []string{"keys"}},
		"key of Xingchen":    {change: map[string]string{"XINGCHEN_API_KEY": "canary-wrong"}, wrong: map[string]string{"xingchen": "XINGCHEN_API_KEY"}},
		"secret of Beebot":   {change: map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "canary-wrong"}, wrong: map[string]string{"beebot": "_SECRET"}},
		"half a pair":        {change: map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_SECRET": ""}, wrong: map[string]string{"variables": "missing beside the id"}, left: []string{"beebot"}},
		"a service away":     {change: map[string]string{"XINGCHEN_BASE_URL": "http://127.0.0.1:1"}, wrong: map[string]string{"xingchen": "refused", "clock": "refused"}},
		"a clock":            {change: map[string]string{"XINGCHEN_BASE_URL": late(t)}, wrong: map[string]string{"xingchen": "XINGCHEN", "clock": "is 1h0m"}},
		"no NATS":            {change: map[string]string{"NATS_URL": "nats://user:canary@127.0.0.1:1"}, wrong: map[string]string{"nats": "NATS_URL"}},
		"more replicas":      {change: map[string]string{"XINGHE_NATS_REPLICAS": "3"}, wrong: map[string]string{"nats": "has 1 replicas, XINGHE_NATS_REPLICAS says 3"}},
		"credentials file":   {change: map[string]string{"NATS_CREDS": "/none/of.creds"}, wrong: map[string]string{"variables": "NATS_CREDS"}, left: []string{"nats"}},
		"a file for a sink":  {change: map[string]string{"XINGHE_SINK": "folder:" + file}, wrong: map[string]string{"sink": "XINGHE_SINK"}},
		"no word for a sink": {change: map[string]string{"XINGHE_SINK": "ftp://x"}, wrong: map[string]string{"variables": "XINGHE_SINK"}, left: []string{"sink"}},
		"no bucket":          {change: map[string]string{"XINGHE_SINK": "s3://"}, wrong: map[string]string{"variables": `XINGHE_SINK: "s3://" names no bucket`}, left: []string{"sink"}},
		"no region":          {change: map[string]string{"XINGHE_SINK": "oss://bucket"}, wrong: map[string]string{"variables": "OSS_REGION"}, left: []string{"sink"}},
		"not ready":          {change: map[string]string{"XINGHE_URL": late(t) + "/404"}, wrong: map[string]string{"deployment": "/readyz answers 404"}},
		"our own key":        {change: map[string]string{"XINGHE_KEY": "canary-other"}, wrong: map[string]string{"deployment": "XINGHE_KEY"}},
		"nobody there":       {change: map[string]string{"XINGHE_URL": "http://127.0.0.1:1"}, wrong: map[string]string{"deployment": "XINGHE_URL: nobody answers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := maps.Clone(good)
			maps.Copy(set, tc.change)
			want := maps.Clone(all)
			for part := range tc.wrong {
				want[part] = doctor.Wrong
			}
			for _, part := range tc.left {
				want[part] = doctor.Skipped
			}
			got := map[string]doctor.State{}
			for finding := range doctor.Examine(t.Context(), func(name string) string { return set[name] }) {
				got[finding.Name] = finding.State
				if !strings.Contains(finding.Detail, tc.wrong[finding.Name]) || strings.Contains(finding.Detail, "canary") {
					t.Errorf("%s: %s", finding.Name, finding.Detail)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNothingIsConfigured(t *testing.T) {
	t.Parallel()
	var states []doctor.State
	for finding := range doctor.Examine(t.Context(), func(string) string { return "" }) {
		states = append(states, finding.State)
	}
	if want := slices.Repeat([]doctor.State{doctor.Skipped}, len(states)); len(states) == 0 || !slices.Equal(states, want) {
		t.Error(states)
	}
}
