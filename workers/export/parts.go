package export

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// parts writes the rows of one window to files of bounded size, one after another. Where a
// part ends depends on the rows alone, so that the same rows give the same files.
type parts struct {
	sink     sink.Sink
	window   jobs.Window
	limit    int64
	encoder  encoder
	compress compressor // nil for none
	row      bytes.Buffer
	buffer   *bufio.Writer

	out   sink.Writer // nil between parts
	sum   hash.Hash
	size  int64 // written to out
	plain int64 // before compression
	part  jobs.Part
}

func newParts(to sink.Sink, window jobs.Window, limit int64) (*parts, error) {
	compress, err := newCompressor(window.Compression)
	if err != nil {
		return nil, fmt.Errorf("compress with %s: %w", window.Compression, err)
	}
	p := &parts{sink: to, window: window, limit: limit, encoder: newEncoder(window.Format), compress: compress, sum: sha256.New()}
	p.buffer = bufio.NewWriterSize(nil, 64<<10)
	return p, nil
}

// place is the path of a part.
func place(window jobs.Window, number int) string {
	return path.Join(window.Folder, fmt.Sprintf("%06d-%05d%s", window.Number, number, extension(window)))
}

// write adds a row to the part of that number, and reports whether the part is full.
func (p *parts) write(ctx context.Context, number int, row jobs.Row) (full bool, err error) {
	p.row.Reset()
	if p.out == nil {
		if err := p.begin(ctx, number, row); err != nil {
			return false, err
		}
	}
	if err := p.encoder.row(&p.row, row); err != nil {
		return false, fmt.Errorf("encode row: %w", err)
	}
	p.plain += int64(p.row.Len())
	if _, err := p.target().Write(p.row.Bytes()); err != nil {
		return false, err
	}
	p.part.Rows++
	p.part.Last = row.MessageID
	return p.plain >= p.limit, nil
}

func (p *parts) begin(ctx context.Context, number int, first jobs.Row) error {
	p.part = jobs.Part{Path: place(p.window, number), Window: p.window.Number, First: first.MessageID}
	out, err := p.sink.Create(ctx, p.part.Path)
	if err != nil {
		return err
	}
	p.out, p.size, p.plain = out, 0, 0
	p.sum.Reset()
	p.buffer.Reset(writerFunc(p.store))
	if p.compress != nil {
		p.compress.Reset(p.buffer)
	}
	p.encoder.begin(&p.row)
	return nil
}

func (p *parts) target() io.Writer {
	if p.compress != nil {
		return p.compress
	}
	return p.buffer
}

// store takes what is ready to be written.
func (p *parts) store(data []byte) (int, error) {
	n, err := p.out.Write(data)
	p.sum.Write(data[:n])
	p.size += int64(n)
	return n, err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(data []byte) (int, error) { return f(data) }

// open reports whether there are rows in a part that is not finished.
func (p *parts) open() bool { return p.out != nil }

// finish makes the part at hand appear.
func (p *parts) finish() (jobs.Part, error) {
	defer p.abort()
	if p.compress != nil {
		if err := p.compress.Close(); err != nil {
			return jobs.Part{}, err
		}
	}
	if err := p.buffer.Flush(); err != nil {
		return jobs.Part{}, err
	}
	if err := p.out.Commit(); err != nil {
		return jobs.Part{}, err
	}
	p.part.Bytes, p.part.SHA256 = p.size, hex.EncodeToString(p.sum.Sum(nil))
	return p.part, nil
}

// abort drops the part at hand, if any.
func (p *parts) abort() {
	if p.out != nil {
		p.out.Abort()
		p.out = nil
	}
}
