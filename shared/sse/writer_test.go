package sse_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/sse"
)

// frameRecorder keeps each Write apart.
type frameRecorder struct {
	frames []string
	err    error
}

func (f *frameRecorder) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	f.frames = append(f.frames, string(p))
	return len(p), nil
}

func TestAppendEvent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		ev   sse.Event
		want string
	}{
		{"data without a space", sse.Event{Data: []byte(`{"a":1}`)}, "data:{\"a\":1}\n\n"},
		{"all fields", sse.Event{Type: "error", Data: []byte("x"), ID: "7", Retry: 3 * time.Second}, "event:error\nid:7\nretry:3000\ndata:x\n\n"},
		{"no data is an empty line of data", sse.Event{Type: "done"}, "event:done\ndata:\n\n"},
		{"lines", sse.Event{Data: []byte("a\nb\r\nc\rd")}, "data:a\ndata:b\ndata:c\ndata:d\n\n"},
		{"line ends at the ends", sse.Event{Data: []byte("\na\n")}, "data:\ndata:a\ndata:\n\n"},
		{"line ends only", sse.Event{Data: []byte("\r\n\n\r\r\n")}, "data:\ndata:\ndata:\ndata:\ndata:\n\n"},
		{"leading space is saved", sse.Event{Type: " t", ID: " i", Data: []byte(" a\n  b")}, "event:  t\nid:  i\ndata:  a\ndata:   b\n\n"},
		{"type and id cannot begin a line", sse.Event{Type: "a\ndata:x", ID: "1\r\n\r\ndata:y\x00", Data: []byte("z")}, "event:adata:x\nid:1data:y\ndata:z\n\n"},
		{"nothing but line ends", sse.Event{Type: "\n\r", ID: "\x00"}, "data:\n\n"},
		{"leading space behind what is dropped", sse.Event{Type: "\n t", ID: "\x00 i"}, "event:  t\nid:  i\ndata:\n\n"},
		{"retry is cut to milliseconds", sse.Event{Retry: 1999 * time.Microsecond}, "retry:1\ndata:\n\n"},
		{"retry too short or negative", sse.Event{Retry: 999 * time.Microsecond}, "data:\n\n"},
		{"negative retry", sse.Event{Retry: -time.Second}, "data:\n\n"},
		{"bytes as they are", sse.Event{Data: []byte("\xff\x00星")}, "data:\xff\x00星\n\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := string(sse.AppendEvent([]byte("before|"), test.ev)); got != "before|"+test.want {
				t.Errorf("got  %q\nwant %q", got, "before|"+test.want)
			}
			var out frameRecorder
			if err := sse.NewWriter(&out).Event(test.ev); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{test.want}, out.frames); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestComment(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                ":\n",
		" ping":           ": ping\n",
		"a\n\ndata:x\r\n": ":adata:x\n",
	} {
		if got := string(sse.AppendComment([]byte("before|"), text)); got != "before|"+want {
			t.Errorf("%q: got %q, want %q", text, got, "before|"+want)
		}
	}
}

func TestWriterWritesEachFrameOnce(t *testing.T) {
	t.Parallel()
	var out frameRecorder
	w := sse.NewWriter(&out)
	for _, err := range []error{
		w.Data([]byte("a long first frame")),
		w.Comment("hb"),
		w.Event(sse.Event{Type: "error", Data: []byte("b")}),
		w.Data(nil),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"data:a long first frame\n\n", ":hb\n", "event:error\ndata:b\n\n", "data:\n\n"}
	if diff := cmp.Diff(want, out.frames); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestWriterReturnsTheErrorAsItIs(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	w := sse.NewWriter(&frameRecorder{err: broken})
	for _, err := range []error{w.Data(nil), w.Event(sse.Event{}), w.Comment("")} {
		if err != broken { //nolint:errorlint // it must be the very error
			t.Errorf("got %v", err)
		}
	}
}
