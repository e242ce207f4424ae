package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"xinghe/shared/sse"
)

func diffEvents(got, want []event) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty())
}

// TestRules has the rules of the package comment in their order.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		stream string
		want   []event
	}{
		{"1 LF", "data:a\n\ndata:b\n\n", data("a", "b")},
		{"1 CRLF", "data:a\r\n\r\ndata:b\r\n\r\n", data("a", "b")},
		{"1 CR", "data:a\r\rdata:b\r\r", data("a", "b")},
		{"1 mixed", "data:a\n\r\ndata:b\r\n\ndata:c\r\n\rdata:d\n\rdata:e\r\r\n", data("a", "b", "c", "d", "e")},
		{"1 LF after CR is one end", "data:a\r\ndata:b\r\n\r\n", data("a\nb")},
		{"1 CR after LF is a second end", "data:a\n\rdata:b\n\r", data("a", "b")},
		{"2 byte order mark", "\xEF\xBB\xBFdata:a\n\n", data("a")},
		{"2 one byte order mark only", "\xEF\xBB\xBF\xEF\xBB\xBFdata:a\n\ndata:b\n\n", data("b")},
		{"2 byte order mark at the beginning only", "\n\xEF\xBB\xBFdata:a\n\ndata:b\n\n", data("b")},
		{"2 byte order mark before a blank line", "\xEF\xBB\xBF\ndata:a\n\n", data("a")},
		{"2 half a byte order mark", "\xEF\xBBdata:a\ndata:b\n\n", data("b")},
		{"3 blank lines", "\n\n\ndata:a\n\n\n\ndata:b\n\n\n", data("a", "b")},
		{"3 a line with a space is not blank", "data:a\n \ndata:b\n\n", data("a\nb")},
		{"4 comments", ": hi\ndata:a\n:\n:data:x\ndata:b\n\n: bye\n\n", data("a\nb")},
		{"4 comments without blank lines", ":hb\n:hb\ndata:a\n\n:hb\ndata:b\n\n", data("a", "b")},
		{"5 no colon", "data\n\ndata\ndata\n\n", data("", "\n")},
		{"5 later colons belong to the value", "data:a:b: c\n\n", data("a:b: c")},
		{"5 a colon elsewhere", "ab:c:\ndat:a\ndatax:a\ndata a:b\ndata:b\n\n", data("b")},
		{"6 one space", "data: a\n\ndata:  b\n\ndata: \n\ndata:\tc\n\ndata:d \n\n", data("a", " b", "", "\tc", "d ")},
		{"7 lines joined", "data:a\ndata:\ndata: b\ndata\ndata:c\n\n", data("a\n\nb\n\nc")},
		{"7 lines joined over others", "data:a\nid:1\n:x\nother:y\ndata:b\n\n", []event{{Data: "a\nb", ID: "1"}}},
		{"8 no data, no event", "event:a\n\nid:7\n\nretry:5\n\ndata:b\n\n", []event{{Data: "b", ID: "7", Retry: 5 * time.Millisecond}}},
		{"8 empty data is data", "data:\n\nevent:x\ndata\n\n", []event{{}, {Type: "x"}}},
		{"9 type", "event:error\ndata:a\n\ndata:b\n\nevent: error\ndata:c\n\n", []event{{Type: "error", Data: "a"}, {Data: "b"}, {Type: "error", Data: "c"}}},
		{"9 type after the data", "data:a\nevent:x\n\n", []event{{Type: "x", Data: "a"}}},
		{"9 last type counts", "event:a\nevent:b\ndata:1\n\nevent:a\nevent\ndata:2\n\n", []event{{Type: "b", Data: "1"}, {Data: "2"}}},
		{"10 id stays", "id:1\ndata:a\n\ndata:b\n\nid: 2\ndata:c\n\n", []event{{Data: "a", ID: "1"}, {Data: "b", ID: "1"}, {Data: "c", ID: "2"}}},
		{"10 empty id resets", "id:1\ndata:a\n\nid\ndata:b\n\nid:1\ndata:c\nid:\n\n", []event{{Data: "a", ID: "1"}, {Data: "b"}, {Data: "c"}}},
		{"10 id with NUL", "id:1\ndata:a\n\nid:2\x003\ndata:b\n\n", []event{{Data: "a", ID: "1"}, {Data: "b", ID: "1"}}},
		{"11 retry", "retry:1500\ndata:a\n\ndata:b\n\n", []event{{Data: "a", Retry: 1500 * time.Millisecond}, {Data: "b"}}},
		{"11 retry of digits only", "retry:+5\nretry:5s\nretry:-5\nretry:0x5\nretry:٣\nretry:5 \nretry:\nretry\ndata:a\n\n", data("a")},
		{"11 retry too long for a Duration", "retry:9223372036855\nretry:99999999999999999999999\ndata:a\n\n", data("a")},
		{"11 longest retry", "retry:9223372036854\ndata:a\n\n", []event{{Data: "a", Retry: 9223372036854 * time.Millisecond}}},
		{"12 other fields", "foo:1\nDATA:x\nData:y\n data:z\ndata :z\ndata:a\n\n", data("a")},
		{"13 no blank line at the end", "data:a\n\nevent:error\ndata:b\n", []event{{Data: "a"}, {Type: "error", Data: "b"}}},
		{"13 no line end at the end", "data:a\n\ndata:b\ndata:c", data("a", "b\nc")},
		{"13 CR at the end", "data:a\r\n\r\ndata:b\r", data("a", "b")},
		{"13 nothing but a name at the end", "data:a\n\ndata", data("a", "")},
		{"13 no data at the end", "data:a\n\nid:1", data("a")},
		{"13 byte order mark in the only line", "\xEF\xBB\xBFdata:a", data("a")},
		{"13 byte order mark and nothing else", "\xEF\xBB\xBF", nil},
		{"14 untouched bytes", "data:\xff\x00\xe6\x88\ndata:\x91\u2028\u0085\n\n", data("\xff\x00\xe6\x88\n\x91\u2028\u0085")},
		{"15 type as it comes", "event:message\ndata:a\n\ndata:b\n\n", []event{{Type: "message", Data: "a"}, {Data: "b"}}},
		{"empty", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for how, src := range map[string]io.Reader{
				"bulk":          strings.NewReader(test.stream),
				"bytes":         iotest.OneByteReader(strings.NewReader(test.stream)),
				"EOF with data": iotest.DataErrReader(strings.NewReader(test.stream)),
			} {
				got, err := readAll(sse.NewReader(src, sse.ReaderConfig{}))
				if err != nil {
					t.Errorf("%s: %v", how, err)
				}
				if diff := diffEvents(got, test.want); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
			if want, _ := reference(test.stream, sse.DefaultMaxEventBytes); diffEvents(want, test.want) != "" {
				t.Errorf("the reference reads otherwise: %v", want)
			}
		})
	}
}

// TestDeliversAtOnce checks that no read, which might block, comes between the blank line and
// the event.
func TestDeliversAtOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		pieces []string
		reads  []int // done when the event of that index is there
		want   []event
	}{
		{"LF", []string{"data:a\n\n", "data:b\n\n"}, []int{1, 2}, data("a", "b")},
		{"LF in pieces", []string{"da", "ta:a", "\n", "\n", "data:b\n\n"}, []int{4, 5}, data("a", "b")},
		{"CRLF", []string{"data:a\r\n\r\n", "data:b\r\n\r\n"}, []int{1, 2}, data("a", "b")},
		{"CR", []string{"data:a\r\r", "data:b\r\r"}, []int{1, 2}, data("a", "b")},
		{"CRLF cut before the last LF", []string{"data:a\r\n\r", "\ndata:b\r\n\r", "\n"}, []int{1, 2}, data("a", "b")},
		{"CRLF cut inside the first", []string{"data:a\r", "\n\r", "\ndata:b\r", "\n\r\n"}, []int{2, 4}, data("a", "b")},
		{"two in one read", []string{"data:a\n\ndata:b\n\nda", "ta:c\n\n"}, []int{1, 1, 2}, data("a", "b", "c")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			src := &pieces{rest: test.pieces}
			r := sse.NewReader(src, sse.ReaderConfig{})
			for i, want := range test.want {
				ev, err := r.Next()
				if err != nil || keep(ev) != want || src.reads != test.reads[i] {
					t.Fatalf("event %d: %+v, %v after %d reads; want %+v after %d", i, keep(ev), err, src.reads, want, test.reads[i])
				}
			}
			if ev, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %+v, %v", ev, err)
			}
		})
	}
}

func TestBuffered(t *testing.T) {
	t.Parallel()
	src := &pieces{rest: []string{"data:a\n\nevent:x\ndata:b\ndata:c\n\n:hb\nid:1\n\ndata:d\n", "\n\n:hb\n", "data:e\r\n\r", "\n", "data:f"}}
	r := sse.NewReader(src, sse.ReaderConfig{})
	if r.Buffered() || src.reads > 0 {
		t.Error("buffered before the first read")
	}
	for i, test := range []struct {
		want     event
		buffered bool // after it
	}{
		{event{Data: "a"}, true},
		{event{Type: "x", Data: "b\nc"}, false},
		{event{Data: "d", ID: "1"}, false},
		{event{Data: "e", ID: "1"}, false},
		{event{Data: "f", ID: "1"}, false},
	} {
		ev, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		reads := src.reads
		if got := r.Buffered(); got != test.buffered || r.Buffered() != got {
			t.Errorf("after event %d: Buffered is %t", i, got)
		}
		if src.reads != reads {
			t.Errorf("Buffered after event %d read", i)
		}
		if keep(ev) != test.want {
			t.Errorf("event %d after Buffered: %+v, want %+v", i, keep(ev), test.want)
		}
	}
}

func TestBufferedKnowsTheEnd(t *testing.T) {
	t.Parallel()
	r := sse.NewReader(iotest.DataErrReader(strings.NewReader("data:a\n\ndata:b")), sse.ReaderConfig{})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if !r.Buffered() {
		t.Error("the input has ended, so its last event is whole")
	}
	got, err := readAll(r)
	if err != nil {
		t.Error(err)
	}
	checkEvents(t, got, data("b"))
}

func TestEvents(t *testing.T) {
	t.Parallel()
	t.Run("EndsSilentlyAtEOF", func(t *testing.T) {
		t.Parallel()
		var got []event
		for ev, err := range sse.NewReader(strings.NewReader("data:a\n\ndata:b\n\n"), sse.ReaderConfig{}).Events() {
			if err != nil {
				t.Error(err)
			}
			got = append(got, keep(ev))
		}
		checkEvents(t, got, data("a", "b"))
	})
	t.Run("ErrorComesLast", func(t *testing.T) {
		t.Parallel()
		var got []event
		var last error
		for ev, err := range sse.NewReader(&pieces{rest: []string{"data:a\n\ndata:b"}, err: io.ErrUnexpectedEOF}, sse.ReaderConfig{}).Events() {
			if last = err; err == nil {
				got = append(got, keep(ev))
			}
		}
		if !errors.Is(last, io.ErrUnexpectedEOF) {
			t.Errorf("last error: %v", last)
		}
		checkEvents(t, got, data("a"))
	})
	t.Run("LeavesTheRest", func(t *testing.T) {
		t.Parallel()
		r := sse.NewReader(strings.NewReader("data:a\n\ndata:b\n\ndata:c\n\n"), sse.ReaderConfig{})
		for _, err := range r.Events() {
			if err != nil {
				t.Error(err)
			}
			break
		}
		got, err := readAll(r)
		if err != nil {
			t.Error(err)
		}
		checkEvents(t, got, data("b", "c"))
	})
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, test := range []struct {
		name   string
		src    io.Reader
		want   []event
		wanted error
	}{
		{"after the complete events", &pieces{rest: []string{"data:a\n\ndata:b\n\ndata:c\n"}, err: broken}, data("a", "b"), broken},
		{"together with data", &pieces{rest: []string{"data:a\n\ndata:b\n\ndata:c"}, err: broken, endWithData: true}, data("a", "b"), broken},
		{"at once", &pieces{err: broken}, nil, broken},
		{"as it is", &pieces{rest: []string{"data:a"}, err: io.ErrUnexpectedEOF}, nil, io.ErrUnexpectedEOF},
		{"EOF", &pieces{rest: []string{"data:a"}}, data("a"), io.EOF},
		{"no progress", &pieces{rest: make([]string, 1000)}, nil, io.ErrNoProgress},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := sse.NewReader(test.src, sse.ReaderConfig{})
			for _, want := range test.want {
				if ev, err := r.Next(); err != nil || keep(ev) != want {
					t.Fatalf("got %+v, %v; want %+v", keep(ev), err, want)
				}
			}
			for range 3 {
				ev, err := r.Next()
				if err != test.wanted { //nolint:errorlint // it must be the very error
					t.Errorf("got %+v, %v; want %v", keep(ev), err, test.wanted)
				}
				if r.Buffered() {
					t.Error("buffered after the error")
				}
			}
		})
	}
	t.Run("wrapped EOF is no clean end", func(t *testing.T) {
		t.Parallel()
		wrapped := fmt.Errorf("upstream: %w", io.EOF)
		var last error
		for ev, err := range sse.NewReader(&pieces{rest: []string{"data:a"}, err: wrapped}, sse.ReaderConfig{}).Events() {
			if last = err; err == nil {
				t.Errorf("unfinished event delivered: %+v", keep(ev))
			}
		}
		if last != wrapped { //nolint:errorlint // it must be the very error
			t.Errorf("got %v", last)
		}
	})
}

func TestReset(t *testing.T) {
	t.Parallel()
	r := sse.NewReader(strings.NewReader("id:1\nretry:5\ndata:a\n\nevent:x\ndata:unfinished\r"), sse.ReaderConfig{MaxEventBytes: 100})
	if ev, err := r.Next(); err != nil || ev.ID != "1" {
		t.Fatalf("got %+v, %v", ev, err)
	}
	r.Buffered()
	r.Reset(strings.NewReader("\ndata:b\n\n" + "data:" + strings.Repeat("x", 100)))
	ev, err := r.Next()
	if want := (event{Data: "b"}); err != nil || keep(ev) != want {
		t.Errorf("after Reset: %+v, %v; want %+v", keep(ev), err, want)
	}
	if _, err = r.Next(); !errors.As(err, new(*sse.TooLargeError)) {
		t.Errorf("after Reset the limit is lost: %v", err)
	}
	r.Reset(strings.NewReader("data:c\n\n"))
	got, err := readAll(r)
	if err != nil {
		t.Error(err)
	}
	checkEvents(t, got, data("c"))
}

func TestAppendToDataLeavesTheBufferAlone(t *testing.T) {
	t.Parallel()
	r := sse.NewReader(strings.NewReader("data:a\n\ndata:b\n\n"), sse.ReaderConfig{})
	ev, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	_ = append(ev.Data, "\n\nspoilt"...)
	got, err := readAll(r)
	if err != nil {
		t.Error(err)
	}
	checkEvents(t, got, data("b"))
}

// TestAllocations is not parallel, as it counts.
func TestAllocations(t *testing.T) {
	for name, text := range map[string]string{
		"plain":             "data:" + strings.Repeat("x", 600) + "\n\n",
		"CRLF":              "data:" + strings.Repeat("x", 600) + "\r\n\r\n",
		"many lines":        strings.Repeat("data: x\n", 100) + "\n",
		"type, id and beat": ":hb\nevent:delta\nid:4711\nretry:100\ndata:x\n\n",
	} {
		r := sse.NewReader(&endless{text: text}, sse.ReaderConfig{})
		got := testing.AllocsPerRun(1000, func() {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			r.Buffered()
		})
		if got != 0 {
			t.Errorf("%s: %v allocations an event, want 0", name, got)
		}
	}
	w := sse.NewWriter(io.Discard)
	ev := sse.Event{Type: "delta", ID: "4711", Retry: time.Second, Data: bytes.Repeat([]byte("x\n"), 300)}
	got := testing.AllocsPerRun(1000, func() {
		if w.Event(ev) != nil || w.Data(ev.Data) != nil || w.Comment("hb") != nil {
			t.Fatal("write failed")
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a write, want 0", got)
	}
}
