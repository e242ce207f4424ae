package sse_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"xinghe/shared/sse"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		name     string
		limit    int
		stream   string
		want     []event
		tooLarge bool
	}{
		{"fits with its line end", 106, "data:" + long + "\n\n", data(long), false},
		{"one byte more", 105, "data:a\n\ndata:" + long + "\n\n", data("a"), true},
		{"no line end in sight", 105, "data:a\n\ndata:" + long, data("a"), true},
		{"fits without a line end", 106, "data:" + long, data(long), false},
		{"one byte more without a line end", 105, "data:" + long, nil, true},
		{"CRLF counts once", 106, "data:" + long + "\r\n\r\n", data(long), false},
		{"over several lines", 106 + 101, "data:" + long + "\ndata:" + long + "\n\n", data(long + "\n" + long), false},
		{"over several lines, one more", 205, "data:" + long + "\ndata:" + long + "\n\n", nil, true},
		{"only the event counts", 106, strings.Repeat("data:"+long+"\n\n", 50), data(strings.Split(strings.Repeat(" "+long, 50), " ")[1:]...), false},
		{"comments do not count", 20, strings.Repeat(":heartbeat\n", 50) + "data:a\n" + strings.Repeat(":heartbeat\n", 50) + "\n", data("a"), false},
		{"a long comment does", 20, "data:a\n\n:" + long + "\n", data("a"), true},
		{"smallest", 1, "\n\r\n\r\n", nil, false},
		{"smallest, with a letter", 1, "\nx", nil, true},
		{"beyond the first buffer", 100_000, "data:" + strings.Repeat(long, 999) + "\n\n", data(strings.Repeat(long, 999)), false},
		{"default", 0, "data:" + strings.Repeat("x", 8<<20-6) + "\n\n", data(strings.Repeat("x", 8<<20-6)), false},
		{"default, one more", 0, "data:" + strings.Repeat("x", 8<<20-5) + "\n\n", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			limit := test.limit
			if limit == 0 {
				limit = sse.DefaultMaxEventBytes
			}
			for _, src := range []*pieces{
				{rest: []string{test.stream}},
				{rest: []string{test.stream}, endWithData: true},
				{rest: strings.SplitAfterN(test.stream, "x", 200)},
			} {
				r := sse.NewReader(src, sse.ReaderConfig{MaxEventBytes: test.limit})
				got, err := readAll(r)
				var tooLarge *sse.TooLargeError
				if errors.As(err, &tooLarge) != test.tooLarge || !test.tooLarge && err != nil {
					t.Errorf("got error %v", err)
				}
				if test.tooLarge {
					if _, again := r.Next(); again != err || tooLarge.Limit != limit { //nolint:errorlint // it must be the very error
						t.Errorf("got %v, then %v; want the limit %d, twice", err, again, limit)
					}
				}
				if diff := diffEvents(got, test.want); diff != "" && len(diff) < 10_000 {
					t.Errorf("events (-want +got):\n%s", diff)
				} else if diff != "" {
					t.Error("events differ")
				}
				if src.largest > limit {
					t.Errorf("a buffer of at least %d bytes for a limit of %d", src.largest, limit)
				}
			}
		})
	}
}

func TestTooLargeErrorSaysTheLimit(t *testing.T) {
	t.Parallel()
	const want = "event is larger than the limit of 4096 bytes"
	if got := (&sse.TooLargeError{Limit: 4096}).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestEndlessInput checks that what never ends takes no more memory than the limit.
func TestEndlessInput(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	for name, text := range map[string]string{"line": "x", "data": "data:x\n", "CR data": "data:x\r"} {
		src := &endless{text: text}
		_, err := readAll(sse.NewReader(src, sse.ReaderConfig{MaxEventBytes: limit}))
		if !errors.As(err, new(*sse.TooLargeError)) {
			t.Errorf("%s: %v", name, err)
		}
		if src.delivered > len("data:x")*limit {
			t.Errorf("%s: gave up only after %d bytes", name, src.delivered)
		}
	}
}

// TestHeartbeatsForEver sends, before the event, far more than the limit in comment lines that no
// blank line follows.
func TestHeartbeatsForEver(t *testing.T) {
	t.Parallel()
	beats := &pieces{rest: append(strings.SplitAfter(strings.Repeat(":hb\n", 100_000), "\n"), "data:a\n\n")}
	got, err := readAll(sse.NewReader(beats, sse.ReaderConfig{MaxEventBytes: 16}))
	if err != nil {
		t.Error(err)
	}
	checkEvents(t, got, data("a"))
}

// TestLargeEventByteByByte would take minutes if a read cost more than the bytes it brings.
func TestLargeEventByteByByte(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("星", 300_000)
	for _, end := range []string{"\n", "\r\n", "\r"} {
		stream := ":hb" + end + "data:x" + end + "data:" + large + end + end
		got, err := readAll(sse.NewReader(iotest.OneByteReader(strings.NewReader(stream)), sse.ReaderConfig{}))
		if err != nil || len(got) != 1 || got[0].Data != "x\n"+large {
			t.Errorf("line end %q: %d events, %v", end, len(got), err)
		}
	}
}
