package export_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
	history "xinghe/testlocal/emulator/xingchen"
	"xinghe/workers/export"
)

// secrets are what must not leave, with what it is counted as.
var secrets = []struct{ text, kind string }{
	{"138-0013-8000", jobs.RedactPhone},
	{"+86 139 0013 9000", jobs.RedactPhone},
	{"11010519491231002X", jobs.RedactIDCard},
	{"xiao.ming@example.com", jobs.RedactEmail},
	{"4111 1111 1111 1111", jobs.RedactBankCard},
	{"ORD-12345678", "order"},
}

// kept looks like secrets, but is none.
const kept = "12345678901,4111 1111 1111 1112,ORD-1234567"

// confided gives about every other message one of the secrets, and the rest what looks like them.
func confided(m *xingchen.HistoryMessage) {
	hash := crc32.ChecksumIEEE([]byte(m.MessageID))
	secret := secrets[int(hash>>8)%len(secrets)]
	if hash%2 == 0 {
		m.Content = "记住:" + kept
		return
	}
	m.Content = "记住:" + secret.text + "。"
}

// redaction asks for all of them.
func redaction() *jobs.Redact {
	return &jobs.Redact{Kinds: jobs.RedactKinds, Patterns: []jobs.RedactPattern{{Name: "order", Regexp: `ORD-\d{8}`}}}
}

func TestRedactedAndPartitionedExport(t *testing.T) {
	t.Parallel()
	s := serve(t, history.History{Characters: 2, Users: 1, Messages: 5000, From: day, To: day.AddDate(0, 0, 6)})
	want := s.generated(t)
	if err := s.Faults().Set(troubles(0.02)...); err != nil {
		t.Fatal(err)
	}
	expected := map[string]int64{}
	for i := range want {
		confided(&want[i])
		for _, secret := range secrets {
			if strings.Contains(want[i].Content, secret.text) {
				want[i].Content = strings.Replace(want[i].Content, secret.text, "["+secret.kind+"]", 1)
				expected[secret.kind]++
			}
		}
	}
	spec := s.spec("redacted")
	spec.Redact, spec.Compression = redaction(), jobs.CompressionZstd
	spec.Partition = &jobs.Partition{By: []string{jobs.PartitionCharacter, jobs.PartitionDay}, TimeZone: "Asia/Shanghai"}
	manifest, rows := takenOver(t, s, altered{s.Client, confided}, spec, 50)
	same(t, want, rows)
	ordered(t, rows)
	sum := map[string]int64{}
	for _, window := range manifest.Windows {
		for kind, count := range window.Redacted {
			sum[kind] += count
		}
	}
	if diff := cmp.Diff(expected, manifest.Redacted); diff != "" || !cmp.Equal(expected, sum) || len(expected) != 5 {
		t.Errorf("redacted, windows have %v:\n%s", sum, diff)
	}
	// Six days of UTC are seven of Shanghai.
	days := map[string]bool{}
	for _, part := range manifest.Parts {
		days[part.Partition["day"]] = true
	}
	if len(days) != 7 || !manifest.Complete {
		t.Errorf("days %v, complete %v", days, manifest.Complete)
	}
}

// TestNothingRedactedIsLeftAnywhere looks for the secrets in every file, and in what the
// manifest says about them.
func TestNothingRedactedIsLeftAnywhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 300)
	b.work(func(c *export.Config) { c.Histories, c.PartBytes = altered{b.upstream, planted}, 8000 })
	for _, format := range []string{jobs.FormatJSONL, jobs.FormatCSV} {
		spec := spec([]string{"c"}, []string{"u"})
		spec.Redact, spec.Format = redaction(), format
		if e := b.end(b.startSpec("exp_"+format, spec).ID); e.State != jobs.StateDone {
			t.Fatalf("%s: %v", e.State, e.Error)
		}
	}
	files := 0
	err := filepath.WalkDir(b.root, func(place string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(place)
		for _, secret := range append(secrets, struct{ text, kind string }{`\\d{8}`, "the pattern"}) {
			if bytes.Contains(data, []byte(secret.text)) {
				t.Errorf("%s holds %s", place, secret.kind)
			}
		}
		return err
	})
	if err != nil || files < 8 {
		t.Errorf("%d files, %v", files, err)
	}
}

// planted gives each message of [upstream] one of the secrets.
func planted(m *xingchen.HistoryMessage) {
	m.Content = secrets[int(m.GmtCreate)%len(secrets)].text
}

func TestWhatCannotBeRedactedStopsTheExport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "u", 200)
	b.upstream.fill("c", "v", 10)
	long := b.upstream.rows["c/u"][150].MessageID
	broken := true
	b.work(func(c *export.Config) {
		c.PartBytes, c.Windows = 8000, 1
		c.Histories = altered{b.upstream, func(m *xingchen.HistoryMessage) {
			planted(m)
			if broken && m.MessageID == long {
				m.Content = strings.Repeat("138-0013-8000 ", 80_000)
			}
		}}
	})
	spec := spec([]string{"c"}, []string{"u", "v"})
	spec.Redact = redaction()
	e := b.end(b.startSpec("exp_LONG", spec).ID)
	if e.State != jobs.StateFailed || e.Error == nil || !strings.Contains(*e.Error, "message "+long+": redact: a text of 1120000 bytes") {
		t.Fatalf("%s: %v", e.State, e.Error)
	}
	b.told(e, "xinghe.export.failed")
	manifest, rows := b.files(e)
	for _, row := range rows {
		if !strings.HasPrefix(row.Content, "[") || row.MessageID == long {
			t.Errorf("it has let pass: %+v", row)
		}
	}
	if manifest.Complete || len(manifest.Parts) == 0 {
		t.Errorf("manifest: %+v", manifest)
	}
	broken = false
	b.resume(e.ID)
	if e = b.end(e.ID); e.State != jobs.StateDone || e.Progress.Rows != 210 {
		t.Errorf("resumed: %+v", e)
	}
	manifest, _ = b.files(e)
	var found int64
	for _, count := range manifest.Redacted {
		found += count
	}
	if found != 210 {
		t.Errorf("%d things are redacted: %v", found, manifest.Redacted)
	}
	if text := fmt.Sprint(e); strings.Contains(text, "138-0013") {
		t.Errorf("the export's record tells the text: %s", text)
	}
}

// A watermark says only when the run is planned how long the range is.
func TestTooManyDays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.work(nil)
	spec := spec([]string{"c"}, []string{"u"})
	spec.From, spec.To, spec.Watermark = spec.From.AddDate(-10, 0, 0), time.Time{}, &jobs.Watermark{Name: "w"}
	spec.Partition = &jobs.Partition{By: []string{jobs.PartitionDay}}
	if e := b.end(b.startSpec("exp_DAYS", spec).ID); e.State != jobs.StateFailed || !strings.Contains(*e.Error, "more than 998 days") {
		t.Errorf("%+v", e)
	}
}
