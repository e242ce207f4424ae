package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"xinghe/shared/jobs"
)

// body is how units are written to a file. The same units give the same bytes.
type body interface {
	// begin begins a file.
	begin(to io.Writer) error
	// write adds a unit, and returns its size before compression.
	write(u unit) (plain int, err error)
	// end ends a file.
	end() error
}

func newBody(window jobs.Window) (body, error) {
	if window.Format == jobs.FormatParquet {
		return newParquetBody(), nil
	}
	return newTextBody(window)
}

// textBody writes lines, or records, one after another.
type textBody struct {
	encoder  encoder
	compress compressor // nil for none
	row      bytes.Buffer
	to       io.Writer
}

func newTextBody(window jobs.Window) (*textBody, error) {
	compress, err := newCompressor(window.Compression)
	t := &textBody{encoder: jsonEncoder{}, compress: compress}
	if window.Format == jobs.FormatCSV {
		t.encoder = csvEncoder{}
	}
	return t, err
}

func (t *textBody) begin(to io.Writer) error {
	t.to = to
	if t.compress != nil {
		t.compress.Reset(to)
		t.to = t.compress
	}
	t.row.Reset()
	t.encoder.begin(&t.row)
	_, err := t.to.Write(t.row.Bytes())
	return err
}

func (t *textBody) write(u unit) (int, error) {
	if u.line != nil {
		return t.to.Write(u.line)
	}
	t.row.Reset()
	if err := t.encoder.row(&t.row, u.rows[0]); err != nil {
		return 0, fmt.Errorf("encode row: %w", err)
	}
	return t.to.Write(t.row.Bytes())
}

func (t *textBody) end() error {
	if t.compress == nil {
		return nil
	}
	return t.compress.Close()
}

// encoder writes rows in one of the text formats.
type encoder interface {
	begin(to *bytes.Buffer)
	row(to *bytes.Buffer, row jobs.Row) error
}

// jsonEncoder writes a JSON object a line.
type jsonEncoder struct{}

func (jsonEncoder) begin(*bytes.Buffer) {}

func (jsonEncoder) row(to *bytes.Buffer, row jobs.Row) error {
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(row)
}

// csvEncoder follows RFC 4180, behind a byte order mark, without which spreadsheets take
// the text for something else than UTF-8.
type csvEncoder struct{}

const (
	byteOrderMark = "\ufeff"
	csvHeader     = "messageId,chatId,sessionId,characterId,userId,messageType,content,rating,gmtCreate,time\r\n"
)

func (csvEncoder) begin(to *bytes.Buffer) { to.WriteString(byteOrderMark + csvHeader) }

func (csvEncoder) row(to *bytes.Buffer, row jobs.Row) error {
	for _, text := range []string{row.MessageID, row.ChatID, row.SessionID, row.CharacterID, row.UserID, row.MessageType, row.Content} {
		csvCell(to, text)
		to.WriteByte(',')
	}
	if row.Rating != nil {
		to.WriteString(strconv.FormatFloat(*row.Rating, 'f', -1, 64))
	}
	to.WriteByte(',')
	to.WriteString(strconv.FormatInt(row.GmtCreate, 10))
	to.WriteByte(',')
	to.WriteString(row.Time)
	to.WriteString("\r\n")
	return nil
}

// csvCell writes a text. One that a spreadsheet would take for a formula gets an apostrophe
// in front.
func csvCell(to *bytes.Buffer, text string) {
	if text != "" && strings.IndexByte("=+-@\t\r", text[0]) >= 0 {
		text = "'" + text
	}
	if !strings.ContainsAny(text, "\",\r\n") {
		to.WriteString(text)
		return
	}
	to.WriteByte('"')
	to.WriteString(strings.ReplaceAll(text, `"`, `""`))
	to.WriteByte('"')
}

// compressor writes a part after another.
type compressor interface {
	io.WriteCloser
	Reset(to io.Writer)
}

// newCompressor returns nil for no compression. What it writes depends on nothing but what
// is written to it: no time stamps, one thread, fixed levels.
func newCompressor(kind string) (compressor, error) {
	switch kind {
	case jobs.CompressionGzip:
		return gzip.NewWriterLevel(io.Discard, gzip.DefaultCompression)
	case jobs.CompressionZstd:
		return zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
			zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	}
	return nil, nil //nolint:nilnil // no compression is no failure
}

// extension of the names of parts.
func extension(window jobs.Window) string {
	name := "." + window.Format
	if jobs.Dialogues(window.Format) {
		name = ".jsonl"
	}
	if window.Format == jobs.FormatParquet { // compresses within
		return name
	}
	return name + map[string]string{jobs.CompressionGzip: ".gz", jobs.CompressionZstd: ".zst"}[window.Compression]
}
