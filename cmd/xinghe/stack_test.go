package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
	"xinghe/testlocal/stack"
)

// system is a whole deployment with a history of 3 users, and the commands against it.
type system struct {
	*stack.Stack
	t         *testing.T
	character string
}

func startSystem(t *testing.T, messages int) *system {
	t.Helper()
	vars := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0",
		"XINGHE_DATA": t.TempDir(), "XINGHE_API_KEYS": "canary-key",
	}
	history := xingchen.History{Characters: 1, Users: 3, Messages: messages, From: rangeFrom, To: rangeTo}
	s, err := stack.Start(t.Context(), stack.Config{
		Getenv: func(name string) string { return vars[name] }, Log: io.Discard,
		Emulator: emulator.Config{Pace: emulator.NoPace, History: &history},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &system{Stack: s, t: t, character: history.CharacterIDs(0)[0]}
}

func (s *system) run(stdin string, args ...string) result {
	s.t.Helper()
	return command(s.t, s.URL, stdin, args...)
}

// spec of all three users; characters are added to that of the history.
func (s *system) spec(name, format, compression string, characters ...string) string {
	s.t.Helper()
	text, err := json.Marshal(jobs.ExportSpec{
		Name: name, Characters: append(jobs.Names{s.character}, characters...), Users: jobs.Names{"user-0", "user-1", "user-2"},
		From: rangeFrom, To: rangeTo, Format: format, Compression: compression,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// last is the export of a command's last line.
func (s *system) last(got result) jobs.Export {
	s.t.Helper()
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	var e jobs.Export
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil {
		s.t.Fatalf("%+v: %v", got, err)
	}
	return e
}

// exported starts an export and follows it; it must end with the code.
func (s *system) exported(spec string, code int) jobs.Export {
	s.t.Helper()
	got := s.run(spec, "export", "start", "--wait", "-")
	e := s.last(got)
	if got.code != code || !e.State.Ended() {
		s.t.Fatalf("%+v", got)
	}
	return e
}

func TestExportProvesItself(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 900)
	kinds := [][2]string{{jobs.FormatParquet, jobs.CompressionZstd}}
	for _, format := range []string{jobs.FormatJSONL, jobs.FormatCSV} {
		for _, compression := range []string{jobs.CompressionNone, jobs.CompressionGzip, jobs.CompressionZstd} {
			kinds = append(kinds, [2]string{format, compression})
		}
	}
	for _, kind := range kinds {
		format, compression := kind[0], kind[1]
		e := s.exported(s.spec(format+"-"+compression, format, compression), 0)
		if e.State != jobs.StateDone || e.Progress.Rows != 900 || e.Progress.WindowsDone != 3 {
			t.Errorf("%+v", e)
		}
		got := s.run("", "export", "verify", "--upstream", e.ID)
		if got.code != 0 || !strings.Contains(got.stdout, `"windows":3,"rows":900,"upstream":true,"findings":0`) {
			t.Errorf("%s %s: %+v", format, compression, got)
		}
	}
	// The same start again is the same export; another one of the same key is none.
	once := s.spec("once", jobs.FormatJSONL, jobs.CompressionNone)
	first, again := s.run(once, "export", "start", "-", "--idempotency-key", "k1"), s.run(once, "export", "start", "-", "--idempotency-key", "k1")
	if first.code != 0 || again != first {
		t.Errorf("started again: %+v, at first %+v", again, first)
	}
	if got := s.run(s.spec("other", jobs.FormatJSONL, jobs.CompressionNone), "export", "start", "-", "--idempotency-key", "k1"); got.code != 1 || !strings.Contains(got.stderr, "(409, ") {
		t.Errorf("another export of the same key: %+v", got)
	}
	if got := s.run("", "export", "watch", s.last(first).ID); got.code != 0 {
		t.Errorf("%+v", got)
	}
	got := s.run("", "export", "list", "--state", "done")
	if lines := strings.Split(strings.TrimSpace(got.stdout), "\n"); got.code != 0 || len(lines) != 8 || !strings.Contains(lines[1], `"csv-zstd"`) {
		t.Errorf("%+v", got)
	}
	if got := s.run("", "export", "list", "--limit", "2"); strings.Count(got.stdout, "\n") != 2 {
		t.Errorf("%+v", got)
	}
	// Who comes late hears of the end at once.
	if got := s.run("", "export", "watch", s.last(got).ID); got.code != 0 || strings.Count(got.stdout, "\n") != 1 || s.last(got).State != jobs.StateDone {
		t.Errorf("%+v", got)
	}
}

func TestVerifyFindsDamageOnTheDisk(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 300)
	e := s.exported(s.spec("nightly", jobs.FormatJSONL, jobs.CompressionNone), 0)
	place := filepath.Join(s.Exports, filepath.FromSlash(e.Manifest))
	manifest, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	var m jobs.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil || len(m.Parts) != 3 {
		t.Fatalf("%s %v", manifest, err)
	}
	part := filepath.Join(s.Exports, filepath.FromSlash(m.Parts[1].Path))
	whole, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(kind, word string) {
		t.Helper()
		got := s.run("", "export", "verify", e.ID)
		if got.code != 1 || !strings.Contains(got.stdout, `{"finding":"`+kind+`","part":"`+m.Parts[1].Path+`"`) || !strings.Contains(got.stdout, word) {
			t.Errorf("%+v; want %s with %q", got, kind, word)
		}
	}
	write := func(place string, text []byte) {
		t.Helper()
		if err := os.WriteFile(place, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(part, bytes.Replace(whole, []byte(`"messageType":"user"`), []byte(`"messageType":"used"`), 1))
	verify("changed", "SHA-256")

	if err := os.Remove(part); err != nil {
		t.Fatal(err)
	}
	verify("missing", "does not exist")

	// A row that stands twice, under a manifest that says so.
	lines := bytes.SplitAfter(whole, []byte("\n"))
	doubled := append(append([]byte{}, whole...), lines[7]...)
	write(part, doubled)
	var row jobs.Row
	if err := json.Unmarshal(lines[7], &row); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(doubled)
	was := m.Parts[1]
	m.Parts[1].Rows, m.Parts[1].Bytes, m.Parts[1].SHA256, m.Parts[1].Last = was.Rows+1, int64(len(doubled)), hex.EncodeToString(sum[:]), row.MessageID
	m.Windows[1].Rows, m.Windows[1].TotalBefore, m.Windows[1].TotalAfter = was.Rows+1, was.Rows+1, was.Rows+1
	m.Rows++
	forged, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	write(place, forged)
	verify("double", `"messageId":"`+row.MessageID+`"`)
	if got := s.run("", "export", "verify", "--upstream", e.ID); !strings.Contains(got.stdout, fmt.Sprintf("upstream has %d messages by now, the export has %d", was.Rows, was.Rows+1)) {
		t.Errorf("%+v", got)
	}
}

func TestCancelAndResume(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 6000)
	undisturbed := s.exported(s.spec("undisturbed", jobs.FormatJSONL, jobs.CompressionGzip), 0)
	slow := fault.Rule{Route: "/v2/api/chat/message/histories", Fault: fault.Latency, Delay: 200 * time.Millisecond}
	if err := s.Emulator.Faults().Set(slow); err != nil {
		t.Fatal(err)
	}
	spec := s.spec("nightly", jobs.FormatJSONL, jobs.CompressionGzip)
	got := s.run(spec, "export", "start", "-")
	e := s.last(got)
	if got.code != 0 || e.State != jobs.StateQueued {
		t.Fatalf("%+v", got)
	}
	if got := s.run(spec, "export", "start", "-"); got.code != 1 || !strings.Contains(got.stderr, e.ID) || !strings.Contains(got.stderr, "409, conflict") {
		t.Errorf("the name is live: %+v", got)
	}
	if got := s.run("", "export", "resume", e.ID); got.code != 1 || !strings.Contains(got.stderr, "only what has ended can be resumed") {
		t.Errorf("%+v", got)
	}
	if got := s.run("", "export", "cancel", e.ID); got.code != 0 || s.last(got).CancelledAt == nil {
		t.Errorf("%+v", got)
	}
	if got := s.run("", "export", "watch", e.ID); got.code != 1 || s.last(got).State != jobs.StateCancelled {
		t.Errorf("%+v", got)
	}
	if got := s.run("", "export", "cancel", e.ID); got.code != 1 || !strings.Contains(got.stderr, "nothing left to cancel") {
		t.Errorf("%+v", got)
	}
	if err := s.Emulator.Faults().Set(); err != nil {
		t.Fatal(err)
	}
	if got := s.run("", "export", "resume", "--wait", e.ID); got.code != 0 || s.last(got).State != jobs.StateDone || s.last(got).Progress.Rows != 6000 {
		t.Fatalf("%+v", got)
	}
	if got := s.run("", "export", "verify", "--upstream", e.ID); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if one, other := s.parts(undisturbed), s.parts(s.last(s.run("", "export", "show", e.ID))); one != other {
		t.Errorf("the parts of the resumed export are others than those of the undisturbed:\n%s\n%s", other, one)
	}
}

// parts is what a manifest says of the parts' contents.
func (s *system) parts(e jobs.Export) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Exports, filepath.FromSlash(e.Manifest)))
	if err != nil {
		s.t.Fatal(err)
	}
	var m jobs.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		s.t.Fatal(err)
	}
	var sums []string
	for _, part := range m.Parts {
		sums = append(sums, filepath.Base(part.Path)+" "+part.SHA256)
	}
	return strings.Join(sums, "\n")
}

func TestWatermarkGoesOn(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 60)
	spec := fmt.Sprintf(`{"name":"daily","characters":%q,"users":["user-0","user-1"],"watermark":{"name":"daily"}}`, s.character)
	if got := s.run(spec, "export", "start", "-"); got.code != 1 || !strings.Contains(got.stderr, `from: missing: the watermark "daily" has no value yet`) {
		t.Errorf("%+v", got)
	}
	first := s.exported(strings.Replace(spec, `"watermark"`, `"from":"2024-05-01T00:00:00Z","watermark"`, 1), 0)
	second := s.exported(spec, 0)
	if first.Progress.Rows != 40 || second.Progress.Rows != 0 || !second.Range.From.Equal(first.Range.To) || second.Previous.ExportID != first.ID {
		t.Errorf("%+v, then %+v", first, second)
	}
	if got := s.run("", "export", "verify", "--upstream", second.ID); got.code != 0 {
		t.Errorf("%+v", got)
	}
	place := filepath.Join(s.Exports, filepath.FromSlash(first.Manifest))
	if err := os.WriteFile(place, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.run("", "export", "verify", second.ID); got.code != 1 || !strings.Contains(got.stdout, "the manifest of the run before, "+first.ID) {
		t.Errorf("%+v", got)
	}
}

func TestPartialAndFailedExports(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 30)
	e := s.exported(s.spec("partial", jobs.FormatJSONL, jobs.CompressionNone, "c0000000000000000000000000000000"), 3)
	if e.State != jobs.StatePartial || e.Progress.Rows != 30 || e.Error == nil || !strings.Contains(*e.Error, "3 of 6 histories are missing") {
		t.Errorf("%+v", e)
	}
	if got := s.run("", "export", "verify", "--upstream", e.ID); got.code != 3 || !strings.Contains(got.stdout, `"complete":false`) {
		t.Errorf("%+v", got)
	}
	failed := strings.Replace(s.spec("failed", jobs.FormatJSONL, jobs.CompressionNone), s.character, "c0000000000000000000000000000000", 1)
	if e := s.exported(failed, 1); e.State != jobs.StateFailed {
		t.Errorf("%+v", e)
	}
	if got := s.run(`{"name":"n"}`, "export", "start", "-"); got.code != 1 || !strings.Contains(got.stderr, "characters: missing") || !strings.Contains(got.stderr, "request req_") {
		t.Errorf("%+v", got)
	}
}
