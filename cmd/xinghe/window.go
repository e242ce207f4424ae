package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net/http"
	"path"
	"strings"
	"time"

	"xinghe/shared/jobs"
)

// maxFindings is how many findings of one part are told one by one.
const maxFindings = 100

// windowCheck goes through the parts of one window.
type windowCheck struct {
	*verifier
	number int
	// complete is the window as the manifest has it; nil if it was given up.
	complete *jobs.WindowCount

	rows  int64
	last  key // highest so far
	first jobs.Row
}

// check goes through those parts that are the window's.
func (w *windowCheck) check(ctx context.Context, parts *cursor[jobs.Part]) error {
	for parts.more && parts.value.Window == w.number {
		if err := w.part(ctx, parts.value); err != nil {
			return err
		}
		if err := parts.advance(); err != nil {
			return err
		}
	}
	return w.end(ctx)
}

// part reads one part; a reading that breaks off is begun again.
func (w *windowCheck) part(ctx context.Context, part jobs.Part) error {
	var reading *partCheck
	err := w.client.patiently(ctx, func() error {
		reading = &partCheck{window: *w, part: part, seen: map[uint64]bool{}}
		return reading.read(ctx)
	})
	if no, ok := errors.AsType[*refusal](err); ok && no.status == http.StatusNotFound {
		reading.findings, err = []finding{{Kind: findMissing, Detail: "the part, or its index, does not exist"}}, nil
	}
	if err != nil {
		return fmt.Errorf("read part %s: %w", part.Path, err)
	}
	w.rows, w.last, w.first = reading.window.rows, reading.window.last, reading.window.first
	w.summary.Parts++
	w.summary.Rows += reading.rows
	for _, f := range reading.findings {
		f.Part = part.Path
		if err := w.found(f); err != nil {
			return err
		}
	}
	return w.report.progress(w.summary.Rows)
}

// end compares the window's counts.
func (w *windowCheck) end(ctx context.Context) error {
	if w.complete == nil {
		return nil
	}
	c := *w.complete
	w.summary.Windows++
	gap := func(detail string, args ...any) error {
		return w.found(finding{Kind: findGap, CharacterID: c.CharacterID, UserID: c.UserID, Detail: fmt.Sprintf(detail, args...)})
	}
	if w.rows != c.Rows {
		if err := gap("the window has %d rows, the manifest says %d", w.rows, c.Rows); err != nil {
			return err
		}
	}
	if c.TotalBefore != c.TotalAfter || c.Rows+c.Filtered != c.TotalAfter {
		err := gap("the manifest does not add up: upstream counted %d before and %d after, for %d rows and %d left out by the filter", c.TotalBefore, c.TotalAfter, c.Rows, c.Filtered)
		if err != nil {
			return err
		}
	}
	if !w.summary.Upstream {
		return nil
	}
	now, err := w.client.count(ctx, c)
	if err != nil {
		return fmt.Errorf("ask upstream for the history of character %s and user %s: %w", c.CharacterID, c.UserID, err)
	}
	switch had := c.Rows + c.Filtered; {
	case now > had:
		return gap("upstream has %d messages by now, the export has %d: %d are missing", now, had, now-had)
	case now < had:
		return gap("upstream has %d messages by now, the export has %d: %d are gone there, or too many here", now, had, had-now)
	}
	return nil
}

// partCheck is one reading of a part.
type partCheck struct {
	window   windowCheck // as it is behind the rows read
	part     jobs.Part
	rows     int64
	seen     map[uint64]bool // hashes of the part's ids
	ends     [2]string       // ids of the first and the last row
	findings []finding
}

var seed = maphash.MakeSeed()

func (p *partCheck) found(f finding) {
	if len(p.findings) < maxFindings {
		p.findings = append(p.findings, f)
	}
}

// read takes in the whole part. What is wrong with it is a finding, no error.
func (p *partCheck) read(ctx context.Context) (err error) {
	var whole bool
	if jobs.Dialogues(p.window.manifest.head.Spec.Format) {
		whole, err = p.dialogues(ctx)
	} else {
		whole, err = p.fetch(ctx, p.part.Path, p.part.Bytes, p.part.SHA256, p.readRows)
	}
	if err != nil || !whole {
		return err
	}
	if p.rows != p.part.Rows {
		p.found(finding{Kind: findChanged, Detail: fmt.Sprintf("%d rows, the manifest says %d", p.rows, p.part.Rows)})
	}
	if p.ends != [2]string{p.part.First, p.part.Last} {
		p.found(finding{Kind: findChanged, Detail: fmt.Sprintf("messages %s to %s, the manifest says %s to %s", p.ends[0], p.ends[1], p.part.First, p.part.Last)})
	}
	return nil
}

// fetch has a file read, and compares it with its checksum. It is not whole if what it holds
// cannot be read.
func (p *partCheck) fetch(ctx context.Context, path string, size int64, checksum string, read func(io.Reader) error) (whole bool, err error) {
	resp, err := p.window.client.send(ctx, request{method: http.MethodGet, path: exportPath(p.window.id) + "/files/" + escaped(path)})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	source := &hashed{from: resp.Body, sum: sum}
	broken := read(source)
	// What follows the last row counts for the checksum; and a connection that broke off
	// says so again.
	if _, err := io.Copy(io.Discard, source); err != nil {
		return false, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != checksum || source.count != size {
		p.found(finding{Kind: findChanged, Detail: fmt.Sprintf("%d bytes with SHA-256 %s, the manifest says %d and %s", source.count, got, size, checksum)})
	}
	if broken != nil {
		p.found(finding{Kind: findChanged, Detail: broken.Error()})
	}
	return broken == nil, nil
}

// readRows returns why a row cannot be read, if so.
func (p *partCheck) readRows(from io.Reader) error {
	list, closed, err := newRows(from, p.window.manifest.head.Spec)
	if err != nil {
		return fmt.Errorf("row 1 cannot be read: %w", err)
	}
	defer closed()
	for {
		row, err := list.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("row %d cannot be read: %w", p.rows+1, err)
		}
		p.place(row)
		p.row(row)
	}
}

// place checks the partition of a row, or of a dialogue by its last message.
func (p *partCheck) place(row jobs.Row) {
	partition, at := p.window.manifest.head.Spec.Partition, time.UnixMilli(row.GmtCreate)
	folder := partition.Path(row.CharacterID, at, p.window.zone)
	if folder == "" || strings.HasSuffix(path.Dir(p.part.Path), "/"+folder) &&
		maps.Equal(p.part.Partition, partition.Labels(row.CharacterID, at, p.window.zone)) {
		return
	}
	p.found(finding{
		Kind: findForeign, CharacterID: row.CharacterID, UserID: row.UserID, MessageID: row.MessageID,
		Detail: "the message belongs to the partition " + folder,
	})
}

// row checks one row's place.
func (p *partCheck) row(row jobs.Row) {
	w := &p.window
	if p.rows == 0 {
		p.ends[0] = row.MessageID
	}
	if w.rows == 0 {
		w.first = row
	}
	p.ends[1] = row.MessageID
	p.rows++
	w.rows++
	f := finding{CharacterID: row.CharacterID, UserID: row.UserID, MessageID: row.MessageID}
	if detail := p.foreign(row); detail != "" {
		f.Kind, f.Detail = findForeign, detail
		p.found(f)
	}
	hash := maphash.String(seed, row.MessageID)
	here := key{row.GmtCreate, row.MessageID}
	switch compared := here.compare(w.last); {
	case w.rows == 1 || compared > 0:
		w.last = here
	case compared == 0, p.seen[hash]:
		f.Kind, f.Detail = findDouble, "the message stands twice"
		p.found(f)
	default:
		f.Kind, f.Detail = findOrder, fmt.Sprintf("the message stands behind %s, which is later: it is out of order, or stands in an earlier part as well", w.last.id)
		p.found(f)
	}
	p.seen[hash] = true
}

// foreign says why a row is none of its window's.
func (p *partCheck) foreign(row jobs.Row) string {
	w := &p.window
	if w.complete == nil {
		if row.CharacterID != w.first.CharacterID || row.UserID != w.first.UserID {
			return fmt.Sprintf("the message stands among those of character %s and user %s", w.first.CharacterID, w.first.UserID)
		}
		return ""
	}
	switch c := w.complete; {
	case row.CharacterID != c.CharacterID || row.UserID != c.UserID:
		return fmt.Sprintf("the message stands among those of character %s and user %s", c.CharacterID, c.UserID)
	case row.GmtCreate < ceilMillis(c.From) || row.GmtCreate >= ceilMillis(c.To):
		return fmt.Sprintf("the message of %s is not of the range", row.Time)
	}
	return ""
}

// ceilMillis is the first whole millisecond that is not before t.
func ceilMillis(t time.Time) int64 {
	millis := t.UnixMilli()
	if time.UnixMilli(millis).Before(t) {
		millis++
	}
	return millis
}
