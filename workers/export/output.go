package export

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"xinghe/shared/sink"
)

// output is a file that is written, and of which it is known afterwards what it holds. It
// is used for one file after another.
type output struct {
	*bufio.Writer
	to   sink.Writer // nil between files
	sum  hash.Hash
	size int64
}

func newOutput() *output {
	return &output{Writer: bufio.NewWriterSize(nil, 64<<10), sum: sha256.New()}
}

func (o *output) begin(ctx context.Context, sink sink.Sink, path string) error {
	to, err := sink.Create(ctx, path)
	if err != nil {
		return err
	}
	o.to, o.size = to, 0
	o.sum.Reset()
	o.Reset(writerFunc(o.store))
	return nil
}

// store takes what is ready to be written.
func (o *output) store(data []byte) (int, error) {
	n, err := o.to.Write(data)
	o.sum.Write(data[:n])
	o.size += int64(n)
	return n, err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(data []byte) (int, error) { return f(data) }

// commit makes the file appear, and returns its size and SHA-256.
func (o *output) commit() (size int64, sum string, err error) {
	defer o.abort()
	if err := o.Flush(); err != nil {
		return 0, "", err
	}
	if err := o.to.Commit(); err != nil {
		return 0, "", err
	}
	return o.size, hex.EncodeToString(o.sum.Sum(nil)), nil
}

// abort drops the file, if there is one that has not appeared.
func (o *output) abort() {
	if o.to != nil {
		o.to.Abort()
		o.to = nil
	}
}
