package sse

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"math"
	"time"
)

const (
	// DefaultMaxEventBytes is the limit of a [Reader] that was given none.
	DefaultMaxEventBytes = 8 << 20

	firstBuffer   = 2 << 10  // what a reader begins with: most streams never need more
	busyBuffer    = 32 << 10 // what it grows to while reads fill it: then each read is a system call saved
	pooledBuffer  = 64 << 10 // what Reset keeps
	maxEmptyReads = 100      // then io.ErrNoProgress, as in bufio
)

var (
	byteOrderMark = []byte("\xEF\xBB\xBF")
	colon         = []byte{':'}
)

// TooLargeError says that an event does not fit the limit of its [Reader].
type TooLargeError struct {
	Limit int // bytes
}

// Error names the limit.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("event is larger than the limit of %d bytes", e.Limit)
}

// ReaderConfig sets the limits of a [Reader].
type ReaderConfig struct {
	// MaxEventBytes bounds what is held of one event: the data it has so far and the line being
	// read, field name and line end included. What has been read past (comments, other fields,
	// other events) does not count. Default, for 0 and less: [DefaultMaxEventBytes].
	MaxEventBytes int
}

// Reader reads the events of one stream by the rules in the package comment. It holds one
// buffer of 2 KiB, which grows fourfold up to 32 KiB while reads fill it, and beyond doubles
// for an event that needs it, up to the limit. It does not shrink before [Reader.Reset]. A
// Reader is for one goroutine at a time.
type Reader struct {
	src io.Reader
	max int
	err error // why there is nothing more to read

	// The buffer: ··· data[head:tail] ··· line being read[pos:end] free. Data lines are joined
	// where they lie: the field's name between two of them leaves room for more than a LF.
	buf        []byte
	head, tail int
	pos, end   int
	lf, cr     int // the first of its kind in buf[pos:end], or end: each byte is searched once

	// The event in the making.
	eventType string
	lastID    string
	retry     time.Duration
	hasData   bool // an empty data line is data, too

	event    Event  // the last complete one
	ready    bool   // and it has not been returned
	lastType string // the string made last for a type, as most events have the type of the last
	begun    bool   // past the place of a byte order mark
	full     bool   // the last read has filled the buffer
	afterCR  bool   // the last byte read was a CR, whose LF may be still to come
}

// NewReader returns a Reader of the stream that src delivers. Closing src stays with the caller.
func NewReader(src io.Reader, cfg ReaderConfig) *Reader {
	limit := cfg.MaxEventBytes
	if limit <= 0 {
		limit = DefaultMaxEventBytes
	}
	return &Reader{src: src, max: limit, buf: make([]byte, min(firstBuffer, limit))}
}

// Reset makes the Reader ready for another stream, with the same limit. It keeps the buffer if
// that has not grown beyond 64 KiB, so that readers can be pooled; Reset(nil) lets go of the
// source meanwhile.
func (r *Reader) Reset(src io.Reader) {
	if len(r.buf) > pooledBuffer {
		r.buf = make([]byte, firstBuffer)
	}
	*r = Reader{src: src, max: r.max, buf: r.buf}
}

// Next returns the next event as soon as the blank line after it has arrived. Its Data is valid
// until Next is called again.
//
// The error is [io.EOF] at the end of the input, [*TooLargeError] for an event over the limit, or
// what the source returned, as it is, after the events that were complete before it. Next
// returns the same error ever after.
func (r *Reader) Next() (Event, error) {
	if !r.advance(true) {
		return Event{}, r.err
	}
	r.ready = false
	return r.event, nil
}

// Events returns an iterator over the events that are left. It ends silently at [io.EOF]; any
// other error of [Reader.Next] comes last, with no event.
func (r *Reader) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for r.advance(true) {
			r.ready = false
			if !yield(r.event, nil) {
				return
			}
		}
		if !isEOF(r.err) {
			yield(Event{}, r.err)
		}
	}
}

// Buffered reports whether Next will return an event without reading. A relay flushes what it
// wrote when it is false. The Data of the event before stays valid.
func (r *Reader) Buffered() bool {
	return r.advance(false)
}

// advance takes lines out of the buffer until they have made up an event. If it may read, it
// does so when no whole line is left.
func (r *Reader) advance(mayRead bool) bool {
	for !r.ready {
		start, stop := r.pos, min(r.lf, r.cr)
		switch {
		case stop < r.end:
			r.endLine(stop)
		case mayRead && r.err == nil:
			r.fill()
			continue
		case isEOF(r.err) && r.tail-r.head+stop-start >= r.max:
			r.err = &TooLargeError{Limit: r.max} // as if the end had come a read later
			return false
		case isEOF(r.err) && (start < stop || r.hasData):
			r.pos = r.end // a last line without its end, or the missing blank line
		default:
			return false
		}
		if !r.begun {
			start = r.begin(start, stop)
		}
		if start < stop {
			r.field(start, stop)
		} else {
			r.dispatch()
		}
	}
	return true
}

// endLine goes past the line end at stop.
func (r *Reader) endLine(stop int) {
	r.pos = stop + 1
	if stop == r.cr {
		r.cr = r.index('\r', r.pos)
		r.afterCR = r.pos == r.end
		if r.lf > r.pos || r.afterCR {
			return
		}
		r.pos++
	}
	r.lf = r.pos
	if r.pos < r.end && r.buf[r.pos] != '\n' { // else it is the blank line of a common event
		r.lf = r.index('\n', r.pos)
	}
}

// index returns the place of the first c at or after from, or end.
func (r *Reader) index(c byte, from int) int {
	if i := bytes.IndexByte(r.buf[from:r.end], c); i >= 0 {
		return from + i
	}
	return r.end
}

// begin returns where the first line starts, which is after a byte order mark.
func (r *Reader) begin(start, stop int) int {
	r.begun = true
	if bytes.HasPrefix(r.buf[start:stop], byteOrderMark) {
		return start + len(byteOrderMark)
	}
	return start
}

// field takes in the line buf[start:stop], which is not blank.
func (r *Reader) field(start, stop int) {
	line := r.buf[start:stop]
	if len(line) > 5 && string(line[:5]) == "data:" && line[5] != ' ' {
		r.addData(start+5, stop) // short cut for what nearly every line is
		return
	}
	name, value, _ := bytes.Cut(line, colon)
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) {
	case "data":
		r.addData(stop-len(value), stop)
	case "event":
		if string(value) != r.lastType {
			r.lastType = string(value)
		}
		r.eventType = r.lastType
	case "id":
		if string(value) != r.lastID && bytes.IndexByte(value, 0) < 0 {
			r.lastID = string(value)
		}
	case "retry":
		if retry, ok := milliseconds(value); ok {
			r.retry = retry
		}
	}
}

// addData adds buf[start:stop] to the data. The first line stays where it is, any further one
// moves up to it.
func (r *Reader) addData(start, stop int) {
	if !r.hasData {
		r.head, r.tail, r.hasData = start, stop, true
		return
	}
	r.buf[r.tail] = '\n'
	r.tail++
	r.tail += copy(r.buf[r.tail:], r.buf[start:stop])
}

// dispatch completes the event in the making. One without data leaves only its id and retry.
func (r *Reader) dispatch() {
	if r.hasData {
		r.event.Type = r.eventType
		r.event.Data = r.buf[r.head:r.tail:r.tail]
		r.event.ID = r.lastID
		r.event.Retry = r.retry
		r.head, r.tail, r.hasData, r.retry = 0, 0, false, 0
		r.ready = true
	}
	r.eventType = ""
}

// fill reads once, and looks for line ends in what came. It is called when the buffer holds no
// whole line.
func (r *Reader) fill() {
	if !r.makeRoom() {
		r.err = &TooLargeError{Limit: r.max}
		return
	}
	n, err := 0, error(nil)
	for tries := 0; n == 0 && err == nil; tries++ {
		if tries == maxEmptyReads {
			err = io.ErrNoProgress
			break
		}
		n, err = r.src.Read(r.buf[r.end:])
	}
	from := r.end
	r.end += n
	r.full = r.end == len(r.buf)
	if n > 0 && r.afterCR {
		r.afterCR = false
		if r.buf[from] == '\n' {
			from++
			r.pos = from
		}
	}
	r.lf = r.index('\n', from)
	r.cr = r.index('\r', from)
	r.err = err
}

// makeRoom moves what is held, which is the data so far and the line being read, to the front of
// the buffer, and all of it to a larger one if this is full. It reports false at the limit, which
// the buffer never exceeds. A byte moves once a line at most, not once a read.
func (r *Reader) makeRoom() bool {
	if r.full && len(r.buf) < min(busyBuffer, r.max) {
		r.grow()
	}
	if r.pos == r.end && !r.hasData {
		r.pos, r.end = 0, 0
		return true
	}
	if r.head > 0 {
		r.tail = copy(r.buf, r.buf[r.head:r.tail])
		r.head = 0
	}
	if r.pos > r.tail {
		r.end = r.tail + copy(r.buf[r.tail:], r.buf[r.pos:r.end])
		r.pos = r.tail
	}
	if r.end < len(r.buf) {
		return true
	}
	if len(r.buf) == r.max {
		return false
	}
	r.grow()
	return true
}

func (r *Reader) grow() {
	size := 2 * len(r.buf)
	if size <= busyBuffer {
		size = min(2*size, busyBuffer)
	}
	larger := make([]byte, min(size, r.max))
	copy(larger, r.buf)
	r.buf = larger
}

// milliseconds reads digits. What a Duration cannot hold is no time.
func milliseconds(digits []byte) (time.Duration, bool) {
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = 10*n + int64(c-'0'); n > math.MaxInt64/int64(time.Millisecond) {
			return 0, false
		}
	}
	return time.Duration(n) * time.Millisecond, len(digits) > 0
}

// isEOF reports a clean end. A wrapped io.EOF is none: whoever wrapped it had more to say.
func isEOF(err error) bool {
	return err == io.EOF //nolint:errorlint // see above
}
