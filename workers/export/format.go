package export

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"xinghe/shared/jobs"
)

// encoder writes rows in one of the formats. The same rows give the same bytes.
type encoder interface {
	begin(to *bytes.Buffer)
	row(to *bytes.Buffer, row jobs.Row) error
}

func newEncoder(format string) encoder {
	if format == jobs.FormatCSV {
		return csvEncoder{}
	}
	return jsonEncoder{}
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
	return "." + window.Format + map[string]string{jobs.CompressionGzip: ".gz", jobs.CompressionZstd: ".zst"}[window.Compression]
}
