package doctor_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/cmd/xinghe/doctor"
	"xinghe/shared/faas"
)

// variables are what is found of variables.
func variables(t *testing.T, set map[string]string) doctor.Finding {
	t.Helper()
	for finding := range doctor.Examine(t.Context(), func(name string) string { return set[name] }) {
		return finding // the first
	}
	return doctor.Finding{}
}

// broken are values that no program takes.
var broken = map[string]string{
	"ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE": "/none",
	"BEEBOT_ENDPOINT":                      "x",
	"BEEBOT_INSTANCES":                     "abc",
	"BEEBOT_RPS":                           "many",
	"LOG_LEVEL":                            "loud",
	"NATS_CONTEXT":                         "/none.json",
	"NATS_CREDS_FILE":                      "/none",
	"OTEL_EXPORTER_OTLP_ENDPOINT":          "x",
	"XINGCHEN_API_KEY_FILE":                "/none",
	"XINGCHEN_BASE_URL":                    "x",
	"XINGCHEN_RPS":                         "-1",
	"XINGCHEN_STREAM_OUTPUT":               "x",
	"XINGHE_ADDR":                          "x",
	"XINGHE_API_KEYS":                      "[",
	"XINGHE_ALLOW_HOSTS":                   "http://x",
	"XINGHE_CORS_ORIGINS":                  "foo",
	"XINGHE_ENTRY":                         "x",
	"XINGHE_EVENT_RETENTION":               "x",
	"XINGHE_EVENT_TEXT":                    "x",
	"XINGHE_EXPORT_PART_BYTES":             "x",
	"XINGHE_EXPORT_WINDOWS":                "-1",
	"XINGHE_IDEMPOTENCY_TTL":               "1s",
	"XINGHE_IMAGE_DEADLINE":                "x",
	"XINGHE_IMAGE_FIRST_POLL":              "x",
	"XINGHE_IMAGE_LONGEST_POLL":            "x",
	"XINGHE_IMAGE_MAX_BYTES":               "0",
	"XINGHE_KEY_FILE":                      "/none",
	"XINGHE_METRICS_ADDR":                  "127.0.0.1:x",
	"XINGHE_NATS_REPLICAS":                 "9",
	"XINGHE_ON_DISCONNECT":                 "foo",
	"XINGHE_SINK":                          "ftp://x",
	"XINGHE_URL":                           "x",
	"XINGHE_WEBHOOKS":                      "x",
	"XINGHE_WEBHOOK_LOG_RETENTION":         "x",
	"XINGHE_WEBHOOK_PAUSE_AFTER":           "x",
	"XINGHE_WEBHOOK_PORTS":                 "0",
	"XINGHE_WEBHOOK_RESUME_AFTER":          "x",
	"XINGHE_WEBHOOK_RETRIES":               "x",
	"XINGHE_WEBHOOK_SOURCES":               "[{}]",
	"XINGHE_WEBHOOK_TIMEOUT":               "x",
	"XINGHE_WORKERS":                       "exprot",
}

// TestFaultsOfVariables holds that a broken variable is told by its name, once, with or without
// what else a program wants.
func TestFaultsOfVariables(t *testing.T) {
	t.Parallel()
	for name, value := range broken {
		got := variables(t, map[string]string{name: value})
		if got.State != doctor.Wrong || !strings.HasPrefix(got.Detail, strings.TrimSuffix(name, "_FILE")) {
			t.Errorf("%s=%s: %+v", name, value, got)
		}
	}
	all := "\n" + variables(t, broken).Detail
	for name := range broken {
		if told := strings.Count(all, "\n"+name+":"); told != 1 {
			t.Errorf("%s is told %d times in %s", name, told, all)
		}
	}
}

// TestOtherFaults are those that hang together with what else is set, or is not.
func TestOtherFaults(t *testing.T) {
	t.Parallel()
	const source = `[{"name":"shop","standard":{"secrets":["env:SHOP"]},"action":"ACTION"}]`
	for name, tc := range map[string]struct {
		set  map[string]string
		told string // nothing: all is well
	}{
		"robots without an account": {map[string]string{"BEEBOT_INSTANCES": "a=tongyi"}, "BEEBOT_INSTANCES: set without ALIBABA_CLOUD_ACCESS_KEY_ID"},
		"half a pair":               {map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "x"}, "ALIBABA_CLOUD_ACCESS_KEY_SECRET: missing beside the id"},
		"a secret that is not set":  {map[string]string{"XINGHE_WEBHOOK_SOURCES": strings.Replace(source, "ACTION", "publish", 1)}, "the variable SHOP is not set"},
		"a source": {map[string]string{
			"XINGHE_WEBHOOK_SOURCES": strings.Replace(source, "ACTION", "publish", 1), "SHOP": "whsec_Y3VycmVudC1zZWNyZXQtb2YtdGhlLXRlc3Rz",
		}, ""},
		"a source that does what nobody can": {map[string]string{
			"XINGHE_WEBHOOK_SOURCES": strings.Replace(source, "ACTION", "fly", 1), "SHOP": "whsec_Y3VycmVudC1zZWNyZXQtb2YtdGhlLXRlc3Rz",
		}, `XINGHE_WEBHOOK_SOURCES: source "shop": action: "fly"`},
		"a source whose service is not set": {map[string]string{
			"XINGHE_WEBHOOK_SOURCES": strings.Replace(source, "ACTION", "reminder", 1), "SHOP": "whsec_Y3VycmVudC1zZWNyZXQtb2YtdGhlLXRlc3Rz",
		}, "wants XINGCHEN_API_KEY"},
	} {
		got := variables(t, tc.set)
		if !strings.Contains(got.Detail, tc.told) || (got.State == doctor.OK) != (tc.told == "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{faas.EntryHTTP, faas.EntryFCWeb, faas.EntryFCEvent, faas.EntryLambdaURL, faas.EntryLambdaEvent} {
		if got := variables(t, map[string]string{"XINGHE_ENTRY": entry}); got.State != doctor.OK {
			t.Errorf("%+v", got)
		}
	}
}

// TestKindsOfWorkers holds that every folder of a worker is a word of XINGHE_WORKERS.
func TestKindsOfWorkers(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join("..", "..", "..", "workers"))
	if err != nil {
		t.Fatal(err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() })
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	got := variables(t, map[string]string{"XINGHE_WORKERS": strings.Join(all, ",")})
	want := doctor.Finding{Name: "variables", State: doctor.OK, Detail: "1 set, all of them can be read", Ms: got.Ms}
	if diff := cmp.Diff(want, got); diff != "" || len(all) == 0 {
		t.Error(diff)
	}
}
