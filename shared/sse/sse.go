// Package sse reads and writes Server-Sent Events, the framing in which both services send
// their answers and in which the functions pass them on.
//
//	events := sse.NewReader(resp.Body, sse.ReaderConfig{})
//	out := sse.NewWriter(w)
//	for ev, err := range events.Events() {
//		if err != nil {
//			return err
//		}
//		if err := out.Data(translate(ev.Data)); err != nil {
//			return err
//		}
//		if !events.Buffered() {
//			flush()
//		}
//	}
//
// It neither connects nor reconnects, starts no goroutine, knows nothing of HTTP, and leaves
// the meaning of the data, and whether an answer was cut short, to its caller.
//
// # How a stream is read
//
// As the WHATWG standard says ("Server-sent events", sections 9.2.5 and 9.2.6):
//
//  1. A line ends with LF, CRLF or CR. A CR ends its line at once; the LF that may follow it,
//     even in a later read, is skipped.
//  2. One byte order mark at the very beginning is skipped.
//  3. A blank line closes an event.
//  4. A line that begins with a colon is a comment and is skipped.
//  5. In any other line the field's name stands before the first colon and its value after it.
//     A line without a colon is a name with an empty value.
//  6. One space after the colon is dropped, no more.
//  7. The data lines of one event are joined by LF.
//  8. An event without any data line is not delivered. "data:" alone is an event with empty data.
//  9. "event" sets the type of this one event; the last one counts.
//  10. "id" sets the last event id, which stays for all later events, whether its own was
//     delivered or not, until another replaces it. A value with a NUL in it is ignored.
//  11. "retry" counts if its value is ASCII digits only, in milliseconds.
//  12. Fields of other names are ignored. Case matters.
//
// And otherwise than the standard, knowingly:
//
//  13. At the end of the input, an event that no blank line closed is delivered too, even if its
//     last line has no end: the readers that the services document take line after line and
//     would have had it. After any other read error it is dropped.
//  14. Bytes are passed on untouched, invalid UTF-8 and NUL included: the input is cut at line
//     ends only, so never inside a character.
//  15. A missing type is "" where a browser says "message".
package sse

import "time"

// ContentType is the media type of an answer that is an event stream.
const ContentType = "text/event-stream; charset=utf-8"

// Event is one event of a stream.
type Event struct {
	// Type is the event's name. The services send only "error"; "" is an ordinary event.
	Type string
	// Data is the payload, without the line end of its last line. In an event that comes from
	// a [Reader] it lies in the reader's buffer and is valid until the next call of Next.
	Data []byte
	// ID is the last event id: of this event, or of the last one before it that had one.
	ID string
	// Retry is the reconnection time that the stream has asked for since the event before
	// this one; 0 if it did not.
	Retry time.Duration
}
