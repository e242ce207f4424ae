package userdata

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// rewrite puts a manifest in the place of the one that was read, without what is the user's
// and, unless it is empty, with another hash of the manifest before it. A window of the
// user's stays as an empty one: so the manifest still proves that all that was asked for has
// been dealt with. Afterwards m is what the file is.
func (m *manifest) rewrite(ctx context.Context, to sink.Sink, user *matcher, previous string, now time.Time) error {
	from, err := to.Open(ctx, m.path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	out, err := to.Create(ctx, m.path)
	if err != nil {
		return err
	}
	defer out.Abort()
	sum := sha256.New()
	note := m.taken
	note.At, note.Before = now.UTC(), m.sha256
	w := newManifestWriter(io.MultiWriter(out, sum))
	err = scan(from, func(field string, value json.RawMessage, element bool) error {
		value, err := m.changed(field, value, element, user, previous)
		switch {
		case err != nil || value == nil && element:
			return err
		case field == "erased":
			return nil // it comes last
		case element:
			return w.element(value)
		}
		return w.field(field, value)
	})
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", m.path, err)
	}
	erased := append(slices.Clip(m.erased), note)
	if err := w.field("erased", nil); err != nil {
		return err
	}
	for _, e := range erased {
		value, err := encode(e)
		if err == nil {
			err = w.element(value)
		}
		if err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	m.sha256, m.erased = hex.EncodeToString(sum.Sum(nil)), erased
	m.names, m.taken, m.filtered, m.counts = false, Erasure{}, 0, nil
	if previous != "" {
		m.previous.SHA256 = previous
	}
	return nil
}

// changed is what a field or an element becomes; nil for an element that is left out.
func (m *manifest) changed(field string, value json.RawMessage, element bool, user *matcher, previous string) (json.RawMessage, error) {
	var entry numbered
	if element {
		if err := json.Unmarshal(value, &entry); err != nil {
			return nil, err
		}
	}
	switch {
	case field == "parts" && element && m.windows[entry.Window]:
		return nil, nil
	case field == "windows" && element && m.windows[entry.Number]:
		var window jobs.WindowCount
		if err := json.Unmarshal(value, &window); err != nil {
			return nil, err
		}
		return encode(jobs.WindowCount{Number: window.Number, CharacterID: window.CharacterID, UserID: Erased, From: window.From, To: window.To})
	case field == "failed" && element && m.windows[entry.Number]:
		return encode(jobs.WindowFailure{Number: entry.Number, CharacterID: entry.CharacterID, UserID: Erased, Reason: Erased})
	case field == "spec" && m.names && user.user.Bot == "":
		scrubbed, changed, err := user.scrubJSON(value)
		if err != nil || !changed {
			return value, err
		}
		return scrubbed, nil
	case field == "rows" && m.names:
		return encode(m.rows)
	case field == "filtered" && m.filtered > 0:
		var filtered int64
		if err := json.Unmarshal(value, &filtered); err != nil {
			return nil, err
		}
		return encode(filtered - m.filtered)
	case m.counts[field] != nil:
		sums := map[string]int64{}
		if err := json.Unmarshal(value, &sums); err != nil {
			return nil, err
		}
		for name, count := range m.counts[field] {
			sums[name] -= count
		}
		return encode(sums)
	case field == "previous" && previous != "" && m.previous != nil:
		return encode(jobs.ManifestRef{ID: m.previous.ID, SHA256: previous})
	}
	return value, nil
}

// manifestWriter writes an object as the worker does: a field a line, and each element of a
// list on a line of its own.
type manifestWriter struct {
	out    *bufio.Writer
	before string // what comes before the next field
	within int    // elements written of the list at hand; -1 outside of one
}

func newManifestWriter(out io.Writer) *manifestWriter {
	w := &manifestWriter{out: bufio.NewWriter(out), before: "\n", within: -1}
	_ = w.out.WriteByte('{') // a bufio.Writer keeps its error
	return w
}

// field writes a field, or begins that of a list.
func (w *manifestWriter) field(name string, value json.RawMessage) error {
	w.close()
	quoted, err := json.Marshal(name)
	if err == nil {
		_, err = fmt.Fprintf(w.out, "%s%s: %s", w.before, quoted, value)
	}
	w.before = ",\n"
	if lists[name] && value == nil {
		w.within = 0
		_, err = w.out.WriteString("[")
	}
	return err
}

func (w *manifestWriter) element(value json.RawMessage) error {
	separator := ",\n"
	if w.within == 0 {
		separator = "\n"
	}
	w.within++
	_, err := fmt.Fprintf(w.out, "%s%s", separator, value)
	return err
}

func (w *manifestWriter) close() {
	if w.within >= 0 {
		_, _ = w.out.WriteString("]")
		w.within = -1
	}
}

func (w *manifestWriter) end() error {
	w.close()
	_, _ = w.out.WriteString("\n}\n")
	return w.out.Flush()
}
