package jobs_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

const documented = `{"name":"nightly","characters":["c39797a35ad243f1a85baaa6e1ec37e0"],"users":["1234567"],
	"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z","format":"jsonl","compression":"none",
	"sink":{"type":"folder","path":"nightly"}}`

func spec(t *testing.T) jobs.ExportSpec {
	t.Helper()
	var s jobs.ExportSpec
	if err := json.Unmarshal([]byte(documented), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDocumentedSpecIsGood(t *testing.T) {
	t.Parallel()
	s := spec(t)
	if faults := s.Check(); len(faults) > 0 {
		t.Errorf("faults in the documented spec: %v", faults)
	}
	short := s
	short.Format, short.Compression, short.Sink = "", "", jobs.Sink{}
	if diff := cmp.Diff(s, short.WithDefaults()); diff != "" {
		t.Errorf("the defaults are not those of the documented spec:\n%s", diff)
	}
}

func TestCheckNamesTheField(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*jobs.ExportSpec)
		fields []string
	}{
		{"nothing", func(s *jobs.ExportSpec) { *s = jobs.ExportSpec{}.WithDefaults() }, []string{"name", "characters", "users", "from", "sink.path"}},
		{"name with a slash", func(s *jobs.ExportSpec) { s.Name = "a/b" }, []string{"name"}},
		{"hidden name", func(s *jobs.ExportSpec) { s.Name = "..x" }, []string{"name"}},
		{"long name", func(s *jobs.ExportSpec) { s.Name = strings.Repeat("n", 65) }, []string{"name"}},
		{"empty id", func(s *jobs.ExportSpec) { s.Users = []string{"a", ""} }, []string{"users[1]"}},
		{"id twice", func(s *jobs.ExportSpec) { s.Characters = []string{"a", "a"} }, []string{"characters[1]"}},
		{"keywords", func(s *jobs.ExportSpec) { s.Characters, s.Users = []string{"my"}, []string{"directory"} }, []string{"characters[0]", "users[0]"}},
		{"range turned round", func(s *jobs.ExportSpec) { s.From, s.To = s.To, s.From }, []string{"to"}},
		{"empty range", func(s *jobs.ExportSpec) { s.To = s.From }, []string{"to"}},
		{"no end", func(s *jobs.ExportSpec) { s.To = time.Time{} }, []string{"to"}},
		{"format", func(s *jobs.ExportSpec) { s.Format = "xml" }, []string{"format"}},
		{"compression", func(s *jobs.ExportSpec) { s.Compression = "rar" }, []string{"compression"}},
		{"sink", func(s *jobs.ExportSpec) { s.Sink.Type = "ftp" }, []string{"sink.type"}},
		{"path that leaves the root", func(s *jobs.ExportSpec) { s.Sink.Path = "../etc" }, []string{"sink.path"}},
		{"absolute path", func(s *jobs.ExportSpec) { s.Sink.Path = "/etc" }, []string{"sink.path"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := spec(t)
			tc.change(&s)
			var got []string
			for _, fault := range s.Check() {
				got = append(got, fault.Field)
				if fault.Message == "" {
					t.Errorf("%s: no message", fault.Field)
				}
			}
			if diff := cmp.Diff(tc.fields, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for state, want := range map[jobs.State]bool{
		jobs.StateQueued: false, jobs.StateRunning: false, jobs.StateDone: true,
		jobs.StatePartial: true, jobs.StateFailed: true, jobs.StateCancelled: true,
	} {
		if got := state.Ended(); got != want {
			t.Errorf("%s ended: %v", state, got)
		}
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 5, 1, 8, 0, 0, 0, time.FixedZone("CST", 8*3600))
	event, err := jobs.NewEvent(jobs.EventExportDone, "exp_1/done", "/xinghe/export", "exp_1", at, map[string]int{"rows": 3})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"specversion":"1.0","id":"exp_1/done","source":"/xinghe/export","type":"xinghe.export.done","subject":"exp_1","time":"2024-05-01T00:00:00Z","datacontenttype":"application/json","data":{"rows":3}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}
