package sse_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	gosse "github.com/tmaxmax/go-sse"

	"xinghe/shared/sse"
)

// TestAgreesWithGoSSE compares this package with another implementation of the standard on
// generated streams. They are made to avoid where the two differ: go-sse
//
//   - delivers an event that has a type or an id but no data; the standard does not,
//   - ends with an error at a last line without its end, and loses that line (our rule 13),
//   - has no retry in its events,
//   - has a limit of 64 KiB.
func TestAgreesWithGoSSE(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		stream := generate(rand.New(rand.NewPCG(seed, 0)))
		var want []event
		for ev, err := range gosse.Read(strings.NewReader(stream), nil) {
			if err != nil {
				t.Fatalf("go-sse on %q: %v", stream, err)
			}
			want = append(want, event{Type: ev.Type, Data: ev.Data, ID: ev.LastEventID})
		}
		for ev, err := range sse.NewReader(iotest.HalfReader(strings.NewReader(stream)), sse.ReaderConfig{}).Events() {
			if err != nil {
				t.Fatalf("%q: %v", stream, err)
			}
			if len(want) == 0 || (event{Type: ev.Type, Data: string(ev.Data), ID: ev.ID}) != want[0] {
				t.Fatalf("%q: got %+v, want the first of %+v", stream, keep(ev), want)
			}
			want = want[1:]
		}
		if len(want) > 0 {
			t.Fatalf("%q: missing %+v", stream, want)
		}
	}
}

// generate makes a stream of blocks that hold either data among other fields or no field at all.
func generate(rnd *rand.Rand) string {
	pick := func(choices ...string) string { return choices[rnd.IntN(len(choices))] }
	value := func() string {
		return pick("", ":", ": ", ":a", ": b c", ":  c", ":星河", ":\xff", ":x:y", ": "+strings.Repeat("long ", rnd.IntN(300)))
	}
	ends := []string{"\n", "\r\n", "\r"}
	if style := rnd.IntN(6); style < len(ends) {
		ends = ends[style : style+1]
	}
	var b strings.Builder
	line := func(text string) { b.WriteString(text + pick(ends...)) }
	b.WriteString(pick("", "", "\xEF\xBB\xBF"))
	for range rnd.IntN(8) {
		comments := rnd.IntN(4) == 0
		for range rnd.IntN(5) {
			if comments {
				line(":" + value())
				continue
			}
			line(pick(":hb", "other", "Data", "dat", "data ", "data", "data", "event", "id") + value())
			if rnd.IntN(5) == 0 {
				line("id:\x00")
			}
		}
		if !comments {
			line("data" + value())
		}
		line("")
	}
	return b.String() + "\n\n"
}
