package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xinghe/shared/jobs"
)

// talk makes each part of an export one of dialogues, of all rows but the last one each and
// of that one by itself; where is the line that a test spoils.
func (e *exported) talk(spoil func(part int, lines, index [][]byte) (spoilt, spoiltIndex [][]byte)) {
	e.t.Helper()
	for i := range e.manifest.Parts {
		part := &e.manifest.Parts[i]
		var lines, index [][]byte
		rows := e.rows[i]
		for _, group := range [][]jobs.Row{rows[:len(rows)-1], rows[len(rows)-1:]} {
			lines = append(lines, []byte(`{"messages":[{"role":"assistant","content":"hi","weight":0},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`))
			entry := jobs.IndexLine{SessionID: "s", CharacterID: group[0].CharacterID, UserID: group[0].UserID}
			for _, row := range group {
				entry.MessageIDs, entry.GmtCreate = append(entry.MessageIDs, row.MessageID), append(entry.GmtCreate, row.GmtCreate)
			}
			text, err := json.Marshal(entry)
			if err != nil {
				e.t.Fatal(err)
			}
			index = append(index, text)
		}
		if spoil != nil {
			lines, index = spoil(i, lines, index)
		}
		write := func(path string, lines [][]byte) (int64, string) {
			text := append(bytes.Join(lines, []byte("\n")), '\n')
			sum := sha256.Sum256(text)
			e.files[path] = text
			return int64(len(text)), hex.EncodeToString(sum[:])
		}
		part.Lines, part.Index = 2, &jobs.IndexFile{Path: part.Path + ".index"}
		part.Bytes, part.SHA256 = write(part.Path, lines)
		part.Index.Bytes, part.Index.SHA256 = write(part.Index.Path, index)
	}
}

func TestVerifyDialogues(t *testing.T) {
	t.Parallel()
	replaced := func(part int, in, from, to string) func(int, [][]byte, [][]byte) ([][]byte, [][]byte) {
		return func(i int, lines, index [][]byte) ([][]byte, [][]byte) {
			if i != part {
				return lines, index
			}
			change := func(list [][]byte) { list[0] = bytes.ReplaceAll(list[0], []byte(from), []byte(to)) }
			change(map[string][][]byte{"lines": lines, "index": index}[in])
			return lines, index
		}
	}
	for name, tc := range map[string]struct {
		spoil  func(int, [][]byte, [][]byte) ([][]byte, [][]byte)
		after  func(e *exported)
		detail string
	}{
		"true":                    {nil, nil, ""},
		"a system that speaks":    {replaced(0, "lines", `"role":"user"`, `"role":"narrator"`), nil, "line 1: message 2 is none"},
		"nothing to learn":        {replaced(1, "lines", `"content":"b"`, `"content":"b","weight":0`), nil, "does not end with an answer"},
		"an empty message":        {replaced(1, "lines", `"content":"b"`, `"content":" "`), nil, "message 3 is none"},
		"no JSON":                 {replaced(1, "lines", `{`, ``), nil, "line 1"},
		"a message of the index":  {replaced(0, "index", `m0-01`, `m0-00`), nil, "stands twice"},
		"an index without times":  {replaced(0, "index", `"gmtCreate"`, `"gmt"`), nil, "3 messages with 0 times"},
		"another user's":          {replaced(2, "index", `"=u2"`, `"=u1"`), nil, "user =u2"},
		"an index that is gone":   {nil, func(e *exported) { delete(e.files, e.manifest.Parts[0].Index.Path) }, "the part, or its index, does not exist"},
		"an index that changed":   {nil, func(e *exported) { e.files[e.manifest.Parts[0].Index.Path][8] ^= 1 }, "SHA-256"},
		"an index nobody names":   {nil, func(e *exported) { e.manifest.Parts[0].Index = nil }, "no index"},
		"lines that are not told": {nil, func(e *exported) { e.manifest.Parts[0].Lines = 3 }, "2 lines, 2 in the index, the manifest says 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newExported(t, jobs.ExportSpec{Format: jobs.FormatOpenAI}, false)
			e.talk(tc.spoil)
			if tc.after != nil {
				tc.after(e)
			}
			code, findings, sum := e.verified()
			if tc.detail == "" {
				if code != 0 || len(findings) > 0 || sum.Rows != 10 || sum.Parts != 3 {
					t.Errorf("exit %d: %+v, %+v", code, findings, sum)
				}
				return
			}
			if text := fmt.Sprint(findings); code != 1 || !strings.Contains(text, tc.detail) {
				t.Errorf("exit %d: %+v, want %q", code, findings, tc.detail)
			}
		})
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	for line, good := range map[string]bool{
		`{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}`: true,
		`{"conversations":[{"from":"gpt","value":"a"},{"from":"human","value":"b"}]}`: false,
		`{"conversations":[{"from":"human","value":"a"}]}`:                            false,
		`{"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":""}]}`:  false,
		`{"conversations":[]}`: false,
	} {
		if err := fit(jobs.FormatShareGPT, []byte(line)); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestDialoguesThroughTheSystem holds that what a deployment writes is proven and copied,
// indexes included.
func TestDialoguesThroughTheSystem(t *testing.T) {
	t.Parallel()
	s := startSystem(t, 600)
	e := s.exported(s.spec("tuning", jobs.FormatShareGPT, jobs.CompressionGzip), 0)
	// All messages of a user are of one session.
	if got := s.run("", "export", "verify", "--upstream", e.ID); got.code != 0 || !strings.Contains(got.stdout, `"windows":3,"rows":600,"upstream":true,"findings":0`) {
		t.Errorf("%+v", got)
	}
	folder := t.TempDir()
	if got := s.run("", "export", "download", e.ID, folder); got.code != 0 || !strings.Contains(got.stdout, "000000-00000.index.jsonl.gz") {
		t.Errorf("%+v", got)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) != 7 {
		t.Errorf("%v, %v", files, err)
	}
	place := filepath.Join(s.Exports, "tuning", e.ID, "000001-00000.index.jsonl.gz")
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	if got := s.run("", "export", "verify", e.ID); got.code != 1 || !strings.Contains(got.stdout, `"finding":"missing"`) {
		t.Errorf("%+v", got)
	}
}
