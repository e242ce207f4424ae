package sse

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"
)

// dropped is what a field or comment of one line cannot carry.
const dropped = "\r\n\x00"

var (
	lineFeed       = []byte{'\n'}
	carriageReturn = []byte{'\r'}
)

// Writer writes events, each frame with exactly one Write, so that nothing can come between its
// lines. It does not flush. It keeps the buffer of its largest frame, and is for one goroutine at
// a time. Errors are those of the underlying writer, as they are.
type Writer struct {
	dst io.Writer
	buf []byte
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer {
	return &Writer{dst: dst}
}

// Event writes the event as [AppendEvent] puts it.
func (w *Writer) Event(ev Event) error {
	w.buf = AppendEvent(w.buf[:0], ev)
	return w.write()
}

// Data writes an event that has nothing but data.
func (w *Writer) Data(data []byte) error {
	return w.Event(Event{Data: data})
}

// Comment writes a comment as [AppendComment] puts it: the heartbeat of a quiet stream.
func (w *Writer) Comment(text string) error {
	w.buf = AppendComment(w.buf[:0], text)
	return w.write()
}

func (w *Writer) write() error {
	_, err := w.dst.Write(w.buf)
	return err
}

// AppendEvent appends the event to dst, blank line included. Like the services it puts no space
// after a colon, unless the value begins with one, which a reader would drop.
//
// Data becomes as many lines as it has, and at least one, for without it no client would see the
// event; CRLF and CR in it will be read as LF. CR, LF and NUL are
// dropped from Type and ID, which therefore cannot start a line of their own. Retry is cut to
// milliseconds. What is empty or zero then is left out, so an empty ID does not reset an earlier
// one.
func AppendEvent(dst []byte, ev Event) []byte {
	dst = appendField(dst, "event:", ev.Type)
	dst = appendField(dst, "id:", ev.ID)
	if ev.Retry >= time.Millisecond {
		dst = append(dst, "retry:"...)
		dst = strconv.AppendInt(dst, ev.Retry.Milliseconds(), 10)
		dst = append(dst, '\n')
	}
	dst = appendData(dst, ev.Data)
	return append(dst, '\n')
}

// AppendComment appends one comment line, without the CR, LF and NUL that text may hold. No blank
// line follows it: there are clients that take one for an empty event.
func AppendComment(dst []byte, text string) []byte {
	dst = append(dst, ':')
	dst = appendText(dst, text)
	return append(dst, '\n')
}

func appendField(dst []byte, name, value string) []byte {
	if value = strings.TrimLeft(value, dropped); value == "" {
		return dst
	}
	dst = append(dst, name...)
	if value[0] == ' ' {
		dst = append(dst, ' ')
	}
	dst = appendText(dst, value)
	return append(dst, '\n')
}

func appendText(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; strings.IndexByte(dropped, c) < 0 {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendData looks for CR only between one LF and the next, so each byte is searched once for
// each of them, whatever the line ends are.
func appendData(dst, data []byte) []byte {
	for more := true; more; {
		var lines []byte
		if lines, data, more = bytes.Cut(data, lineFeed); more {
			lines = bytes.TrimSuffix(lines, carriageReturn)
		}
		for inside := true; inside; {
			var line []byte
			line, lines, inside = bytes.Cut(lines, carriageReturn)
			dst = append(dst, "data:"...)
			if len(line) > 0 && line[0] == ' ' {
				dst = append(dst, ' ')
			}
			dst = append(dst, line...)
			dst = append(dst, '\n')
		}
	}
	return dst
}
