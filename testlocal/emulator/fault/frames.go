package fault

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ErrEnded is returned by [Frames.Write] when a fault ended the stream. The handler must return and write no more.
var ErrEnded = errors.New("stream ended by a fault")

// Frames writes the frames of one SSE answer: each one flushed, a pace apart, struck by the faults of a plan. It belongs
// to one goroutine. The caller sets headers before the first Write.
type Frames struct {
	// ErrorFrame is what ErrorEvent sends, whole and with its empty line, in the words of the service.
	ErrorFrame []byte
	// Live flushes every frame, whatever the pace.
	Live bool

	ctx     context.Context
	w       http.ResponseWriter
	control *http.ResponseController
	plan    *Plan
	pace    time.Duration
	timer   *time.Timer
	written int64
	index   int
	held    []byte
}

// NewFrames writes to w. Frames are pace apart; with pace 0 and no plan they are handed to the HTTP server as fast as
// they come and only the first and the last are flushed. ctx ends waits and stalls: give it the request's.
func NewFrames(ctx context.Context, w http.ResponseWriter, plan *Plan, pace time.Duration) *Frames {
	return &Frames{ctx: ctx, w: w, control: http.NewResponseController(w), plan: plan, pace: pace}
}

// Write sends one frame, whole: its lines and the empty line that ends it. last marks the frame that says the stream
// has ended well. It returns [ErrEnded] when a fault ended the stream here, the context's error when the client left,
// and else what the connection said.
func (f *Frames) Write(frame []byte, last bool) error {
	f.index++
	if f.index > 1 && !f.rest() {
		return f.ctx.Err()
	}
	if f.plan == nil {
		return f.send(frame, last || f.index == 1 || f.pace > 0 || f.Live)
	}
	return f.strike(frame, last)
}

// Index is the number of frames written or struck so far.
func (f *Frames) Index() int { return f.index }

// Close stops the timer that paces the frames. It ends nothing on the wire.
func (f *Frames) Close() {
	if f.timer != nil {
		f.timer.Stop()
	}
}

func (f *Frames) rest() bool {
	if f.pace <= 0 {
		return f.ctx.Err() == nil
	}
	if f.timer == nil {
		f.timer = time.NewTimer(f.pace)
	} else {
		f.timer.Reset(f.pace)
	}
	select {
	case <-f.timer.C:
		return true
	case <-f.ctx.Done():
		return false
	}
}

func (f *Frames) strike(frame []byte, last bool) error {
	if ended, err := f.breakOff(last); ended {
		return err
	}
	frame = f.plan.mangle(frame, f.index)
	if f.joins(last) {
		f.held = append(f.held, frame...)
		return nil
	}
	if len(f.held) > 0 {
		frame = append(f.held, frame...)
		f.held = nil
	}
	return f.sendUpTo(frame)
}

// breakOff strikes the faults that come in place of a frame.
func (f *Frames) breakOff(last bool) (bool, error) {
	switch {
	case f.hits(Reset):
		f.flushHeld()
		drop(f.w, true)
	case f.hits(HalfClose):
		f.flushHeld()
		drop(f.w, false)
	case f.cuts(last):
		f.flushHeld()
	case f.hits(ErrorEvent):
		f.flushHeld()
		_ = f.send(f.ErrorFrame, true)
	case f.hits(Stall):
		f.flushHeld()
		return f.stall()
	default:
		return false, nil
	}
	return true, ErrEnded
}

func (f *Frames) hits(name Name) bool {
	rule, ok := f.plan.Rule(name)
	if !ok || rule.AtByte > 0 && rule.AtFrame == 0 {
		return false
	}
	return f.index == orDefault(rule.AtFrame, 1)
}

func (f *Frames) cuts(last bool) bool {
	rule, ok := f.plan.Rule(Cut)
	return ok && (last && rule.AtFrame == 0 || rule.AtFrame > 0 && f.index >= rule.AtFrame)
}

func (f *Frames) stall() (bool, error) {
	rule, _ := f.plan.Rule(Stall)
	_ = f.control.Flush()
	if rule.Delay == 0 && rule.Jitter == 0 {
		<-f.ctx.Done()
		return true, f.ctx.Err()
	}
	if !wait(f.ctx, rule.Delay+f.plan.jitter(rule.Jitter)) {
		return true, f.ctx.Err()
	}
	return false, nil
}

func (f *Frames) joins(last bool) bool {
	rule, ok := f.plan.Rule(Join)
	if !ok || last || len(f.held) > 0 {
		return false
	}
	if rule.AtFrame == 0 {
		return f.index%2 == 1
	}
	return f.index == rule.AtFrame
}

func (f *Frames) flushHeld() {
	if len(f.held) > 0 {
		_ = f.send(f.held, true)
		f.held = nil
	}
}

// sendUpTo sends the frame, broken off at the byte that a fault names and in two writes if it is to be split.
func (f *Frames) sendUpTo(frame []byte) error {
	for _, name := range []Name{Reset, HalfClose, Stall} {
		rule, ok := f.plan.Rule(name)
		if !ok || rule.AtByte == 0 || rule.AtFrame > 0 {
			continue
		}
		room := rule.AtByte - f.written
		if room < 0 || room >= int64(len(frame)) {
			continue
		}
		if err := f.send(frame[:room], true); err != nil {
			return err
		}
		frame = frame[room:]
		if name != Stall {
			drop(f.w, name == Reset)
			return ErrEnded
		}
		if ended, err := f.stall(); ended {
			return err
		}
	}
	if rule, ok := f.plan.Rule(Split); ok && (rule.AtFrame == 0 || rule.AtFrame == f.index) {
		at := splitPoint(frame, f.plan)
		if err := f.send(frame[:at], true); err != nil {
			return err
		}
		frame = frame[at:]
	}
	return f.send(frame, true)
}

func (f *Frames) send(data []byte, flush bool) error {
	n, err := f.w.Write(data)
	f.written += int64(n)
	if err != nil {
		return err
	}
	if flush {
		if err := f.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	return nil
}
