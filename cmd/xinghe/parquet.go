package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"xinghe/shared/jobs"
)

const (
	// maxFooter bounds what describes a Parquet file, and maxColumn a column of a row group.
	maxFooter = 16 << 20
	maxColumn = 64 << 20
	// maxPageHeader bounds what describes a page.
	maxPageHeader = 1 << 20
)

// parquetRows reads of a Parquet file the columns that place a row. It knows what our
// exports hold and no more, zstd and plain columns without nulls: the whole format takes a
// library that would double this program. It follows the Apache Parquet format.
type parquetRows struct {
	file   *os.File
	size   int64
	groups []any
	zstd   *zstd.Decoder
	group  parquetGroup
	at     int // row of the group
}

// parquetGroup is what is read of a row group.
type parquetGroup struct {
	rows                           int
	messageID, characterID, userID []string
	gmtCreate                      []int64
}

// newParquet takes a whole file in, on the disk. The returned close frees it.
func newParquet(from io.Reader) (*parquetRows, func(), error) {
	file, err := os.CreateTemp("", "xinghe-part-*.parquet")
	if err != nil {
		return nil, nil, fmt.Errorf("keep the part: %w", err)
	}
	r := &parquetRows{file: file}
	closed := func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
		if r.zstd != nil {
			r.zstd.Close()
		}
	}
	if err = r.open(from); err != nil {
		closed()
		return nil, nil, err
	}
	return r, closed, nil
}

// open reads what stands at the end of the file: the description, its size, and "PAR1".
func (r *parquetRows) open(from io.Reader) (err error) {
	if r.size, err = io.Copy(r.file, from); err != nil {
		return err
	}
	if r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow)); err != nil {
		return err
	}
	var end [8]byte
	if _, err := r.file.ReadAt(end[:], max(r.size-8, 0)); err != nil {
		return unexpected(err)
	}
	footer := int64(binary.LittleEndian.Uint32(end[:]))
	if string(end[4:]) != "PAR1" || footer > maxFooter || footer+12 > r.size {
		return errors.New("no Parquet file")
	}
	text := make([]byte, footer)
	if _, err := r.file.ReadAt(text, r.size-8-footer); err != nil {
		return err
	}
	head, err := readThrift(bytes.NewReader(text), maxFooter)
	r.groups = head.list(4)
	return err
}

func (r *parquetRows) next() (jobs.Row, error) {
	for r.at == r.group.rows {
		if len(r.groups) == 0 {
			return jobs.Row{}, io.EOF
		}
		group, _ := r.groups[0].(thriftFields)
		r.groups, r.at = r.groups[1:], 0
		if err := r.read(group); err != nil {
			return jobs.Row{}, err
		}
	}
	g := &r.group
	row := jobs.Row{MessageID: g.messageID[r.at], CharacterID: g.characterID[r.at], UserID: g.userID[r.at], GmtCreate: g.gmtCreate[r.at]}
	r.at++
	return row, nil
}

// read takes in the columns of a row group.
func (r *parquetRows) read(group thriftFields) error {
	g := parquetGroup{rows: int(group.number(3))}
	columns := map[string]thriftFields{}
	for _, column := range group.list(1) {
		chunk, _ := column.(thriftFields)
		meta := chunk.fields(3)
		if path := meta.list(3); len(path) == 1 {
			name, _ := path[0].([]byte)
			columns[string(name)] = meta
		}
	}
	var err error
	texts := func(name string) (list []string) {
		err = errors.Join(err, r.column(columns[name], g.rows, name, func(page []byte) ([]byte, bool) {
			if len(page) < 4 || uint64(len(page)-4) < uint64(binary.LittleEndian.Uint32(page)) {
				return nil, false
			}
			end := 4 + int(binary.LittleEndian.Uint32(page))
			list = append(list, string(page[4:end]))
			return page[end:], true
		}))
		return list
	}
	g.messageID, g.characterID, g.userID = texts("messageId"), texts("characterId"), texts("userId")
	err = errors.Join(err, r.column(columns["gmtCreate"], g.rows, "gmtCreate", func(page []byte) ([]byte, bool) {
		if len(page) < 8 {
			return nil, false
		}
		g.gmtCreate = append(g.gmtCreate, int64(binary.LittleEndian.Uint64(page)))
		return page[8:], true
	}))
	if err != nil {
		return err
	}
	r.group = g
	return nil
}

// column has each value of a column taken from the front of what is left of a page.
func (r *parquetRows) column(meta thriftFields, rows int, name string, take func(page []byte) (rest []byte, ok bool)) error {
	if meta == nil || rows < 0 || int(meta.number(5)) != rows {
		return fmt.Errorf("column %s: there is none of %d rows", name, rows)
	}
	offset, size := meta.number(9), meta.number(7)
	if offset < 0 || size < 0 || offset > r.size || size > r.size-offset {
		return fmt.Errorf("column %s: lies nowhere", name)
	}
	from := bufio.NewReader(io.NewSectionReader(r.file, offset, size))
	for read, total := 0, 0; read < rows; {
		page, values, err := r.page(from)
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
		if total += len(page); total > maxColumn || values <= 0 || values > rows-read {
			return fmt.Errorf("column %s: a page does not fit", name)
		}
		for range values {
			var ok bool
			if page, ok = take(page); !ok {
				return fmt.Errorf("column %s: a page ends within a value", name)
			}
		}
		read += values
	}
	return nil
}

// page reads the plain values of a page, and their number.
func (r *parquetRows) page(from *bufio.Reader) (values []byte, count int, err error) {
	const dataPageV2, plain = 3, 0
	head, err := readThrift(from, maxPageHeader)
	if err != nil {
		return nil, 0, err
	}
	data := head.fields(8)
	if head.number(1) != dataPageV2 || data.number(4) != plain || data.number(5)+data.number(6) != 0 {
		return nil, 0, errors.New("a page is not as exports write them")
	}
	size := head.number(3)
	if size < 0 || size > r.size {
		return nil, 0, fmt.Errorf("a page of %d bytes", size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(from, text); err != nil {
		return nil, 0, unexpected(err)
	}
	if compressed, said := data[7].(bool); compressed || !said {
		text, err = r.zstd.DecodeAll(text, nil)
	}
	return text, int(data.number(1)), err
}
