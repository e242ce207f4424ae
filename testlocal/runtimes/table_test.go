package runtimes

import (
	"testing"
	"time"
)

// row is a line of the table: what is done, and what comes of it by entry, in the order of
// the variable entries. docs/runtimes.md shows the same table.
type row struct {
	name  string
	do    func(h *host, want string) string
	adapt func(*Config)
	want  [5]string
}

// table is what the platforms do to a function, and what becomes of ours.
var table = []row{
	{"small JSON", echo("application/json", []byte(`{"say":"你好"}`)), nil, same("as sent")},
	{"1 MB body", echo("text/plain; charset=utf-8", text(1<<20)), nil, same("as sent")},
	{"binary body", echo("application/octet-stream", noise(100<<10)), nil, same("as sent")},
	{"cookies", cookies, nil, [5]string{"2 in, 2 out", "2 in, 1 out", "2 in, 2 out", "2 in, 2 out", "2 in, 2 out"}},
	{"repeated headers", repeated, nil, [5]string{"apart", "joined", "joined", "joined", "apart"}},
	{"events 100 ms apart", cadence, nil, [5]string{"as it is written", "whole, at the end", "as it is written", "whole, at the end", "as it is written"}},
	{"handler answers an error", handlerError, nil, same("500, failed")},
	{"event fails", eventError, nil, [5]string{"counted as failed", "counted as failed", "counted as failed", "counted as failed", "takes none"}},
	{"panic before the first byte", earlyPanic, nil, [5]string{"500, runs on", "500, runs on", "500, runs on", "500, runs on", "cut, runs on"}},
	{"panic after the first byte", latePanic, nil, [5]string{"cut, platform told, runs on", "502, platform told, runs on", "ends early, platform told, runs on", "500, platform told, runs on", "cut, runs on"}},
	{"deadline, handler watches it", heeded, timeout(6 * time.Second), [5]string{"told before", "told before", "told before", "told before", "no limit"}},
	{"deadline, handler does not", ignored, timeout(time.Second), [5]string{"cut", "504", "cut", "503", "no limit"}},
	{"client leaves", disconnect, nil, [5]string{"told", "runs to its end", "runs to its end", "runs to its end", "told"}},
	{"50 calls, in an instance", crowd, nil, [5]string{"20 at once", "1 at once", "1 at once", "1 at once", "50 at once"}},
}

func same(word string) [5]string { return [5]string{word, word, word, word, word} }

func timeout(d time.Duration) func(*Config) { return func(c *Config) { c.Timeout = d } }

// text is a body that is one.
func text(size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = "0123456789abcdef\n"[i%17]
	}
	return body
}

// TestTable does each case to the probe, built as functions are, behind each entry.
func TestTable(t *testing.T) {
	t.Parallel()
	program(t, "probe") // not within the cases' time
	for _, row := range table {
		for i, entry := range entries {
			t.Run(row.name+"/"+entry, func(t *testing.T) {
				t.Parallel()
				h := newProbe(t, entry, row.adapt)
				if got := row.do(h, row.want[i]); got != row.want[i] {
					t.Errorf("%s: %s, want %s", row.name, got, row.want[i])
				}
			})
		}
	}
}
