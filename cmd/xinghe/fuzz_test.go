package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"xinghe/shared/jobs"
)

// FuzzRows holds that a part of any content ends in an error or at its end, and that a row
// is read at most once for each line that it could stand in.
func FuzzRows(f *testing.F) {
	f.Add([]byte(`{"messageId":"m","gmtCreate":1}`+"\n"), "jsonl", "none")
	f.Add([]byte("\ufeffmessageId,characterId,userId,gmtCreate\r\nm,c,'=u,1\r\n"), "csv", "none")
	f.Add([]byte("messageId,characterId,userId,gmtCreate,\"\r\n"), "csv", "none")
	f.Add([]byte{0x1f, 0x8b, 8}, "jsonl", "gzip")
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd}, "csv", "zstd")
	var file bytes.Buffer
	writeParquet(f, &file, []jobs.Row{{MessageID: "m", CharacterID: "c", UserID: "u", GmtCreate: 1}, {MessageID: "n"}, {}, {MessageID: "o"}})
	f.Add(file.Bytes(), jobs.FormatParquet, jobs.CompressionZstd)
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"), jobs.FormatParquet, "")
	f.Fuzz(func(t *testing.T, data []byte, format, compression string) {
		spec := jobs.ExportSpec{Format: format, Compression: compression}
		list, closed, err := newRows(bytes.NewReader(data), spec)
		if err != nil {
			return
		}
		defer closed()
		for count := 0; ; count++ {
			if _, err := list.next(); err != nil {
				return
			}
			if count > len(data) && format != jobs.FormatParquet && compression != jobs.CompressionGzip && compression != jobs.CompressionZstd {
				t.Fatalf("%d rows in %d bytes", count, len(data))
			}
		}
	})
}

// FuzzManifest holds that a manifest of any content is read to its end or to an error.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"exp_1","parts":[{"path":"p","rows":1}],"windows":null,"failed":[],"rows":1}`))
	f.Add([]byte(`{"version":1,"parts":[{"path":`))
	f.Add([]byte(`{"version":1,"spec":{"name":"n"},"x":[{"y":[]}],"parts":[]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		place := filepath.Join(t.TempDir(), "manifest.json")
		if err := os.WriteFile(place, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(place)
		if err != nil {
			t.Fatal(err)
		}
		m := &manifest{file: file}
		defer m.close()
		if m.readHead() != nil {
			return
		}
		count := 0
		for _, err := range entries[jobs.Part](m, "parts") {
			if err != nil {
				if errors.Is(err, io.EOF) {
					t.Errorf("the end is no error of its own: %v", err)
				}
				return
			}
			count++
		}
		if count > len(data) {
			t.Errorf("%d parts in %d bytes", count, len(data))
		}
	})
}
