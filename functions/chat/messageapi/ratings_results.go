package messageapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// resultRow is one line of the results of a job.
type resultRow struct {
	Row       int    `json:"row"`
	MessageID string `json:"messageId"`
	Rating    int    `json:"rating"`
	jobs.RatingOutcome
}

// getResults answers every accepted row with its outcome, in the order of the rows: a JSON
// object a line, or CSV for those who accept that alone.
func (r *ratings) getResults(w http.ResponseWriter, req *http.Request) error {
	ctx, cancel := context.WithTimeout(req.Context(), r.cfg.Timeout)
	defer cancel()
	job, err := r.find(ctx, req.PathValue("id"))
	if err != nil {
		return err
	}
	// Whole in memory, some megabytes at most: an answer that breaks off could look complete.
	var text bytes.Buffer
	format, kind, write := ".ndjson", typeNDJSON, writeLine
	if acceptsCSV(req) {
		format, kind, write = ".csv", "text/csv;charset=utf-8", writeRecord
		text.WriteString("\ufeff" + "row,messageId,rating,outcome,by,byRow,reason\r\n")
	}
	for number := range job.Chunks {
		rows, err := r.chunk(ctx, jobs.RatingTask{ID: job.ID, Chunk: number})
		if err != nil {
			return unreadable(err)
		}
		for _, row := range rows {
			if err := write(&text, row); err != nil {
				return fmt.Errorf("encode results: %w", err)
			}
		}
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+job.ID+format+`"`)
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// acceptsCSV reports whether the request asks for CSV and not for lines of JSON.
func acceptsCSV(req *http.Request) bool {
	accept := strings.ToLower(strings.Join(req.Header.Values("Accept"), ","))
	return strings.Contains(accept, typeCSV) && !strings.Contains(accept, "ndjson")
}

// chunk joins the rows of a chunk with what is known of them.
func (r *ratings) chunk(ctx context.Context, task jobs.RatingTask) ([]resultRow, error) {
	chunk, err := r.rows.Get(ctx, "rows."+task.Key())
	if err != nil {
		return nil, err
	}
	result, err := r.results.Get(ctx, "done."+task.Key())
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return nil, err
	}
	rows := make([]resultRow, len(chunk.Value.Rows))
	for i, row := range chunk.Value.Rows {
		rows[i] = resultRow{row.Row, row.MessageID, row.Rating, jobs.RatingOutcome{Outcome: jobs.RatingPending}}
		if i < len(result.Value.Outcomes) {
			rows[i].RatingOutcome = result.Value.Outcomes[i]
		}
	}
	return rows, nil
}

func writeLine(text *bytes.Buffer, row resultRow) error { return json.NewEncoder(text).Encode(row) }

func writeRecord(text *bytes.Buffer, row resultRow) error {
	by, byRow := "", ""
	if row.By != nil {
		by, byRow = row.By.ID, strconv.Itoa(row.By.Row)
	}
	writer := csv.NewWriter(text)
	writer.UseCRLF = true
	err := writer.Write([]string{
		strconv.Itoa(row.Row), cell(row.MessageID), strconv.Itoa(row.Rating), row.Outcome, by, byRow, cell(row.Reason),
	})
	writer.Flush()
	return errors.Join(err, writer.Error())
}

// cell keeps a spreadsheet from taking a text for a formula.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
