package userdata

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func collect(text []byte, name string) (ids []string, err error) {
	for id, err := range messageIDs(bytes.NewReader(text), name) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func TestMessageIDs(t *testing.T) {
	t.Parallel()
	const rows = `{"messageId":"a","content":"x"}` + "\n" + `{"messageId":"=b"}` + "\n"
	var zipped, zstandard bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	_, _ = gz.Write([]byte(rows))
	_ = gz.Close()
	zs, err := zstd.NewWriter(&zstandard)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = zs.Write([]byte(rows))
	_ = zs.Close()
	for name, text := range map[string][]byte{
		"p.jsonl": []byte(rows), "p.jsonl.gz": zipped.Bytes(), "p.jsonl.zst": zstandard.Bytes(),
		"p.csv":         []byte("\ufeffmessageId,content\r\na,\"x\r\n\"\"y\"\"\"\r\n'=b,z\r\n"),
		"p.index.jsonl": []byte(`{"line":1,"messageIds":["a","=b"]}`),
	} {
		ids, err := collect(text, name)
		if diff := cmp.Diff([]string{"a", "=b"}, ids); diff != "" || err != nil {
			t.Errorf("%s: %s %v", name, diff, err)
		}
		if ids, err := collect(text[:len(text)-2], name); err == nil && len(ids) > 1 && !strings.HasSuffix(name, ".csv") && name != "p.jsonl" {
			t.Errorf("%s, cut: %q", name, ids)
		}
	}
	if ids, err := collect([]byte("PAR1"), "p.parquet"); len(ids) != 0 || err != nil {
		t.Errorf("an unknown format: %q %v", ids, err)
	}
	if ids, err := collect([]byte("a,b\r\n1,2\r\n"), "p.csv"); len(ids) != 0 || err != nil {
		t.Errorf("no such column: %q %v", ids, err)
	}
}

func FuzzMessageIDs(f *testing.F) {
	f.Add([]byte(`{"messageId":"a"}`), ".jsonl")
	f.Add([]byte("messageId\r\n'=a\r\n"), ".csv")
	f.Add([]byte("\x1f\x8b"), ".jsonl.gz")
	f.Add([]byte("\x28\xb5\x2f\xfd"), ".csv.zst")
	f.Fuzz(func(_ *testing.T, text []byte, name string) {
		_, _ = collect(text, name)
	})
}
