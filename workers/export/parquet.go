package export

import (
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

const (
	// rowGroupBytes is the size of rows, before compression, from which a row group is closed:
	// it is held in memory until then.
	rowGroupBytes = 4 << 20
	// parquetBatch is how many rows are handed to the writer at once.
	parquetBatch = 128
)

// parquetRow is a [jobs.Row] as Parquet has it: the time is a TIMESTAMP in UTC with
// milliseconds, and a rating may be missing. It follows the Apache Parquet format, logical
// types. What a verification reads is PLAIN, so that it takes no library.
type parquetRow struct {
	MessageID   string   `parquet:"messageId,plain"`
	ChatID      string   `parquet:"chatId,plain"`
	SessionID   string   `parquet:"sessionId,dict"`
	CharacterID string   `parquet:"characterId,plain"`
	UserID      string   `parquet:"userId,plain"`
	MessageType string   `parquet:"messageType,dict"`
	Content     string   `parquet:"content,plain"`
	Rating      *float64 `parquet:"rating,optional"`
	GmtCreate   int64    `parquet:"gmtCreate,plain"`
	Time        int64    `parquet:"time,timestamp(millisecond)"`
}

// parquetCodec is one for all files: what compresses takes some megabytes, and is used again.
var parquetCodec = &zstd.Codec{Level: zstd.SpeedDefault}

// parquetBody writes Parquet files. It holds one row group at most.
type parquetBody struct {
	writer *parquet.GenericWriter[parquetRow]
	rows   []parquetRow
	group  int // size of the row group at hand
}

func newParquetBody() *parquetBody { return &parquetBody{rows: make([]parquetRow, 0, parquetBatch)} }

func (p *parquetBody) begin(to io.Writer) error {
	// A writer that is used again writes other bytes than a new one.
	p.writer = parquet.NewGenericWriter[parquetRow](
		to, parquet.Compression(parquetCodec),
		// Otherwise the file would name the version that the program was built with.
		parquet.CreatedBy("xinghe", "1", ""),
	)
	p.rows, p.group = p.rows[:0], 0
	return nil
}

func (p *parquetBody) write(u unit) (int, error) {
	row := u.rows[0]
	p.rows = append(p.rows, parquetRow{
		MessageID: row.MessageID, ChatID: row.ChatID, SessionID: row.SessionID, CharacterID: row.CharacterID, UserID: row.UserID,
		MessageType: row.MessageType, Content: row.Content, Rating: row.Rating, GmtCreate: row.GmtCreate, Time: row.GmtCreate,
	})
	const numbers = 3 * 8
	plain := len(row.MessageID) + len(row.ChatID) + len(row.SessionID) + len(row.CharacterID) + len(row.UserID) + len(row.MessageType) + len(row.Content) + numbers
	p.group += plain
	if p.group >= rowGroupBytes {
		p.group = 0
		if err := p.pass(); err != nil {
			return plain, err
		}
		return plain, p.writer.Flush()
	}
	if len(p.rows) == parquetBatch {
		return plain, p.pass()
	}
	return plain, nil
}

// pass hands the rows to the writer.
func (p *parquetBody) pass() error {
	_, err := p.writer.Write(p.rows)
	clear(p.rows) // lets go of the texts
	p.rows = p.rows[:0]
	return err
}

func (p *parquetBody) end() error {
	if err := p.pass(); err != nil {
		return err
	}
	return p.writer.Close()
}
