package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"

	"xinghe/shared/jobs"
	"xinghe/shared/userdata"
)

// manifest is one on the disk: its lists may be longer than memory.
type manifest struct {
	file *os.File
	// head is all but the lists.
	head   jobs.Manifest
	sha256 string
	// erased tells of users whose data were taken out.
	erased []userdata.Erasure
}

// fetchManifest brings the manifest of an export to a temporary file.
func (c *client) fetchManifest(ctx context.Context, id string) (*manifest, error) {
	file, err := os.CreateTemp("", "xinghe-manifest-*.json")
	if err != nil {
		return nil, fmt.Errorf("keep the manifest: %w", err)
	}
	m := &manifest{file: file}
	sum := sha256.New()
	err = c.patiently(ctx, func() error {
		sum.Reset()
		if err := errors.Join(file.Truncate(0), rewind(file)); err != nil {
			return lasting(err)
		}
		return c.download(ctx, id, "manifest.json", io.MultiWriter(file, sum))
	})
	if err == nil {
		m.sha256 = hex.EncodeToString(sum.Sum(nil))
		err = m.readHead()
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return m, nil
}

func rewind(file *os.File) error {
	_, err := file.Seek(0, io.SeekStart)
	return err
}

// download copies a file of an export.
func (c *client) download(ctx context.Context, id, path string, to io.Writer) error {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: exportPath(id) + "/files/" + escaped(path)})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(to, resp.Body)
	return err
}

func (m *manifest) close() {
	_ = m.file.Close()
	_ = os.Remove(m.file.Name())
}

// readHead reads everything but the lists.
func (m *manifest) readHead() error {
	fields := map[string]any{
		"version": &m.head.Version, "id": &m.head.ID, "spec": &m.head.Spec, "range": &m.head.Range, "complete": &m.head.Complete,
		"cancelled": &m.head.Cancelled, "rows": &m.head.Rows, "duplicatesDropped": &m.head.DuplicatesDropped,
		"filtered": &m.head.Filtered, "leftOut": &m.head.LeftOut, "redacted": &m.head.Redacted, "previous": &m.head.Previous, "erased": &m.erased,
	}
	err := m.scan(func(name string, decoder *json.Decoder) (bool, error) {
		if into, ok := fields[name]; ok {
			return true, decoder.Decode(into)
		}
		return true, skip(decoder)
	})
	if err == nil && m.head.Version != 1 {
		err = fmt.Errorf("version %d is not known to this program", m.head.Version)
	}
	return err
}

// planned is how many windows there must be, if the manifest tells: of a complete export
// that has something to read and names its characters and users.
func (m *manifest) planned() (windows int, known bool) {
	spec, span := m.head.Spec, m.head.Range
	if !m.head.Complete || span == nil || spec.Characters.Is(jobs.CharactersMine) || spec.Users.Is(jobs.UsersDirectory) {
		return 0, false
	}
	if !span.From.Before(span.To) {
		return 0, true
	}
	return len(spec.Characters) * len(spec.Users), true
}

// scan calls each with the name of every field, whose value it must take, while that
// returns true.
func (m *manifest) scan(each func(name string, decoder *json.Decoder) (more bool, err error)) error {
	// Readers of different lists go on side by side.
	decoder := json.NewDecoder(io.NewSectionReader(m.file, 0, 1<<62))
	if err := expect(decoder, json.Delim('{')); err != nil {
		return err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		text, _ := name.(string)
		if more, err := each(text, decoder); err != nil || !more {
			return err
		}
	}
	return expect(decoder, json.Delim('}'))
}

// entries yields what a list of a manifest holds. An error ends it.
func entries[T any](m *manifest, list string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		err := m.scan(func(name string, decoder *json.Decoder) (bool, error) {
			if name != list {
				return true, skip(decoder)
			}
			return false, elements(decoder, func(entry T) bool { return yield(entry, nil) })
		})
		if err != nil {
			var none T
			yield(none, fmt.Errorf("manifest: %s: %w", list, err))
		}
	}
}

// elements calls each with those of the array that comes next, or none for a null.
func elements[T any](decoder *json.Decoder, each func(T) bool) error {
	token, err := decoder.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return errors.New("is no list")
	}
	for decoder.More() {
		var entry T
		if err := decoder.Decode(&entry); err != nil {
			return err
		}
		if !each(entry) {
			return nil
		}
	}
	return expect(decoder, json.Delim(']'))
}

// skip goes past the value that comes next, without holding it.
func skip(decoder *json.Decoder) error {
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func expect(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && token != want {
		err = fmt.Errorf("%v stands where %v is expected", token, want)
	}
	return err
}

// escaped is a path as it stands in an address.
func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }
