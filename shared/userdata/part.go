package userdata

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// messageIDs yields the ids of the messages in a part, whose name tells its format. It yields
// none of a format that is not known. An error ends it.
func messageIDs(from io.Reader, name string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		plain, closed, err := unpack(from, name)
		if err != nil {
			yield("", err)
			return
		}
		defer closed()
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
		switch {
		case strings.HasSuffix(name, ".jsonl"):
			err = jsonIDs(plain, yield)
		case strings.HasSuffix(name, ".csv"):
			err = csvIDs(plain, yield)
		}
		if err != nil {
			yield("", err)
		}
	}
}

func unpack(from io.Reader, name string) (plain io.Reader, closed func(), err error) {
	switch {
	case strings.HasSuffix(name, ".gz"):
		plain, err = gzip.NewReader(from)
		return plain, func() {}, err
	case strings.HasSuffix(name, ".zst"):
		decoder, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return decoder, decoder.Close, nil
	}
	return from, func() {}, nil
}

// jsonIDs takes the fields messageId of rows, and messageIds of indexes.
func jsonIDs(from io.Reader, yield func(string, error) bool) error {
	for decoder := json.NewDecoder(from); ; {
		var row struct {
			MessageID  string
			MessageIDs []string
		}
		if err := decoder.Decode(&row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for _, id := range append(row.MessageIDs, row.MessageID) {
			if id != "" && !yield(id, nil) {
				return nil
			}
		}
	}
}

func csvIDs(from io.Reader, yield func(string, error) bool) error {
	reader := csv.NewReader(bufio.NewReader(from))
	reader.ReuseRecord = true
	header, err := reader.Read()
	if err != nil {
		return err
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	column := slices.Index(header, "messageId")
	if column < 0 {
		return nil
	}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		id := record[column]
		if len(id) > 1 && id[0] == '\'' && strings.IndexByte("=+-@\t\r", id[1]) >= 0 {
			id = id[1:] // what guards a cell from spreadsheets
		}
		if !yield(id, nil) {
			return nil
		}
	}
}
