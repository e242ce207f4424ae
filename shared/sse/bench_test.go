package sse_test

import (
	"bytes"
	_ "embed"
	"io"
	"testing"

	gosse "github.com/tmaxmax/go-sse"

	"xinghe/shared/sse"
)

//go:embed testdata/beebot-stream.sse
var conversation []byte

// transcript is the twelve frames of one Beebot answer, over and over, to about 10 MB.
var (
	transcript       = bytes.Repeat(conversation, 10_000_000/len(conversation))
	transcriptEvents = bytes.Count(transcript, []byte("\n\n"))
)

// frames hands out one frame a Read, as a socket does while a model speaks.
type frames struct{ rest []byte }

func (f *frames) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		return 0, io.EOF
	}
	end := bytes.Index(f.rest, []byte("\n\n")) + 2
	n := copy(p, f.rest[:end])
	f.rest = f.rest[n:]
	return n, nil
}

func count(b *testing.B, r io.Reader) (n, size int) {
	b.Helper()
	for ev, err := range sse.NewReader(r, sse.ReaderConfig{}).Events() {
		if err != nil {
			b.Fatal(err)
		}
		n++
		size += len(ev.Data)
	}
	return n, size
}

func countGoSSE(b *testing.B, r io.Reader) (n, size int) {
	b.Helper()
	for ev, err := range gosse.Read(r, nil) {
		if err != nil {
			b.Fatal(err)
		}
		n++
		size += len(ev.Data)
	}
	return n, size
}

func perEvent(b *testing.B, events int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
}

// BenchmarkScan is the limit: every newline of the transcript, found in memory.
func BenchmarkScan(b *testing.B) {
	b.SetBytes(int64(len(transcript)))
	b.ReportAllocs()
	for b.Loop() {
		lines := 0
		for rest := transcript; ; lines++ {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
		}
		if lines != 2*transcriptEvents {
			b.Fatal(lines)
		}
	}
	perEvent(b, transcriptEvents)
}

// BenchmarkReader reads the transcript whole ("bulk": as much as the buffer takes) and one frame a
// read, with this package and with go-sse. The frames include the cost of handing them out, which
// "source" measures alone.
func BenchmarkReader(b *testing.B) {
	bulk := func(s []byte) io.Reader { return bytes.NewReader(s) }
	apart := func(s []byte) io.Reader { return &frames{s} }
	crlf := bytes.ReplaceAll(transcript, []byte("\n"), []byte("\r\n"))
	cr := bytes.ReplaceAll(transcript, []byte("\n"), []byte("\r"))
	drain := func(b *testing.B, r io.Reader) (int, int) {
		b.Helper()
		events, p := 0, make([]byte, 4<<10)
		for {
			if _, err := r.Read(p); err != nil {
				return events, 0
			}
			events++
		}
	}
	for _, bench := range []struct {
		name   string
		stream []byte
		open   func([]byte) io.Reader
		run    func(*testing.B, io.Reader) (int, int)
	}{
		{"bulk/ours", transcript, bulk, count},
		{"bulk/ours-crlf", crlf, bulk, count},
		{"bulk/ours-cr", cr, bulk, count},
		{"bulk/go-sse", transcript, bulk, countGoSSE},
		{"frames/source", transcript, apart, drain},
		{"frames/ours", transcript, apart, count},
		{"frames/go-sse", transcript, apart, countGoSSE},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.stream)))
			b.ReportAllocs()
			for b.Loop() {
				if n, _ := bench.run(b, bench.open(bench.stream)); n != transcriptEvents {
					b.Fatal(n)
				}
			}
			perEvent(b, transcriptEvents)
		})
	}
}

// BenchmarkWriter writes the frames of one answer.
func BenchmarkWriter(b *testing.B) {
	var events []sse.Event
	for block := range bytes.SplitSeq(bytes.TrimSpace(conversation), []byte("\n\n")) {
		events = append(events, sse.Event{Data: bytes.TrimPrefix(block, []byte("data:"))})
	}
	w := sse.NewWriter(io.Discard)
	b.SetBytes(int64(len(conversation)))
	b.ReportAllocs()
	for b.Loop() {
		for _, ev := range events {
			if err := w.Event(ev); err != nil {
				b.Fatal(err)
			}
		}
	}
	perEvent(b, len(events))
}
