package userdata

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// Erasure is what a manifest tells of data that was erased: it stands in its list "erased",
// which only manifests have that were rewritten.
type Erasure struct {
	At time.Time `json:"at"`
	// Windows, Parts and Rows that are gone. All are zero if only the hash of an earlier
	// manifest was brought up to date.
	Windows int   `json:"windows"`
	Parts   int   `json:"parts"`
	Rows    int64 `json:"rows"`
	// Before is the SHA-256 that the manifest had.
	Before string `json:"before"`
}

// manifest is what is known of one. It is read without its lists being held.
type manifest struct {
	path   string
	id     string
	sha256 string
	names  bool // it names the user
	// windows are the numbers of the user's.
	windows map[int]bool
	// rows and bytes are the sums of all parts that are not the user's.
	rows, bytes int64
	// taken counts what is the user's.
	taken    Erasure
	filtered int64
	// counts are what is counted by a name, of the user's windows: "leftOut" and "redacted".
	counts   map[string]map[string]int64
	previous *jobs.ManifestRef
	erased   []Erasure
	mine     []json.RawMessage // entries of the user's windows
}

func (m *manifest) excerpt() []byte {
	excerpt, _ := encode(map[string]any{"id": m.id, "windows": m.mine})
	return excerpt
}

// was reports whether the manifest had that SHA-256 before data was erased.
func (m *manifest) was(sum string) bool {
	for _, e := range m.erased {
		if e.Before == sum {
			return true
		}
	}
	return false
}

// numbered is what the elements of the lists have in common.
type numbered struct {
	Number, Window      int
	CharacterID, UserID string
	Rows, Bytes         int64
	Filtered            int64
	LeftOut, Redacted   map[string]int64
}

func readManifest(ctx context.Context, from sink.Sink, place string, user *matcher) (*manifest, error) {
	file, err := from.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	m := &manifest{path: place, windows: map[int]bool{}}
	sum := sha256.New()
	type sums struct {
		parts       int
		rows, bytes int64
	}
	parts := map[int]sums{} // by window
	err = scan(io.TeeReader(file, sum), func(field string, value json.RawMessage, element bool) error {
		var entry numbered
		switch {
		case field == "parts" && element:
			if err := json.Unmarshal(value, &entry); err != nil {
				return err
			}
			p := parts[entry.Window]
			parts[entry.Window] = sums{p.parts + 1, p.rows + entry.Rows, p.bytes + entry.Bytes}
		case (field == "windows" || field == "failed") && element:
			if err := json.Unmarshal(value, &entry); err != nil {
				return err
			}
			if user.pair([2]string{entry.CharacterID, entry.UserID}) {
				m.names, m.windows[entry.Number] = true, true
				m.filtered += entry.Filtered
				m.count("leftOut", entry.LeftOut)
				m.count("redacted", entry.Redacted)
				m.taken.Windows++
				m.mine = append(m.mine, bytes.Clone(value))
			}
		case field == "spec" && user.user.Bot == "":
			_, changed, err := user.scrubJSON(value)
			m.names = m.names || changed
			return err
		case field == "id":
			return json.Unmarshal(value, &m.id)
		case field == "previous":
			return json.Unmarshal(value, &m.previous)
		case field == "erased" && element:
			var e Erasure
			err := json.Unmarshal(value, &e)
			m.erased = append(m.erased, e)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", manifestName, err)
	}
	for window, p := range parts {
		if m.windows[window] {
			m.taken.Parts, m.taken.Rows = m.taken.Parts+p.parts, m.taken.Rows+p.rows
			continue
		}
		m.rows, m.bytes = m.rows+p.rows, m.bytes+p.bytes
	}
	m.sha256 = hex.EncodeToString(sum.Sum(nil))
	return m, nil
}

func (m *manifest) count(field string, counts map[string]int64) {
	for name, count := range counts {
		if m.counts == nil {
			m.counts = map[string]map[string]int64{}
		}
		if m.counts[field] == nil {
			m.counts[field] = map[string]int64{}
		}
		m.counts[field][name] += count
	}
}

// scan calls each with every field, and with every element of a field that is a list, in the
// order in which they stand there. It reads to the end.
func scan(from io.Reader, each func(field string, value json.RawMessage, element bool) error) error {
	buffered := bufio.NewReader(from)
	decoder := json.NewDecoder(buffered)
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return fmt.Errorf("it is no object: %w", err)
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		field, _ := token.(string)
		if err := scanField(decoder, field, each); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, buffered)
	return err
}

// lists are the fields whose elements are taken one by one.
var lists = map[string]bool{"parts": true, "windows": true, "failed": true, "erased": true}

func scanField(decoder *json.Decoder, field string, each func(string, json.RawMessage, bool) error) error {
	if !lists[field] {
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		return each(field, value, false)
	}
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token == nil {
		return each(field, nil, false)
	}
	if token != json.Delim('[') {
		return fmt.Errorf("is no list")
	}
	if err := each(field, nil, false); err != nil {
		return err
	}
	for decoder.More() {
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		if err := each(field, value, true); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}
