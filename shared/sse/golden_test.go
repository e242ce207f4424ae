package sse_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xinghe/shared/sse"
)

// TestServices reads what the services send (the Beebot SSE stream page's transcript, and streams
// put together after Xingchen's chat pages), and holds it to what the documented readers would
// see, which go line by line. Written again, each stream is the same bytes.
func TestServices(t *testing.T) {
	t.Parallel()
	counts := map[string]int{
		"beebot-stream.sse":                       12,
		"assumed-xingchen-stream-cumulative.sse":  4,
		"assumed-xingchen-stream-incremental.sse": 3,
		"assumed-xingchen-stream-error.sse":       1,
	}
	for name, count := range counts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(sse.NewReader(bytes.NewReader(stream), sse.ReaderConfig{}))
			if err != nil {
				t.Fatal(err)
			}
			var want []event
			var next event
			var written []byte
			for line := range strings.Lines(string(stream)) {
				if kind, ok := strings.CutPrefix(line, "event:"); ok {
					next.Type = strings.TrimSpace(kind)
				}
				if payload, ok := strings.CutPrefix(line, "data:"); ok {
					next.Data = strings.TrimSpace(payload)
					want = append(want, next)
					written = sse.AppendEvent(written, sse.Event{Type: next.Type, Data: []byte(next.Data)})
					next = event{}
				}
			}
			checkEvents(t, got, want)
			if len(got) != count {
				t.Errorf("%d events, want %d", len(got), count)
			}
			for i, ev := range got {
				if !json.Valid([]byte(ev.Data)) {
					t.Errorf("event %d is no JSON: %s", i, ev.Data)
				}
			}
			if !bytes.Equal(written, stream) {
				t.Error("written again, the stream is another")
			}
		})
	}
}
