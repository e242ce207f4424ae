package chaos

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// proved reads all files of an export and compares them with its manifest, and the messages
// with the generated ones. It returns the SHA-256 of each part by the name of its file.
func proved(tb testing.TB, from sink.Sink, e jobs.Export, want map[string]string) map[string]string {
	tb.Helper()
	if e.State != jobs.StateDone {
		reason := "no reason"
		if e.Error != nil {
			reason = *e.Error
		}
		tb.Fatalf("the export is %s: %s", e.State, reason)
	}
	manifest := readManifest(tb, from, e)
	sums := map[string]string{}
	rows := make([]jobs.Row, 0, len(want))
	for _, part := range manifest.Parts {
		data := read(tb, from, part.Path)
		mine := decode(tb, e.Spec, data)
		sum := sha256.Sum256(data)
		is := jobs.Part{
			Path: part.Path, Window: part.Window, Rows: int64(len(mine)), Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:]),
			First: mine[0].MessageID, Last: mine[len(mine)-1].MessageID,
		}
		if diff := gocmp.Diff(is, part); diff != "" {
			tb.Errorf("the manifest is wrong on a part (-is +manifest):\n%s", diff)
		}
		sums[path.Base(part.Path)] = is.SHA256
		rows = append(rows, mine...)
	}
	counted(tb, manifest, rows)
	onlyThese(tb, from, e, manifest)
	ordered(tb, rows)
	equal(tb, want, rows)
	return sums
}

func readManifest(tb testing.TB, from sink.Sink, e jobs.Export) (manifest jobs.Manifest) {
	tb.Helper()
	decoder := json.NewDecoder(bytes.NewReader(read(tb, from, e.Manifest)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&manifest); err != nil {
		tb.Fatalf("manifest: %v", err)
	}
	return manifest
}

// counted compares what the manifest counts with the rows.
func counted(tb testing.TB, manifest jobs.Manifest, rows []jobs.Row) {
	tb.Helper()
	all := int64(len(rows))
	if !manifest.Complete || manifest.Cancelled || len(manifest.Failed) > 0 || manifest.Rows != all {
		tb.Errorf("the manifest: complete %t, cancelled %t, %d windows failed, %d rows of %d",
			manifest.Complete, manifest.Cancelled, len(manifest.Failed), manifest.Rows, all)
	}
	byUser := map[string]int64{}
	for _, row := range rows {
		byUser[row.UserID]++
	}
	for _, w := range manifest.Windows {
		if n := byUser[w.UserID]; w.Rows != n || w.TotalBefore != n || w.TotalAfter != n {
			tb.Errorf("the manifest on %s: %d rows, total %d before and %d after; there are %d", w.UserID, w.Rows, w.TotalBefore, w.TotalAfter, n)
		}
		delete(byUser, w.UserID)
	}
	if len(byUser) > 0 {
		tb.Errorf("the manifest tells nothing of %d users", len(byUser))
	}
}

// onlyThese finds files that the manifest does not name, drafts among them.
func onlyThese(tb testing.TB, from sink.Sink, e jobs.Export, manifest jobs.Manifest) {
	tb.Helper()
	known := map[string]bool{e.Manifest: true}
	for _, part := range manifest.Parts {
		known[part.Path] = true
	}
	for info, err := range from.List(tb.Context(), e.Folder()) {
		if err != nil {
			tb.Fatal(err)
		}
		if !known[info.Path] {
			tb.Errorf("the manifest does not name %s", info.Path)
		}
	}
}

// ordered checks the order of the rows of each user.
func ordered(tb testing.TB, rows []jobs.Row) {
	tb.Helper()
	for i := 1; i < len(rows); i++ {
		a, b := rows[i-1], rows[i]
		if a.UserID == b.UserID && cmp.Or(cmp.Compare(a.GmtCreate, b.GmtCreate), cmp.Compare(a.MessageID, b.MessageID)) >= 0 {
			tb.Errorf("row %d (%d %s) stands behind (%d %s)", i, b.GmtCreate, b.MessageID, a.GmtCreate, a.MessageID)
			return
		}
	}
}

// equal compares the set of messages with the generated one.
func equal(tb testing.TB, want map[string]string, rows []jobs.Row) {
	tb.Helper()
	times := make(map[string]int, len(rows))
	var doubled, foreign, other []string
	for _, row := range rows {
		content, known := want[row.MessageID]
		switch times[row.MessageID]++; {
		case times[row.MessageID] == 2:
			doubled = append(doubled, row.MessageID)
		case !known:
			foreign = append(foreign, row.MessageID)
		case content != row.Content:
			other = append(other, row.MessageID)
		}
	}
	var missing []string
	for id := range want {
		if times[id] == 0 {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	for what, ids := range map[string][]string{"missing": missing, "doubled": doubled, "never generated": foreign, "of other content": other} {
		if len(ids) > 0 {
			tb.Errorf("%d messages are %s, the first: %v", len(ids), what, ids[:min(len(ids), 5)])
		}
	}
}

// identical compares the parts of two exports of the same spec.
func identical(tb testing.TB, want, got map[string]string) {
	tb.Helper()
	if maps.Equal(want, got) {
		return
	}
	var lines []string
	for name, sum := range want {
		if got[name] != sum {
			lines = append(lines, fmt.Sprintf("%s is %.12q, undisturbed %.12q", name, got[name], sum))
		}
	}
	for name := range got {
		if want[name] == "" {
			lines = append(lines, name+" is not there undisturbed")
		}
	}
	slices.Sort(lines)
	tb.Errorf("%d parts differ from those of the undisturbed export, the first: %q", len(lines), lines[:min(len(lines), 5)])
}

func read(tb testing.TB, from sink.Sink, path string) []byte {
	tb.Helper()
	file, err := from.Open(tb.Context(), path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// decode reads a part, which has at least one row.
func decode(tb testing.TB, spec jobs.ExportSpec, data []byte) (rows []jobs.Row) {
	tb.Helper()
	var plain io.Reader = bytes.NewReader(data)
	var err error
	switch spec.Compression {
	case jobs.CompressionGzip:
		plain, err = gzip.NewReader(plain)
	case jobs.CompressionZstd:
		var decoder *zstd.Decoder
		if decoder, err = zstd.NewReader(plain, zstd.WithDecoderConcurrency(1)); err == nil {
			defer decoder.Close()
		}
		plain = decoder
	}
	if err == nil && spec.Format == jobs.FormatCSV {
		rows, err = decodeCSV(plain)
	} else if err == nil {
		rows, err = decodeJSON(plain)
	}
	if err != nil || len(rows) == 0 {
		tb.Fatalf("a part of %d bytes has %d rows: %v", len(data), len(rows), err)
	}
	return rows
}

func decodeJSON(plain io.Reader) (rows []jobs.Row, err error) {
	for decoder := json.NewDecoder(plain); ; {
		var row jobs.Row
		if err := decoder.Decode(&row); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
}

func decodeCSV(plain io.Reader) (rows []jobs.Row, err error) {
	text := bufio.NewReader(plain)
	if mark, err := text.Peek(3); err != nil || string(mark) != "\ufeff" {
		return nil, fmt.Errorf("no byte order mark but %q: %w", mark, err)
	}
	_, _ = text.Discard(3)
	records, err := csv.NewReader(text).ReadAll()
	if err != nil {
		return nil, err
	}
	for _, r := range records[1:] {
		row := jobs.Row{MessageID: r[0], ChatID: r[1], SessionID: r[2], CharacterID: r[3], UserID: r[4], MessageType: r[5], Content: r[6], Time: r[9]}
		if row.GmtCreate, err = strconv.ParseInt(r[8], 10, 64); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
