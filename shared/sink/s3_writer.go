package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// pieceSize is the least that S3 takes as a piece of a file that has more of them.
const pieceSize = 5 << 20

// smallFile is up to which size a file takes no buffer of a whole piece.
const smallFile = 256 << 10

// pieces are buffers of whole pieces.
var pieces sync.Pool

// abortPatience bounds how long a service may take to forget an upload.
const abortPatience = 10 * time.Second

// Create implements [Sink].
func (s *S3) Create(ctx context.Context, name string) (Writer, error) {
	if err := check("create", name); err != nil {
		return nil, err
	}
	return &s3Writer{ctx: ctx, sink: s, name: name}, nil
}

// s3Writer gathers pieces and uploads each when it is full.
type s3Writer struct {
	ctx    context.Context //nolint:containedctx // the writing as a whole is one call
	sink   *S3
	name   string
	piece  []byte
	upload *string // nil as long as one piece holds it all
	sent   []types.CompletedPart
	failed error
	ended  bool
}

func (w *s3Writer) Write(p []byte) (int, error) {
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
func (w *s3Writer) room(n int) {
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
func (w *s3Writer) drop() {
	if cap(w.piece) == pieceSize && w.failed == nil {
		whole := w.piece
		pieces.Put(&whole)
	}
	w.piece = nil
}

// send uploads the piece at hand.
func (w *s3Writer) send() error {
	if w.upload == nil {
		begun, err := w.sink.client.CreateMultipartUpload(w.ctx, &s3.CreateMultipartUploadInput{Bucket: &w.sink.bucket, Key: w.sink.key(w.name)})
		if err != nil {
			return w.fault(err)
		}
		w.upload = begun.UploadId
	}
	number := aws.Int32(int32(len(w.sent) + 1))
	sent, err := w.sink.client.UploadPart(w.ctx, &s3.UploadPartInput{
		Bucket: &w.sink.bucket, Key: w.sink.key(w.name), UploadId: w.upload, PartNumber: number, Body: bytes.NewReader(w.piece),
	})
	if err != nil {
		return w.fault(err)
	}
	w.sent = append(w.sent, types.CompletedPart{ETag: sent.ETag, PartNumber: number})
	w.piece = w.piece[:0]
	return nil
}

func (w *s3Writer) Commit() error {
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

func (w *s3Writer) finish() error {
	if w.upload == nil {
		_, err := w.sink.client.PutObject(w.ctx, &s3.PutObjectInput{Bucket: &w.sink.bucket, Key: w.sink.key(w.name), Body: bytes.NewReader(w.piece)})
		return w.fault(err)
	}
	if err := w.send(); err != nil {
		return err
	}
	_, err := w.sink.client.CompleteMultipartUpload(w.ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &w.sink.bucket, Key: w.sink.key(w.name), UploadId: w.upload,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: w.sent},
	})
	return w.fault(err)
}

// fault is s3Error, where an upload that is not known any more was swept.
func (w *s3Writer) fault(err error) error {
	err = s3Error(w.ctx, "write", w.name, err)
	if errors.Is(err, ErrNotFound) {
		return &Error{Op: "write", Path: w.name, Err: errors.New("the upload was ended by somebody else")}
	}
	return err
}

func (w *s3Writer) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	w.drop()
	if w.upload == nil {
		return
	}
	// The file must not stay half done because its writer is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortPatience)
	defer cancel()
	_, _ = w.sink.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &w.sink.bucket, Key: w.sink.key(w.name), UploadId: w.upload})
}
