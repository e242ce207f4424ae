package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"xinghe/shared/jobs"
)

// exported is an export whose files a test can spoil, and the deployment that has it.
type exported struct {
	t        *testing.T
	manifest jobs.Manifest
	rows     [][]jobs.Row // by part
	files    map[string][]byte
	raw      []byte           // manifest in place of the one above
	upstream map[string]int64 // by user
	// failures are how many answers break off halfway before one is whole.
	failures atomic.Int64
	url      string
}

var (
	rangeFrom = time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	rangeTo   = rangeFrom.Add(24 * time.Hour)
)

// newExported has three complete windows, of 7, 0 and 3 rows in parts of up to 4, and one
// row of a window that was given up if partial.
func newExported(t *testing.T, spec jobs.ExportSpec, partial bool) *exported {
	t.Helper()
	e := &exported{t: t, files: map[string][]byte{}, upstream: map[string]int64{}}
	spec.Characters, spec.Users = jobs.Names{"c"}, jobs.Names{"=u0", "=u1", "=u2"}
	e.manifest = jobs.Manifest{Version: 1, ID: "exp_1", Spec: spec, Complete: !partial, Range: &jobs.Range{From: rangeFrom, To: rangeTo}}
	for window, count := range []int{7, 0, 3} {
		user := fmt.Sprintf("=u%d", window)
		for first := 0; first < count; first += 4 {
			e.add(window, user, first, min(4, count-first))
		}
		e.manifest.Windows = append(e.manifest.Windows, jobs.WindowCount{
			Number: window, CharacterID: "c", UserID: user, From: rangeFrom, To: rangeTo,
			TotalBefore: int64(count) + 1, TotalAfter: int64(count) + 1, Rows: int64(count), Filtered: 1,
		})
		e.upstream[user] = int64(count) + 1
	}
	if partial {
		e.add(3, "=u3", 0, 1)
		e.manifest.Failed = []jobs.WindowFailure{{Number: 3, CharacterID: "c", UserID: "=u3", Reason: "it moved"}}
	}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

// add makes a part of a user's rows, two of which are of each millisecond.
func (e *exported) add(window int, user string, first, count int) {
	folder := "n/exp_1"
	part := jobs.Part{Window: window}
	if e.manifest.Spec.Partition != nil {
		folder += "/character=c/day=2024-05-01"
		part.Partition = map[string]string{"character": "c", "day": "2024-05-01"}
	}
	part.Path = fmt.Sprintf("%s/%06d-%05d 好", folder, window, first)
	var rows []jobs.Row
	for i := first; i < first+count; i++ {
		at := rangeFrom.Add(time.Duration(i/2) * time.Millisecond)
		rows = append(rows, jobs.Row{
			MessageID: fmt.Sprintf("m%d-%02d", window, i), CharacterID: "c", UserID: user, Content: "一\r\n\"二\",三",
			GmtCreate: at.UnixMilli(), Time: at.Format(time.RFC3339Nano),
		})
	}
	e.manifest.Parts, e.rows = append(e.manifest.Parts, part), append(e.rows, rows)
	e.seal(len(e.rows) - 1)
}

// seal writes a part's rows, and puts them in the manifest.
func (e *exported) seal(index int) {
	e.t.Helper()
	var plain bytes.Buffer
	switch e.manifest.Spec.Format {
	case jobs.FormatCSV:
		writeCSV(&plain, e.rows[index])
	case jobs.FormatParquet:
		writeParquet(e.t, &plain, e.rows[index])
	default:
		encoder := json.NewEncoder(&plain)
		for _, row := range e.rows[index] {
			if err := encoder.Encode(row); err != nil {
				e.t.Fatal(err)
			}
		}
	}
	var file bytes.Buffer
	var to io.WriteCloser
	switch spec := e.manifest.Spec; {
	case spec.Format == jobs.FormatParquet: // compresses within
	case spec.Compression == jobs.CompressionGzip:
		to = gzip.NewWriter(&file)
	case spec.Compression == jobs.CompressionZstd:
		to, _ = zstd.NewWriter(&file)
	}
	if to == nil {
		file = plain
	} else if _, err := plain.WriteTo(to); err != nil || to.Close() != nil {
		e.t.Fatal(err)
	}
	part := &e.manifest.Parts[index]
	sum := sha256.Sum256(file.Bytes())
	e.files[part.Path] = file.Bytes()
	e.manifest.Rows += int64(len(e.rows[index])) - part.Rows
	part.Rows, part.Bytes, part.SHA256 = int64(len(e.rows[index])), int64(file.Len()), hex.EncodeToString(sum[:])
	part.First, part.Last = e.rows[index][0].MessageID, e.rows[index][len(e.rows[index])-1].MessageID
}

func writeCSV(to *bytes.Buffer, rows []jobs.Row) {
	to.WriteString("\ufeff")
	writer := csv.NewWriter(to)
	writer.UseCRLF = true
	_ = writer.Write([]string{"messageId", "userId", "characterId", "content", "gmtCreate", "time"})
	for _, row := range rows {
		_ = writer.Write([]string{row.MessageID, "'" + row.UserID, row.CharacterID, row.Content, strconv.FormatInt(row.GmtCreate, 10), row.Time})
	}
	writer.Flush()
}

// writeParquet writes a row group for every three rows.
func writeParquet(tb testing.TB, to io.Writer, rows []jobs.Row) {
	tb.Helper()
	type row struct {
		MessageID   string   `parquet:"messageId,plain"`
		CharacterID string   `parquet:"characterId,plain"`
		UserID      string   `parquet:"userId,plain"`
		Content     string   `parquet:"content,dict"`
		Rating      *float64 `parquet:"rating"`
		GmtCreate   int64    `parquet:"gmtCreate,plain"`
	}
	writer := parquet.NewGenericWriter[row](to, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(3))
	for _, r := range rows {
		if _, err := writer.Write([]row{{r.MessageID, r.CharacterID, r.UserID, r.Content, r.Rating, r.GmtCreate}}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		tb.Fatal(err)
	}
}

func (e *exported) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, isFile := strings.CutPrefix(r.URL.Path, "/v1/exports/exp_1/files/")
	file, known := e.files[path]
	switch {
	case path == "manifest.json":
		file, known = e.raw, true
		if file == nil {
			file, _ = json.Marshal(e.manifest)
		}
	case r.URL.Path == "/v2/api/chat/message/histories":
		body, _ := io.ReadAll(r.Body)
		var query struct {
			Where struct {
				CharacterID, BizUserID string
				StartTime, EndTime     int64
			}
			PageSize int
		}
		if json.Unmarshal(body, &query) != nil || query.Where.StartTime != rangeFrom.UnixMilli() || query.Where.EndTime != rangeTo.UnixMilli()-1 || query.PageSize != 1 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintf(w, `{"success":true,"data":{"total":%d}}`, e.upstream[query.Where.BizUserID])
		return
	}
	if !isFile || !known {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(file)))
	if e.failures.Add(-1) >= 0 {
		file = file[:len(file)/2]
	}
	_, _ = w.Write(file)
}

// verified runs verify, and takes its findings and its sum apart.
func (e *exported) verified(args ...string) (code int, findings []finding, sum summary) {
	e.t.Helper()
	got := command(e.t, e.url, "", append([]string{"export", "verify", "exp_1"}, args...)...)
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	for _, line := range lines[:len(lines)-1] {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			e.t.Fatalf("%+v: %v", got, err)
		}
		findings = append(findings, f)
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil || got.stderr != "" {
		e.t.Fatalf("%+v: %v", got, err)
	}
	if sum.Findings != len(findings) {
		e.t.Errorf("%d findings, the sum says %d", len(findings), sum.Findings)
	}
	return got.code, findings, sum
}

func TestVerifyTrueExports(t *testing.T) {
	t.Parallel()
	all := []string{jobs.CompressionNone, jobs.CompressionGzip, jobs.CompressionZstd}
	for format, compressions := range map[string][]string{jobs.FormatJSONL: all, jobs.FormatCSV: all, jobs.FormatParquet: all[2:]} {
		for _, compression := range compressions {
			t.Run(format+" "+compression, func(t *testing.T) {
				t.Parallel()
				e := newExported(t, jobs.ExportSpec{Format: format, Compression: compression}, false)
				code, findings, sum := e.verified("--upstream")
				if code != 0 || len(findings) != 0 {
					t.Errorf("exit %d: %+v", code, findings)
				}
				sum.SHA256 = ""
				if diff := cmp.Diff(summary{ID: "exp_1", Complete: true, Parts: 3, Windows: 3, Rows: 10, Upstream: true}, sum); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestVerifyPartitions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		zone     string
		by       []string
		damage   func(e *exported)
		findings int
	}{
		"true":           {"Asia/Shanghai", []string{"character", "day"}, func(*exported) {}, 0},
		"another zone":   {"America/New_York", []string{"character", "day"}, func(*exported) {}, 10},
		"another order":  {"UTC", []string{"day", "character"}, func(*exported) {}, 10},
		"another label":  {"UTC", []string{"character", "day"}, func(e *exported) { e.manifest.Parts[2].Partition["day"] = "2024-05-02" }, 3},
		"one message's":  {"UTC", []string{"character", "day"}, func(e *exported) { e.rows[2][2].GmtCreate += 86_400_000; e.seal(2) }, 2}, // nor is it of the range
		"unknown to us":  {"Mars", []string{"day"}, func(*exported) {}, -1},
		"other than day": {"UTC", []string{"character"}, func(*exported) {}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := jobs.ExportSpec{Format: jobs.FormatJSONL, Partition: &jobs.Partition{By: tc.by, TimeZone: tc.zone}}
			e := newExported(t, spec, false)
			tc.damage(e)
			if tc.findings < 0 {
				if got := command(t, e.url, "", "export", "verify", "exp_1"); got.code != 1 || !strings.Contains(got.stderr, "Mars") {
					t.Errorf("%+v", got)
				}
				return
			}
			_, findings, _ := e.verified()
			for _, f := range findings {
				if f.Kind != findForeign {
					t.Errorf("%+v", f)
				}
			}
			if len(findings) != tc.findings {
				t.Errorf("%d findings, want %d: %+v", len(findings), tc.findings, findings)
			}
		})
	}
}

func TestVerifyPartialExport(t *testing.T) {
	t.Parallel()
	e := newExported(t, jobs.ExportSpec{Format: jobs.FormatJSONL}, true)
	code, findings, sum := e.verified("--upstream")
	if code != 3 || len(findings) != 0 || sum.Parts != 4 || sum.Windows != 3 || sum.Rows != 11 || sum.Complete {
		t.Errorf("exit %d: %+v %+v", code, findings, sum)
	}
}

// TestVerifyNames holds that each kind of damage is found, and named.
func TestVerifyNames(t *testing.T) {
	t.Parallel()
	firstPart := "n/exp_1/000000-00000 好"
	for _, tc := range []struct {
		name   string
		damage func(e *exported)
		want   []finding // by kind, part, user and message; details hold
	}{
		{"a changed part", func(e *exported) {
			e.files[firstPart] = bytes.Replace(e.files[firstPart], []byte("三"), []byte("四"), 1)
		}, []finding{{Kind: findChanged, Part: firstPart, Detail: "SHA-256"}}},
		{"bytes behind a part", func(e *exported) {
			e.files[firstPart] = append(e.files[firstPart], '\n')
		}, []finding{{Kind: findChanged, Part: firstPart, Detail: "bytes"}}},
		{"a part that is cut", func(e *exported) {
			e.files[firstPart] = e.files[firstPart][:len(e.files[firstPart])-9]
		}, []finding{
			{Kind: findChanged, Part: firstPart, Detail: "SHA-256"},
			{Kind: findChanged, Part: firstPart, Detail: "row 4 cannot be read"},
			{Kind: findGap, UserID: "=u0", Detail: "the window has 6 rows, the manifest says 7"},
		}},
		{"a missing part", func(e *exported) { delete(e.files, firstPart) }, []finding{
			{Kind: findMissing, Part: firstPart, Detail: "exist"},
			{Kind: findGap, UserID: "=u0", Detail: "the window has 3 rows, the manifest says 7"},
		}},
		{"a row that stands twice", func(e *exported) {
			e.rows[0] = slices.Insert(e.rows[0], 2, e.rows[0][1])
			e.seal(0)
		}, []finding{
			{Kind: findDouble, Part: firstPart, UserID: "=u0", MessageID: "m0-01", Detail: "stands twice"},
			{Kind: findGap, UserID: "=u0", Detail: "the window has 8 rows, the manifest says 7"},
		}},
		{"a row that stands twice, far away", func(e *exported) {
			e.rows[0] = append(e.rows[0], e.rows[0][1])
			e.seal(0)
		}, []finding{
			{Kind: findDouble, Part: firstPart, UserID: "=u0", MessageID: "m0-01", Detail: "stands twice"},
			{Kind: findGap, UserID: "=u0", Detail: "8 rows"},
		}},
		{"a row of the part before", func(e *exported) {
			e.rows[1] = append([]jobs.Row{e.rows[0][3]}, e.rows[1][1:]...)
			e.seal(1)
		}, []finding{{Kind: findDouble, Part: "n/exp_1/000000-00004 好", UserID: "=u0", MessageID: "m0-03", Detail: "twice"}}},
		{"rows out of order", func(e *exported) {
			e.rows[0][1], e.rows[0][2] = e.rows[0][2], e.rows[0][1]
			e.seal(0)
		}, []finding{{Kind: findOrder, Part: firstPart, UserID: "=u0", MessageID: "m0-01", Detail: "behind m0-02"}}},
		{"a row of another user", func(e *exported) {
			e.rows[0][1].UserID = "=u2"
			e.seal(0)
		}, []finding{{Kind: findForeign, Part: firstPart, UserID: "=u2", MessageID: "m0-01", Detail: "user =u0"}}},
		{"a row after the range", func(e *exported) {
			e.rows[2][2].GmtCreate = rangeTo.UnixMilli()
			e.seal(2)
		}, []finding{{Kind: findForeign, Part: "n/exp_1/000002-00000 好", UserID: "=u2", MessageID: "m2-02", Detail: "range"}}},
		{"a part left out of the manifest", func(e *exported) {
			e.manifest.Parts = e.manifest.Parts[:2]
		}, []finding{
			{Kind: findGap, UserID: "=u2", Detail: "the window has 0 rows, the manifest says 3"},
		}},
		{"a part said to be longer", func(e *exported) { e.manifest.Parts[0].Rows++ }, []finding{{Kind: findChanged, Part: firstPart, Detail: "4 rows, the manifest says 5"}}},
		{"a part said to end elsewhere", func(e *exported) { e.manifest.Parts[0].Last = "m0-99" }, []finding{{Kind: findChanged, Part: firstPart, Detail: "messages m0-00 to m0-03, the manifest says m0-00 to m0-99"}}},
		{"totals that moved", func(e *exported) { e.manifest.Windows[2].TotalAfter++ }, []finding{{Kind: findGap, UserID: "=u2", Detail: "4 before and 5 after"}}},
		{"a sum that is wrong", func(e *exported) { e.manifest.Rows++ }, []finding{{Kind: findManifest, Detail: "11 rows, its parts have 10"}}},
		{"a window left out of the manifest", func(e *exported) {
			e.manifest.Windows = slices.Delete(e.manifest.Windows, 1, 2)
		}, []finding{{Kind: findManifest, Detail: "asks for 3 windows, there are 2"}}},
		{"windows out of order", func(e *exported) { slices.Reverse(e.manifest.Windows) }, []finding{{Kind: findManifest, Detail: "not in the order"}}},
		{"another export's manifest", func(e *exported) { e.manifest.ID = "exp_2" }, []finding{{Kind: findManifest, Detail: `export "exp_2"`}}},
		{"more upstream", func(e *exported) { e.upstream["=u0"] += 2 }, []finding{{Kind: findGap, UserID: "=u0", Detail: "upstream has 10 messages by now, the export has 8: 2 are missing"}}},
		{"less upstream", func(e *exported) { e.upstream["=u1"] = 0 }, []finding{{Kind: findGap, UserID: "=u1", Detail: "1 are gone there"}}},
		{"a changed manifest of the run before", func(e *exported) {
			e.manifest.Previous = &jobs.ManifestRef{ID: "exp_1", SHA256: "00"}
		}, []finding{{Kind: findChanged, Detail: "the run before, exp_1"}}},
		{"the run before is deleted", func(e *exported) { e.manifest.Previous = &jobs.ManifestRef{ID: "exp_0", SHA256: "00"} }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newExported(t, jobs.ExportSpec{Format: jobs.FormatJSONL}, false)
			tc.damage(e)
			code, got, _ := e.verified("--upstream")
			if want := min(len(tc.want), 1); code != want {
				t.Errorf("exit %d", code)
			}
			if len(got) != len(tc.want) {
				t.Fatalf("%+v", got)
			}
			for i, want := range tc.want {
				f := got[i]
				if f.Kind != want.Kind || f.Part != want.Part || f.UserID != want.UserID || f.MessageID != want.MessageID || !strings.Contains(f.Detail, want.Detail) {
					t.Errorf("%+v, want %+v", f, want)
				}
			}
		})
	}
}

func TestVerifyBearsABadConnection(t *testing.T) {
	t.Parallel()
	e := newExported(t, jobs.ExportSpec{Format: jobs.FormatJSONL, Compression: jobs.CompressionZstd}, false)
	e.failures.Store(3)
	c := newClient()
	defer c.close()
	c.address, c.backoff = e.url, func(int) time.Duration { return 0 }
	c.key = canaryKey()
	m, err := c.fetchManifest(t.Context(), "exp_1")
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	e.failures.Store(3)
	v := &verifier{client: c, id: "exp_1", manifest: m, report: lineReport{io.Discard}}
	if err := v.verify(t.Context()); err != nil || v.summary.Findings != 0 || v.summary.Rows != 10 || v.summary.Parts != 3 {
		t.Errorf("%v %+v", err, v.summary)
	}
}

func TestVerifyOfWhatIsNoManifest(t *testing.T) {
	t.Parallel()
	for text, said := range map[string]string{
		``: "unexpected EOF", `[]`: "stands where", `{"version":2}`: "version 2", `{"version":1,"parts":7}`: "is no list",
		`{"version":1,"parts":[{"path":`: "EOF", `{"version":1}x`: "",
	} {
		e := newExported(t, jobs.ExportSpec{}, false)
		e.raw = []byte(text)
		got := command(t, e.url, "", "export", "verify", "exp_1")
		if said != "" && (got.code != 1 || !strings.Contains(got.stderr, said)) {
			t.Errorf("%q: %+v", text, got)
		}
	}
	e := newExported(t, jobs.ExportSpec{}, false)
	if got := command(t, e.url, "", "export", "verify", "exp_none"); got.code != 1 || !strings.Contains(got.stderr, "404") {
		t.Errorf("%+v", got)
	}
}
