package jobs_test

import (
	"encoding/json"
	"strconv"
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
	short.Format, short.Compression, short.Sink.Path = "", "", ""
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
		{"words for lists", func(s *jobs.ExportSpec) { s.Characters, s.Users = jobs.Names{"my"}, jobs.Names{"directory"} }, nil},
		{"words among ids", func(s *jobs.ExportSpec) { s.Characters, s.Users = jobs.Names{"a", "my"}, jobs.Names{"directory", "b"} }, []string{"characters[1]", "users[0]"}},
		{"too many", func(s *jobs.ExportSpec) { s.Characters = many(1001) }, []string{"characters"}},
		{"too many histories", func(s *jobs.ExportSpec) { s.Characters, s.Users = many(1000), many(1001) }, []string{"users"}},
		{"watermark", func(s *jobs.ExportSpec) {
			s.From, s.To, s.Watermark = time.Time{}, time.Time{}, &jobs.Watermark{Name: "w"}
		}, nil},
		{"watermark and end", func(s *jobs.ExportSpec) { s.Watermark = &jobs.Watermark{Name: "w"} }, []string{"to"}},
		{"watermark without a name, spans that are none", func(s *jobs.ExportSpec) {
			s.To, s.Watermark = time.Time{}, &jobs.Watermark{Lookback: -1, Lag: jobs.MaxWatermarkSpan + 1}
		}, []string{"watermark.name", "watermark.lookback", "watermark.lag"}},
		{"filter", func(s *jobs.ExportSpec) { s.Filter = filter(3, 1, "user", "") }, []string{"filter.messageTypes[1]", "filter.maxRating"}},
		{"csv, zstd, s3", func(s *jobs.ExportSpec) { s.Format, s.Compression, s.Sink.Type = "csv", "zstd", "s3" }, nil},
		{"range turned round", func(s *jobs.ExportSpec) { s.From, s.To = s.To, s.From }, []string{"to"}},
		{"empty range", func(s *jobs.ExportSpec) { s.To = s.From }, []string{"to"}},
		{"no end", func(s *jobs.ExportSpec) { s.To = time.Time{} }, []string{"to"}},
		{"format", func(s *jobs.ExportSpec) { s.Format = "xml" }, []string{"format"}},
		{"compression", func(s *jobs.ExportSpec) { s.Compression = "rar" }, []string{"compression"}},
		{"sink", func(s *jobs.ExportSpec) { s.Sink.Type = "ftp" }, []string{"sink.type"}},
		{"path that leaves the root", func(s *jobs.ExportSpec) { s.Sink.Path = "../etc" }, []string{"sink.path"}},
		{"redaction", func(s *jobs.ExportSpec) {
			s.Redact = &jobs.Redact{Kinds: jobs.RedactKinds, Patterns: []jobs.RedactPattern{{Name: "order", Regexp: `ORD-\d{8}`}}}
			*s = s.WithDefaults()
		}, nil},
		{"redaction of nothing", func(s *jobs.ExportSpec) { s.Redact = &jobs.Redact{} }, []string{"redact", "redact.replacement"}},
		{"redaction of what is not known", func(s *jobs.ExportSpec) {
			s.Redact = &jobs.Redact{Kinds: []string{"face", "phone", "phone"}, Replacement: strings.Repeat("x", 65)}
		}, []string{"redact.kinds[0]", "redact.kinds[2]", "redact.replacement"}},
		{"patterns", func(s *jobs.ExportSpec) {
			s.Redact = &jobs.Redact{Replacement: "x"}
			for _, bad := range []string{"", "(", "x*", "a|", "(?:x{900}){900}", `\b`, "^", "(x?)+", "(?i:y)z?", "[^a]$", `(?:[一-龥]{1000}){9}`} {
				s.Redact.Patterns = append(s.Redact.Patterns, jobs.RedactPattern{Name: "p" + strconv.Itoa(len(s.Redact.Patterns)), Regexp: bad})
			}
		}, []string{
			"redact.patterns[0].regexp", "redact.patterns[1].regexp", "redact.patterns[2].regexp", "redact.patterns[3].regexp", "redact.patterns[4].regexp",
			"redact.patterns[5].regexp", "redact.patterns[6].regexp", "redact.patterns[7].regexp", "redact.patterns[10].regexp",
		}},
		{"names of patterns", func(s *jobs.ExportSpec) {
			s.Redact = &jobs.Redact{Kinds: []string{"phone"}, Replacement: "x", Patterns: []jobs.RedactPattern{{"a", "x"}, {"a", "y"}, {"email", "z"}, {"{}", "z"}}}
		}, []string{"redact.patterns[1].name", "redact.patterns[2].name", "redact.patterns[3].name"}},
		{"too many patterns", func(s *jobs.ExportSpec) {
			s.Redact = &jobs.Redact{Replacement: "x"}
			for i := range 33 {
				s.Redact.Patterns = append(s.Redact.Patterns, jobs.RedactPattern{Name: "p" + strconv.Itoa(i), Regexp: strings.Repeat("x", 130)})
			}
		}, []string{"redact.patterns", "redact.patterns"}},
		{"parquet", func(s *jobs.ExportSpec) { s.Format, s.Compression = "parquet", ""; *s = s.WithDefaults() }, nil},
		{"parquet that is packed once more", func(s *jobs.ExportSpec) { s.Format, s.Compression = "parquet", "gzip" }, []string{"compression"}},
		{"dialogues", func(s *jobs.ExportSpec) { s.Format, s.Filter = "openai-chat", filter(4, 5) }, nil},
		{"dialogues without one side", func(s *jobs.ExportSpec) { s.Format, s.Filter = "sharegpt", filter(4, 5, "user") }, []string{"filter.messageTypes"}},
		{"partitions", func(s *jobs.ExportSpec) {
			s.Partition = &jobs.Partition{By: []string{"character", "day"}, TimeZone: "Asia/Shanghai"}
		}, nil},
		{"partitions by what cannot be", func(s *jobs.ExportSpec) {
			s.Partition = &jobs.Partition{By: []string{"user", "day", "day"}, TimeZone: "Mars"}
		}, []string{"partition.by[0]", "partition.by[2]", "partition.timeZone"}},
		{"partitions by nothing", func(s *jobs.ExportSpec) { s.Partition = &jobs.Partition{TimeZone: "Local"} }, []string{"partition.by", "partition.timeZone"}},
		{"partitions of years, and of long ids", func(s *jobs.ExportSpec) {
			s.To, s.Characters = s.To.AddDate(3, 0, 0), jobs.Names{strings.Repeat("好", 27)}
			s.Partition = &jobs.Partition{By: []string{"day", "character"}, TimeZone: "UTC"}
		}, []string{"partition.by", "characters"}},
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

func many(n int) (ids jobs.Names) {
	for i := range n {
		ids = append(ids, strconv.Itoa(i))
	}
	return ids
}

func filter(low, high float64, types ...string) *jobs.Filter {
	return &jobs.Filter{MessageTypes: types, MinRating: &low, MaxRating: &high}
}

func TestSpecInJSON(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		`{"characters":"my","users":["directory"],"watermark":{"name":"w","lookback":"1h30m"}}`: true,
		`{"characters":[]}`:            true,
		`{"characters":7}`:             false,
		`{"users":[1]}`:                false,
		`{"watermark":{"lag":"soon"}}`: false,
		`{"watermark":{"lag":5}}`:      false,
	} {
		var s jobs.ExportSpec
		if err := json.Unmarshal([]byte(text), &s); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
		if !good || s.Watermark == nil {
			continue
		}
		s = s.WithDefaults()
		again, err := json.Marshal(s)
		if err != nil || !s.Characters.Is("my") || !strings.Contains(string(again), `"lookback":"1h30m0s","lag":"5m0s"`) {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	rated := func(rating float64) jobs.Row { return jobs.Row{MessageType: "user", Rating: &rating} }
	low, high := 1.0, 3.0
	for _, tc := range []struct {
		name   string
		filter *jobs.Filter
		row    jobs.Row
		want   bool
	}{
		{"none", nil, jobs.Row{}, true},
		{"empty", &jobs.Filter{}, jobs.Row{}, true},
		{"type", &jobs.Filter{MessageTypes: []string{"x", "user"}}, rated(0), true},
		{"other type", &jobs.Filter{MessageTypes: []string{"x"}}, rated(0), false},
		{"not rated", &jobs.Filter{MinRating: &low}, jobs.Row{}, false},
		{"least", &jobs.Filter{MinRating: &low}, rated(1), true},
		{"less", &jobs.Filter{MinRating: &low}, rated(0.5), false},
		{"most", &jobs.Filter{MaxRating: &high}, rated(3), true},
		{"more", filter(1, 3, "user"), rated(3.5), false},
		{"between", filter(1, 3, "user"), rated(2), true},
	} {
		if got := tc.filter.Passes(tc.row); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestWindowResultEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		result jobs.WindowResult
		want   bool
	}{
		{jobs.WindowResult{}, false},
		{jobs.WindowResult{Done: true, Round: 1}, true},
		{jobs.WindowResult{Error: "x", Round: 1}, false},
		{jobs.WindowResult{Error: "x", Round: 2}, true},
	} {
		if got := tc.result.Ended(2); got != tc.want {
			t.Errorf("%+v: %v", tc.result, got)
		}
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

func TestPartitionPath(t *testing.T) {
	t.Parallel()
	shanghai, err := (&jobs.Partition{TimeZone: "Asia/Shanghai"}).Zone()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2024, 5, 1, 16, 0, 0, 0, time.UTC)
	both := &jobs.Partition{By: []string{"character", "day"}}
	for _, tc := range []struct {
		partition *jobs.Partition
		id        string
		at        time.Time
		want      string
	}{
		{both, "c1", at, "character=c1/day=2024-05-02"},
		{both, "c1", at.Add(-time.Millisecond), "character=c1/day=2024-05-01"},
		{both, "../好 =%", at, "character=..%2F%E5%A5%BD%20%3D%25/day=2024-05-02"},
		{&jobs.Partition{By: []string{"day"}}, "c1", at, "day=2024-05-02"},
		{nil, "c1", at, ""},
	} {
		if got := tc.partition.Path(tc.id, tc.at, shanghai); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
	if diff := cmp.Diff(map[string]string{"character": "../好", "day": "2024-05-02"}, both.Labels("../好", at, shanghai)); diff != "" {
		t.Error(diff)
	}
}

func TestManifestsHaveNoPatterns(t *testing.T) {
	t.Parallel()
	r := &jobs.Redact{Patterns: []jobs.RedactPattern{{Name: "a", Regexp: "secret"}}, Replacement: "x"}
	bare, err := json.Marshal(r.WithoutPatterns())
	if err != nil || string(bare) != `{"patterns":[{"name":"a"}],"replacement":"x"}` || r.Patterns[0].Regexp != "secret" {
		t.Errorf("%s, %v, %+v", bare, err, r)
	}
}

func TestFilterOfDialogues(t *testing.T) {
	t.Parallel()
	rows := func(ratings ...float64) []jobs.Row {
		list := []jobs.Row{{MessageType: "user"}}
		for _, rating := range ratings {
			list = append(list, jobs.Row{MessageType: "character", Rating: &rating})
		}
		return list
	}
	for _, tc := range []struct {
		filter *jobs.Filter
		rows   []jobs.Row
		want   bool
	}{
		{nil, rows(1), true},
		{&jobs.Filter{}, rows(), true},
		{filter(4, 5), rows(), false},
		{filter(4, 5), rows(4, 5), true},
		{filter(4, 5), rows(4, 3), false},
	} {
		if got := tc.filter.PassesDialogue(tc.rows); got != tc.want {
			t.Errorf("%+v of %+v: %v", tc.filter, tc.rows, got)
		}
	}
}

func TestCompressionOfParquet(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"none", "gzip", "rar"} {
		s := spec(t)
		s.Format, s.Compression = "parquet", compression
		want := []jobs.Fault{{
			Field:   "compression",
			Message: `"` + compression + `" does not go with format "parquet", whose files are compressed by zstd themselves: leave it out, or say "zstd"`,
		}}
		if diff := cmp.Diff(want, s.Check()); diff != "" {
			t.Error(diff)
		}
	}
}
