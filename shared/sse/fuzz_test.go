package sse_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xinghe/shared/sse"
)

// cutter delivers a stream in pieces of the lengths that cuts gives, over and over; a length of 0
// is a read that brings nothing.
type cutter struct {
	rest    []byte
	cuts    []byte
	at      int
	reads   int
	largest int
}

func (c *cutter) Read(p []byte) (int, error) {
	c.reads++
	c.largest = max(c.largest, len(p))
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	length := len(c.rest)
	if len(c.cuts) > 0 {
		length = int(c.cuts[c.at%len(c.cuts)])
		c.at++
	}
	if length == 0 && c.reads%2 == 0 {
		length = 1 // so that a read never brings nothing for ever
	}
	n := copy(p, c.rest[:min(length, len(c.rest))])
	c.rest = c.rest[n:]
	if len(c.rest) == 0 && length%2 == 0 {
		return n, io.EOF
	}
	return n, nil
}

// FuzzReader gives any bytes, cut anywhere, under any limit, to the reader, and compares what
// comes out with the reference. Buffered must be right every time.
func FuzzReader(f *testing.F) {
	names, err := filepath.Glob("testdata/*.sse")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		stream, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stream, []byte{1}, uint16(0))
		f.Add(bytes.ReplaceAll(stream, []byte("\n"), []byte("\r\n")), []byte{255, 0, 3}, uint16(3000))
		f.Add(bytes.ReplaceAll(stream, []byte("\n"), []byte("\r")), []byte{}, uint16(3000))
	}
	f.Add([]byte("\xEF\xBB\xBFid:1\r\nretry:10\r\n\r\nevent:x\rdata: a\rdata\n:c\ndata:b\r\n\rdata:c"), []byte{1, 2, 3}, uint16(30))
	f.Add([]byte("data:a\n\nid:\x00\ndata\n\n\r\r\n\rdata:"+strings.Repeat("x", 5000)), []byte{7, 0, 200}, uint16(5006))
	f.Fuzz(func(t *testing.T, stream, cuts []byte, maxBytes uint16) {
		limit := int(maxBytes)
		if limit == 0 {
			limit = sse.DefaultMaxEventBytes
		}
		want, tooLarge := reference(string(stream), limit)
		for _, src := range []*cutter{{rest: stream}, {rest: stream, cuts: cuts}, {rest: stream, cuts: []byte{1}}} {
			r := sse.NewReader(src, sse.ReaderConfig{MaxEventBytes: limit})
			got, err := readChecked(t, r, src)
			if errors.As(err, new(*sse.TooLargeError)) != tooLarge || !tooLarge && !errors.Is(err, io.EOF) {
				t.Errorf("cuts %v: ended with %v; too large: %t", src.cuts, err, tooLarge)
			}
			if diff := diffEvents(got, want); diff != "" {
				t.Errorf("cuts %v (-want +got):\n%s", src.cuts, diff)
			}
			if src.largest > limit {
				t.Errorf("cuts %v: a buffer of %d bytes for a limit of %d", src.cuts, src.largest, limit)
			}
		}
	})
}

// readChecked reads to the end. It asks Buffered before every other event, and holds it to its
// answer.
func readChecked(t *testing.T, r *sse.Reader, src *cutter) ([]event, error) {
	t.Helper()
	var events []event
	var last sse.Event
	for {
		reads, asked, buffered := src.reads, len(events)%2 == 0, false
		if asked {
			buffered = r.Buffered()
			if src.reads != reads {
				t.Error("Buffered has read")
			}
			if len(events) > 0 && keep(last) != events[len(events)-1] {
				t.Error("Buffered has changed the event before")
			}
		}
		ev, err := r.Next()
		if asked && err == nil && buffered != (src.reads == reads) {
			t.Errorf("Buffered was %t, then Next read %d times", buffered, src.reads-reads)
		}
		if err != nil {
			if buffered {
				t.Errorf("Buffered was true, then Next returned %v", err)
			}
			return events, err
		}
		last = ev
		events = append(events, keep(ev))
	}
}

// FuzzRoundTrip writes two events with a comment between them and reads them back.
func FuzzRoundTrip(f *testing.F) {
	f.Add("", []byte(`{"stop":true}`), "", int64(0), "hb")
	f.Add("error", []byte(" a\r\nb\rc\n\n d"), "7", int64(1500*time.Millisecond), "")
	f.Add(" x\ny\r", []byte("\xEF\xBB\xBF"), "  1\x00", int64(-1), "a\r\nb")
	f.Fuzz(func(t *testing.T, kind string, payload []byte, id string, retry int64, comment string) {
		ev := sse.Event{Type: kind, Data: payload, ID: id, Retry: time.Duration(retry)}
		var out frameRecorder
		w := sse.NewWriter(&out)
		if w.Event(ev) != nil || w.Comment(comment) != nil || w.Data(payload) != nil {
			t.Fatal("write failed")
		}
		if len(out.frames) != 3 {
			t.Fatalf("%d writes for three frames", len(out.frames))
		}
		oneLine := strings.NewReplacer("\r", "", "\n", "", "\x00", "")
		lines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
		first := event{Type: oneLine.Replace(kind), Data: lines.Replace(string(payload)), ID: oneLine.Replace(id)}
		if retry > 0 {
			first.Retry = time.Duration(retry).Truncate(time.Millisecond)
		}
		second := event{Data: first.Data, ID: first.ID}
		r := sse.NewReader(strings.NewReader(strings.Join(out.frames, "")), sse.ReaderConfig{})
		got, err := readAll(r)
		if err != nil {
			t.Error(err)
		}
		checkEvents(t, got, []event{first, second})

		again := sse.AppendEvent(nil, sse.Event{Type: first.Type, Data: []byte(first.Data), ID: first.ID, Retry: first.Retry})
		if string(again) != out.frames[0] {
			t.Errorf("what was read is written as %q, before it was %q", again, out.frames[0])
		}
	})
}
