package export_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
	"xinghe/workers/export"
)

// columnsOf are the columns of a Parquet file as they must be.
const columnsOf = `message parquetRow {
	required binary messageId (STRING);
	required binary chatId (STRING);
	required binary sessionId (STRING);
	required binary characterId (STRING);
	required binary userId (STRING);
	required binary messageType (STRING);
	required binary content (STRING);
	optional double rating;
	required int64 gmtCreate (INT(64,true));
	required int64 time (TIMESTAMP(isAdjustedToUTC=true,unit=MILLIS));
}`

// decodeParquet reads a file by the names of its columns.
func decodeParquet(tb testing.TB, data []byte) (rows []jobs.Row) {
	tb.Helper()
	type parquetRow struct {
		Time        time.Time `parquet:"time,timestamp"`
		GmtCreate   int64     `parquet:"gmtCreate"`
		Rating      *float64  `parquet:"rating"`
		Content     string    `parquet:"content"`
		MessageType string    `parquet:"messageType"`
		UserID      string    `parquet:"userId"`
		CharacterID string    `parquet:"characterId"`
		SessionID   string    `parquet:"sessionId"`
		ChatID      string    `parquet:"chatId"`
		MessageID   string    `parquet:"messageId"`
	}
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(columnsOf, file.Schema().String()); diff != "" {
		tb.Errorf("columns:\n%s", diff)
	}
	for _, group := range file.Metadata().RowGroups {
		for _, column := range group.Columns {
			if codec := column.MetaData.Codec.String(); codec != "ZSTD" {
				tb.Errorf("%v is compressed by %s", column.MetaData.PathInSchema, codec)
			}
		}
	}
	read, err := parquet.Read[parquetRow](bytes.NewReader(data), int64(len(data)))
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range read {
		rows = append(rows, jobs.Row{
			MessageID: r.MessageID, ChatID: r.ChatID, SessionID: r.SessionID, CharacterID: r.CharacterID, UserID: r.UserID,
			MessageType: r.MessageType, Content: r.Content, Rating: r.Rating, GmtCreate: r.GmtCreate,
			Time: r.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		})
	}
	return rows
}

func TestParquetHoldsWhatJSONDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upstream.fill("c", "=u", 700)
	b.work(func(c *export.Config) {
		c.PartBytes = 30_000
		c.Histories = altered{b.upstream, func(m *xingchen.HistoryMessage) {
			if n := len(m.MessageID) + int(m.GmtCreate)%7; n%3 == 0 {
				rating := float64(n)/2 - 1
				m.Rating = &rating
			}
			m.Content = fmt.Sprintf("\x00\"=好 %d", m.GmtCreate)
		}}
	})
	var rows [2][]jobs.Row
	for i, format := range []string{jobs.FormatJSONL, jobs.FormatParquet} {
		spec := spec([]string{"c"}, []string{"=u"})
		spec.Format = format
		e := b.end(b.startSpec("exp_"+format, spec).ID)
		var manifest jobs.Manifest
		if manifest, rows[i] = b.files(e); !manifest.Complete || len(manifest.Parts) < 2 {
			t.Errorf("%s: %+v", format, manifest)
		}
	}
	if diff := cmp.Diff(rows[0], rows[1]); diff != "" {
		t.Error(diff)
	}
}

func TestParquetTakenOverIsTheSame(t *testing.T) {
	t.Parallel()
	s := serve(t, tied(5000, 2))
	spec := s.spec("parquet")
	spec.Format = jobs.FormatParquet
	_, rows := takenOver(t, s, s.Client, spec, 40)
	same(t, s.generated(t), rows)
}
