package messageapi

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
)

// The types of bodies that hold ratings.
const (
	typeJSON   = "application/json"
	typeCSV    = "text/csv"
	typeNDJSON = "application/x-ndjson"
)

// sheet is what a request holds: rows that are good, and the faults of those that are not.
type sheet struct {
	count    int // of all rows
	rows     []jobs.RatingRow
	rejected []rejected
}

// errTooMany ends the reading of a sheet.
var errTooMany = httpapi.Invalid(httpapi.FieldError{Field: "body", Message: fmt.Sprintf("more than %d rows; send the rest by another request", jobs.MaxRatingRows)})

// readSheet reads a request's body by its type; JSON where there is none, or the one that
// clients name who were not told any.
func readSheet(req *http.Request) (*sheet, error) {
	kind := req.Header.Get("Content-Type")
	if kind != "" {
		var err error
		if kind, _, err = mime.ParseMediaType(kind); err != nil {
			kind = "?"
		}
	}
	read, ok := map[string]func(*sheet, []byte) error{
		"": (*sheet).readJSON, "application/x-www-form-urlencoded": (*sheet).readJSON, typeJSON: (*sheet).readJSON,
		typeCSV: (*sheet).readCSV, typeNDJSON: (*sheet).readLines, "application/ndjson": (*sheet).readLines,
	}[kind]
	if !ok {
		return nil, &httpapi.Error{
			Status: http.StatusUnsupportedMediaType, Code: httpapi.CodeMediaType,
			Detail: "ratings come as " + typeJSON + ", " + typeCSV + " or " + typeNDJSON,
		}
	}
	body, err := httpapi.ReadBody(req)
	if err != nil {
		return nil, err
	}
	s := &sheet{rejected: []rejected{}}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if err := read(s, body); err != nil {
		return nil, err
	}
	if s.count == 0 {
		return nil, httpapi.Invalid(httpapi.FieldError{Field: "body", Message: "holds no rating"})
	}
	return s, nil
}

// refuse is the answer to a sheet without a good row.
func (s *sheet) refuse() error {
	var fields []httpapi.FieldError
	for _, fault := range s.rejected[:min(len(s.rejected), maxNamed)] {
		fields = append(fields, httpapi.FieldError{Field: fmt.Sprintf("[%d].%s", fault.Row, fault.Field), Message: fault.Message})
	}
	return httpapi.Invalid(fields...)
}

// add takes the next row; faults are of fields that could not be read.
func (s *sheet) add(row jobs.RatingRow, faults ...jobs.Fault) error {
	for _, fault := range row.Check() {
		if !names(faults, fault.Field) {
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		return s.reject(faults...)
	}
	if s.count == jobs.MaxRatingRows {
		return errTooMany
	}
	row.Row = s.count
	s.count++
	s.rows = append(s.rows, row)
	return nil
}

// reject notes what is wrong with the next row.
func (s *sheet) reject(faults ...jobs.Fault) error {
	if s.count == jobs.MaxRatingRows {
		return errTooMany
	}
	for _, fault := range faults {
		s.rejected = append(s.rejected, rejected{Row: s.count, Field: short(fault.Field), Message: short(fault.Message)})
	}
	s.count++
	return nil
}

// short cuts what may hold a piece of the body.
func short(text string) string {
	const limit = 100
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// readJSON reads a list of ratings, or one.
func (s *sheet) readJSON(body []byte) error {
	var list []json.RawMessage
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		list = make([]json.RawMessage, 1)
		if err := httpapi.DecodeStrict(body, &list[0]); err != nil {
			return err
		}
	} else if err := httpapi.DecodeStrict(body, &list); err != nil {
		return err
	}
	for _, text := range list {
		if err := s.addJSON(text); err != nil {
			return err
		}
	}
	return nil
}

// readLines reads a rating a line; blank lines are none.
func (s *sheet) readLines(body []byte) error {
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := s.addJSON(line); err != nil {
			return err
		}
	}
	return nil
}

func (s *sheet) addJSON(text []byte) error {
	var wire struct {
		MessageID string `json:"messageId"`
		Rating    *int   `json:"rating"`
		Info      string `json:"info"`
	}
	if bytes.Equal(text, []byte("null")) {
		return s.reject(jobs.Fault{Field: "row", Message: "is no JSON object"})
	}
	faults := faultsOf(httpapi.DecodeStrict(text, &wire))
	if len(faults) > 0 && faults[0].Field == "row" {
		return s.reject(faults...)
	}
	row := jobs.RatingRow{MessageID: wire.MessageID, Info: wire.Info}
	if wire.Rating != nil {
		row.Rating = *wire.Rating
	} else if !names(faults, "rating") {
		faults = append(faults, jobs.Fault{Field: "rating", Message: "missing"})
	}
	return s.add(row, faults...)
}

// maxRowFaults is how many faults of one row are named: a row may have any number of fields.
const maxRowFaults = 10

// faultsOf is what is wrong with a row that could not be decoded. What is no field of it comes
// first, and alone.
func faultsOf(err error) []jobs.Fault {
	if err == nil {
		return nil
	}
	refusal := httpapi.AsError(err)
	if len(refusal.Fields) == 0 {
		return []jobs.Fault{{Field: "row", Message: refusal.Detail}}
	}
	var faults []jobs.Fault
	for _, fault := range refusal.Fields[:min(len(refusal.Fields), maxRowFaults)] {
		if fault.Field == "" || fault.Field == "body" { // a field may have no name
			return []jobs.Fault{{Field: "row", Message: fault.Message}}
		}
		faults = append(faults, jobs.Fault(fault))
	}
	return faults
}

func names(faults []jobs.Fault, field string) bool {
	return slices.ContainsFunc(faults, func(f jobs.Fault) bool { return f.Field == field })
}

// readCSV reads a header, which names the columns in any order, and a rating a record.
func (s *sheet) readCSV(body []byte) error {
	reader := csv.NewReader(bytes.NewReader(body))
	reader.FieldsPerRecord, reader.ReuseRecord = -1, true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return notCSV(err)
	}
	columns, err := readHeader(header)
	if err != nil {
		return err
	}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return notCSV(err)
		}
		if err := s.addRecord(columns, record); err != nil {
			return err
		}
	}
}

func notCSV(err error) error {
	return &httpapi.Error{Status: http.StatusBadRequest, Code: httpapi.CodeInvalidField, Detail: "body: not valid CSV: " + err.Error(), Err: err}
}

// readHeader says which column each place of a record belongs to.
func readHeader(header []string) ([]string, error) {
	columns := make([]string, len(header))
	var faults []httpapi.FieldError
	fault := func(format string, args ...any) {
		faults = append(faults, httpapi.FieldError{Field: "header", Message: fmt.Sprintf(format, args...)})
	}
	for i, name := range header {
		name = strings.TrimSpace(name)
		switch {
		case !slices.Contains([]string{"messageId", "rating", "info"}, name):
			fault("%q is none of messageId, rating and info", name)
		case slices.Contains(columns, name):
			fault("%s stands there twice", name)
		}
		columns[i] = name
	}
	for _, name := range []string{"messageId", "rating"} {
		if !slices.Contains(columns, name) {
			fault("%s is missing", name)
		}
	}
	return columns, httpapi.Invalid(faults...)
}

func (s *sheet) addRecord(columns, record []string) error {
	if len(record) != len(columns) {
		return s.reject(jobs.Fault{Field: "row", Message: fmt.Sprintf("has %d columns, the header %d", len(record), len(columns))})
	}
	var row jobs.RatingRow
	var faults []jobs.Fault
	for i, value := range record {
		switch columns[i] {
		case "messageId":
			row.MessageID = strings.TrimSpace(value)
		case "info":
			row.Info = value
		case "rating":
			rating, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				faults = append(faults, ratingFault(value))
			}
			row.Rating = rating
		}
	}
	return s.add(row, faults...)
}

func ratingFault(value string) jobs.Fault {
	if strings.TrimSpace(value) == "" {
		return jobs.Fault{Field: "rating", Message: "missing"}
	}
	return jobs.Fault{Field: "rating", Message: fmt.Sprintf("must be a whole number from %d to %d", jobs.MinRating, jobs.MaxRating)}
}
