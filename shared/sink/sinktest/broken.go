package sinktest

import (
	"context"
	"errors"
	"sync/atomic"

	"xinghe/shared/sink"
)

var errTold = errors.New("told to by the test")

// Broken is a sink that can be told to fail.
type Broken struct {
	sink.Sink
	reason atomic.Pointer[error]
	room   atomic.Int64
	bound  atomic.Bool
}

// Fail makes everything that writes fail for a reason such as [sink.ErrDenied]; nil ends
// that.
func (b *Broken) Fail(reason error) {
	if reason == nil {
		b.reason.Store(nil)
		return
	}
	b.reason.Store(&reason)
}

// Fill lets so many bytes be written before there is no room any more; less than 0 ends
// that.
func (b *Broken) Fill(room int64) {
	b.room.Store(room)
	b.bound.Store(room >= 0)
}

func (b *Broken) broken(op, path string) error {
	if reason := b.reason.Load(); reason != nil {
		return &sink.Error{Op: op, Path: path, Reason: *reason, Err: errTold}
	}
	return nil
}

// Create implements [sink.Sink].
func (b *Broken) Create(ctx context.Context, path string) (sink.Writer, error) {
	if err := b.broken("create", path); err != nil {
		return nil, err
	}
	w, err := b.Sink.Create(ctx, path)
	if err != nil {
		return nil, err
	}
	return &brokenWriter{Writer: w, sink: b, path: path}, nil
}

type brokenWriter struct {
	sink.Writer
	sink *Broken
	path string
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if err := w.sink.broken("write", w.path); err != nil {
		return 0, err
	}
	if w.sink.bound.Load() && w.sink.room.Add(-int64(len(p))) < 0 {
		return 0, &sink.Error{Op: "write", Path: w.path, Reason: sink.ErrFull, Err: errTold}
	}
	return w.Writer.Write(p)
}

func (w *brokenWriter) Commit() error {
	if err := w.sink.broken("write", w.path); err != nil {
		w.Abort()
		return err
	}
	return w.Writer.Commit()
}
