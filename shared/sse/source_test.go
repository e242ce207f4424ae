package sse_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"xinghe/shared/sse"
)

// event is an sse.Event that can be kept and compared.
type event struct {
	Type  string
	Data  string
	ID    string
	Retry time.Duration
}

func keep(ev sse.Event) event {
	return event{Type: ev.Type, Data: string(ev.Data), ID: ev.ID, Retry: ev.Retry}
}

// data makes plain events.
func data(payloads ...string) []event {
	var events []event
	for _, payload := range payloads {
		events = append(events, event{Data: payload})
	}
	return events
}

// readAll reads to the end with Next. The end of the input is no error.
func readAll(r *sse.Reader) ([]event, error) {
	var events []event
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, keep(ev))
	}
}

// pieces is a source that delivers one piece a Read, and then err.
type pieces struct {
	rest    []string
	err     error // default io.EOF
	reads   int
	largest int // room that a Read was given

	endWithData bool // the last Read brings data and the error
}

func (p *pieces) Read(b []byte) (int, error) {
	p.reads++
	p.largest = max(p.largest, len(b))
	if len(p.rest) == 0 {
		return 0, p.end()
	}
	n := copy(b, p.rest[0])
	if p.rest[0] = p.rest[0][n:]; p.rest[0] == "" {
		p.rest = p.rest[1:]
	}
	if len(p.rest) == 0 && p.endWithData {
		return n, p.end()
	}
	return n, nil
}

func (p *pieces) end() error {
	if p.err != nil {
		return p.err
	}
	return io.EOF
}

// endless repeats its text for ever.
type endless struct {
	text      string
	at        int
	delivered int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	e.delivered += n
	return n, nil
}

// reference reads a whole stream by the rules of the package comment, one after the other and
// with no thought for speed. It stops, and says so, where an event is larger than limit.
func reference(stream string, limit int) (events []event, tooLarge bool) {
	lines := strings.ReplaceAll(stream, "\r\n", "\n")
	lines = strings.ReplaceAll(lines, "\r", "\n")
	// Two more ends: one for a last line that has none, one to close a last event.
	split := strings.Split(lines, "\n")
	if split[len(split)-1] == "" {
		split = split[:len(split)-1]
	}
	var ev event
	var payload []string
	held := 0
	for i, line := range append(split, "") {
		if held+len(line) >= limit {
			return events, true
		}
		if i == 0 {
			line = strings.TrimPrefix(line, "\xEF\xBB\xBF")
		}
		if line == "" {
			if payload != nil {
				ev.Data = strings.Join(payload, "\n")
				events = append(events, ev)
				ev.Retry = 0
			}
			ev.Type, payload, held = "", nil, 0
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "data":
			payload = append(payload, value)
			held += len(value) + min(len(payload)-1, 1) // and the LF between two
		case name == "event":
			ev.Type = value
		case name == "id" && !strings.Contains(value, "\x00"):
			ev.ID = value
		case name == "retry" && value != "" && strings.Trim(value, "0123456789") == "":
			if d, err := time.ParseDuration(value + "ms"); err == nil {
				ev.Retry = d
			}
		}
	}
	return events, false
}

func checkEvents(t *testing.T, got, want []event) {
	t.Helper()
	if diff := diffEvents(got, want); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
