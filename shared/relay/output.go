package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/sse"
)

// errLeft marks that the client cannot be written to any more.
var errLeft = errors.New("the client has left")

func left(err error) error { return fmt.Errorf("%w (%w): %w", errLeft, context.Canceled, err) }

const (
	// batch is how much of what has come together goes out in one write.
	batch = 32 << 10
	// kept is the largest buffer that goes back to the pool.
	kept = 64 << 10
	// heartbeat is a comment that proxies count as traffic. No blank line follows it: some
	// clients take that for an empty event.
	heartbeat = ":\n"
)

// output is the client's side of a stream. It owns the connection: frames and heartbeats
// take turns, a frame is never split between writes, and the headers go out with what
// comes first.
type output struct {
	w     http.ResponseWriter
	every time.Duration // heartbeats; not positive for none

	mu      sync.Mutex
	buf     *[]byte              // frames that are not written yet; nil if there are none
	flush   httpapi.ErrorFlusher // set when the stream has begun
	written bool                 // since the last flush
	quiet   bool                 // nothing was written since the last tick
	stopped bool
	gone    error // why the client cannot be written to any more
	first   time.Time
	timer   *time.Timer
}

func newOutput(w http.ResponseWriter, every time.Duration) *output {
	o := &output{w: w, every: every}
	if every > 0 {
		o.mu.Lock() // the first tick may come before the timer has its name
		defer o.mu.Unlock()
		// Two ticks without a write are a silence of half the interval to all of it.
		o.timer = time.AfterFunc(every/2, o.tick)
	}
	return o
}

// add takes in a frame. It is written when enough has come together, or by send.
func (o *output) add(event *sse.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hold()
	*o.buf = sse.AppendEvent(*o.buf, *event)
	if len(*o.buf) >= batch {
		o.write()
	}
}

// addRaw is add for a frame that is in its form already, in parts.
func (o *output) addRaw(parts ...[]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hold()
	for _, part := range parts {
		*o.buf = append(*o.buf, part...)
	}
	if len(*o.buf) >= batch {
		o.write()
	}
}

// setHeader sets a header of the answer if it can still be told.
func (o *output) setHeader(name, value string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flush == nil {
		o.w.Header().Set(name, value)
	}
}

// hold takes a buffer for the time until it is written: a stream that waits holds none.
func (o *output) hold() {
	if o.buf == nil {
		o.buf = buffers.Get().(*[]byte)
	}
}

// send writes and flushes what was added, and returns why the client is gone, if it is.
func (o *output) send() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.push(); o.gone != nil {
		return left(o.gone)
	}
	return nil
}

// push writes what was added and flushes what was written.
func (o *output) push() {
	o.write()
	if o.written && o.gone == nil {
		o.gone, o.written = o.flush.FlushError(), false
	}
}

// begun reports whether the client has got the status of a stream, or is to get frames.
func (o *output) begun() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flush != nil || o.buf != nil
}

// stop ends the heartbeats: from now on only the owner writes.
func (o *output) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	if o.timer != nil {
		o.timer.Stop()
	}
}

func (o *output) write() {
	if o.buf == nil {
		return
	}
	if o.gone == nil {
		o.begin()
		_, o.gone = o.w.Write(*o.buf)
		o.written, o.quiet = true, false
	}
	if cap(*o.buf) <= kept {
		*o.buf = (*o.buf)[:0]
		buffers.Put(o.buf)
	}
	o.buf = nil
}

func (o *output) begin() {
	if o.flush == nil {
		o.flush = httpapi.BeginStream(o.w)
		o.first = time.Now()
	}
}

func (o *output) tick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped || o.gone != nil {
		return
	}
	if o.quiet {
		if o.buf == nil {
			o.hold()
			*o.buf = append(*o.buf, heartbeat...)
		}
		o.push()
	}
	o.quiet = true
	o.timer.Reset(o.every / 2)
}

// buffers hold frames on their way.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}
