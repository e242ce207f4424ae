package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"xinghe/shared/jobs"
)

// key is where a row stands in the order of its window.
type key struct {
	at int64 // gmtCreate
	id string
}

func (k key) compare(other key) int {
	return cmp.Or(cmp.Compare(k.at, other.at), cmp.Compare(k.id, other.id))
}

// rows reads the rows of a part; their error at the end is io.EOF.
type rows interface {
	next() (jobs.Row, error)
}

// maxWindow bounds what a part can make a reader hold, in bytes.
const maxWindow = 64 << 20

// newRows reads a part as the spec of its export says. The returned close frees what it holds.
func newRows(from io.Reader, spec jobs.ExportSpec) (r rows, closed func(), err error) {
	if spec.Format == jobs.FormatParquet {
		return newParquet(from)
	}
	from, closed, err = unpacked(from, spec.Compression)
	if err != nil {
		return nil, nil, err
	}
	if spec.Format == jobs.FormatCSV {
		return newCSV(from), closed, nil
	}
	return jsonRows{json.NewDecoder(from)}, closed, nil
}

// unpacked is a file without its compression.
func unpacked(from io.Reader, compression string) (plain io.Reader, closed func(), err error) {
	switch compression {
	case jobs.CompressionGzip:
		plain, err := gzip.NewReader(from)
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", unexpected(err))
		}
		return plain, func() {}, nil
	case jobs.CompressionZstd:
		decoder, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", unexpected(err))
		}
		return decoder, decoder.Close, nil
	}
	return from, func() {}, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

type jsonRows struct{ decoder *json.Decoder }

func (r jsonRows) next() (row jobs.Row, err error) {
	err = r.decoder.Decode(&row)
	return row, err
}

// csvRows takes back what keeps spreadsheets from misreading cells.
type csvRows struct {
	reader  *csv.Reader
	columns map[string]int // nil before the header
}

func newCSV(from io.Reader) *csvRows {
	const byteOrderMark = "\ufeff"
	buffered := bufio.NewReader(from)
	if begin, _ := buffered.Peek(len(byteOrderMark)); string(begin) == byteOrderMark {
		_, _ = buffered.Discard(len(byteOrderMark))
	}
	reader := csv.NewReader(buffered)
	reader.ReuseRecord = true
	return &csvRows{reader: reader}
}

func (r *csvRows) next() (jobs.Row, error) {
	if r.columns == nil {
		if err := r.header(); err != nil {
			return jobs.Row{}, err
		}
	}
	record, err := r.reader.Read()
	if err != nil {
		return jobs.Row{}, err
	}
	cell := func(column string) string { return unguarded(record[r.columns[column]]) }
	at, err := strconv.ParseInt(cell("gmtCreate"), 10, 64)
	if err != nil {
		return jobs.Row{}, fmt.Errorf("gmtCreate: %w", err)
	}
	return jobs.Row{
		MessageID: cell("messageId"), CharacterID: cell("characterId"), UserID: cell("userId"), GmtCreate: at,
	}, nil
}

func (r *csvRows) header() error {
	record, err := r.reader.Read()
	if err != nil {
		return fmt.Errorf("header: %w", unexpected(err))
	}
	r.columns = map[string]int{}
	for i, name := range record {
		r.columns[name] = i
	}
	for _, name := range []string{"messageId", "characterId", "userId", "gmtCreate"} {
		if !slices.Contains(record, name) {
			return fmt.Errorf("header: there is no column %s", name)
		}
	}
	return nil
}

// unguarded is a cell without the apostrophe that guards what looks like a formula.
func unguarded(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.IndexByte("=+-@\t\r", cell[1]) >= 0 {
		return cell[1:]
	}
	return cell
}
