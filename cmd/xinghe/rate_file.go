package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"xinghe/shared/jobs"
)

// maxBatch is how many bytes of rows go into one request: less than the 6 MiB that functions
// take.
const maxBatch = 5 << 20

// The formats of files with ratings.
const (
	formatCSV   = "csv"
	formatLines = "ndjson"
	formatJSON  = "json"
)

// batch is some rows of a file as the body of a request.
type batch struct {
	contentType string
	body        []byte
	first       int // row of the file
	rows        int
}

// formatOf goes by the end of a file's name; CSV where that says nothing.
func formatOf(path string) string {
	switch filepath.Ext(path) {
	case ".json":
		return formatJSON
	case ".ndjson", ".jsonl":
		return formatLines
	}
	return formatCSV
}

// readBatches divides a file's ratings into as many requests as they need.
func readBatches(file io.Reader, format string) ([]batch, error) {
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var batches []batch
	switch format {
	case formatCSV:
		batches, err = csvBatches(text)
	case formatJSON:
		batches, err = jsonBatches(text)
	case formatLines:
		batches = lineBatches(slices.Collect(bytes.Lines(text)))
	default:
		return nil, fmt.Errorf("--format %q: csv, ndjson or json", format)
	}
	if err == nil && len(batches) == 0 {
		err = errors.New("no ratings in it")
	}
	return batches, err
}

// csvBatches gives each batch the header of the file.
func csvBatches(text []byte) ([]batch, error) {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.FieldsPerRecord = -1
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, err := record(header)
	if err != nil {
		return nil, err
	}
	var lines [][]byte
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return divide("text/csv", head, lines), nil
		}
		if err != nil {
			return nil, err
		}
		line, err := record(fields)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
}

func record(fields []string) ([]byte, error) {
	var line bytes.Buffer
	writer := csv.NewWriter(&line)
	err := writer.Write(fields)
	writer.Flush()
	return line.Bytes(), cmp.Or(err, writer.Error())
}

// jsonBatches makes a line of each rating of a list, or of the only one.
func jsonBatches(text []byte) ([]batch, error) {
	var list []json.RawMessage
	if text = bytes.TrimSpace(text); len(text) > 0 && text[0] == '{' {
		text = slices.Concat([]byte{'['}, text, []byte{']'})
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	lines := make([][]byte, len(list))
	for i, rating := range list {
		var line bytes.Buffer
		if err := json.Compact(&line, rating); err != nil {
			return nil, err
		}
		lines[i] = line.Bytes()
	}
	return lineBatches(lines), nil
}

func lineBatches(lines [][]byte) []batch {
	rows := make([][]byte, 0, len(lines))
	for _, line := range lines {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			rows = append(rows, append(slices.Clip(line), '\n'))
		}
	}
	return divide("application/x-ndjson", nil, rows)
}

func divide(contentType string, head []byte, rows [][]byte) []batch {
	var batches []batch
	for i, row := range rows {
		last := len(batches) - 1
		if last < 0 || batches[last].rows == jobs.MaxRatingRows || len(batches[last].body)+len(row) > maxBatch {
			batches = append(batches, batch{contentType: contentType, body: slices.Clone(head), first: i})
			last++
		}
		batches[last].body = append(batches[last].body, row...)
		batches[last].rows++
	}
	return batches
}
