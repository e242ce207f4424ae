package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// pieceSize is the least that S3 takes as a piece of a file that has more of them; OSS takes
// smaller ones too.
const pieceSize = 5 << 20

// smallFile is up to which size a file takes no buffer of a whole piece.
const smallFile = 256 << 10

// pieces are buffers of whole pieces.
var pieces sync.Pool

// abortPatience bounds how long a service may take to forget an upload.
const abortPatience = 10 * time.Second

// bucket is what a service does for files that are written in pieces. Its errors are those
// of a [Sink].
type bucket interface {
	// put writes a file that is one piece.
	put(ctx context.Context, name string, piece []byte) error
	// begin begins a file of several pieces, which send adds from number 1 on; its tag is
	// what finish wants to hear of each.
	begin(ctx context.Context, name string) (upload string, err error)
	send(ctx context.Context, name, upload string, number int32, piece []byte) (tag string, err error)
	finish(ctx context.Context, name, upload string, tags []string) error
	abort(ctx context.Context, name, upload string)
}

// pieceWriter gathers pieces and uploads each when it is full.
type pieceWriter struct {
	ctx    context.Context //nolint:containedctx // the writing as a whole is one call
	to     bucket
	name   string
	piece  []byte
	upload string // empty as long as one piece holds it all
	tags   []string
	failed error
	ended  bool
}

func (w *pieceWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && w.failed == nil {
		if len(w.piece) == pieceSize {
			w.failed = w.send()
			continue
		}
		n := min(len(p), pieceSize-len(w.piece))
		w.room(n)
		w.piece = append(w.piece, p[:n]...)
		p, written = p[n:], written+n
	}
	return written, w.failed
}

// room makes the buffer large enough: as large as is needed for a small file, and a whole
// piece, which others have used before, for all else.
func (w *pieceWriter) room(n int) {
	if need := len(w.piece) + n; need <= cap(w.piece) || need <= smallFile {
		return
	}
	whole, ok := pieces.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 0, pieceSize)
		whole = &fresh
	}
	w.piece = append((*whole)[:0], w.piece...)
}

// drop gives the buffer back, unless a request has failed, which may still be reading it.
func (w *pieceWriter) drop() {
	if cap(w.piece) == pieceSize && w.failed == nil {
		whole := w.piece
		pieces.Put(&whole)
	}
	w.piece = nil
}

// send uploads the piece at hand.
func (w *pieceWriter) send() error {
	var err error
	if w.upload == "" {
		if w.upload, err = w.to.begin(w.ctx, w.name); err != nil {
			return fault(w.name, err)
		}
	}
	tag, err := w.to.send(w.ctx, w.name, w.upload, int32(len(w.tags)+1), w.piece)
	if err != nil {
		return fault(w.name, err)
	}
	w.tags = append(w.tags, tag)
	w.piece = w.piece[:0]
	return nil
}

func (w *pieceWriter) Commit() error {
	if w.ended {
		return fmt.Errorf("commit %s: %w", w.name, fs.ErrClosed)
	}
	if w.failed == nil {
		w.failed = w.finish()
	}
	if w.failed != nil {
		w.Abort()
		return w.failed
	}
	w.ended = true
	w.drop()
	return nil
}

func (w *pieceWriter) finish() error {
	if w.upload == "" {
		return fault(w.name, w.to.put(w.ctx, w.name, w.piece))
	}
	if err := w.send(); err != nil {
		return err
	}
	return fault(w.name, w.to.finish(w.ctx, w.name, w.upload, w.tags))
}

// fault is an error of writing, where an upload that is not known any more was swept.
func fault(name string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return &Error{Op: "write", Path: name, Err: errors.New("the upload was ended by somebody else")}
	}
	return err
}

func (w *pieceWriter) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	w.drop()
	if w.upload == "" {
		return
	}
	// The file must not stay half done because its writer is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortPatience)
	defer cancel()
	w.to.abort(ctx, w.name, w.upload)
}
