package exportapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"xinghe/shared/sink"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	mine, other := b.started("mine"), b.started("other")
	folder := "mine/" + mine.ID
	b.put(folder+"/manifest.json", `{"version":1}`)
	b.put(folder+"/000000-0000.jsonl", "0123456789")
	b.put(folder+"/000000-0001.csv.gz", "gz")
	b.put("other/"+other.ID+"/manifest.json", "secret")
	b.put("mine/stray.txt", "secret")
	b.put(folder+"/.000000-0002.jsonl.x.draft", "secret")
	prefix := "/v1/exports/" + mine.ID + "/files/"
	for _, tc := range []struct {
		path        string
		status      int
		body, media string
	}{
		{"manifest.json", 200, `{"version":1}`, "application/json"},
		{folder + "/manifest.json", 200, `{"version":1}`, "application/json"},
		{folder + "/000000-0000.jsonl", 200, "0123456789", "application/x-ndjson"},
		{"000000-0001.csv.gz", 200, "gz", "application/gzip"},
		{"none.jsonl", 404, "", ""},
		{"", 404, "", ""},
		{".", 404, "", ""},
		{folder, 404, "", ""},
		{"other/" + other.ID + "/manifest.json", 404, "", ""},
		{"mine/stray.txt", 404, "", ""},
		{"..%2Fstray.txt", 404, "", ""},
		{"%2E%2E/stray.txt", 404, "", ""},
		{folder + "%2F..%2Fstray.txt", 404, "", ""},
		{"%2Fetc%2Fpasswd", 404, "", ""},
		{"a%00b", 404, "", ""},
		{".000000-0002.jsonl.x.draft", 404, "", ""},
	} {
		w := do(b.handler, "GET", prefix+tc.path, "")
		if w.Code != tc.status || tc.status == 200 && (w.Body.String() != tc.body || w.Header().Get("Content-Type") != tc.media) {
			t.Errorf("%q: %d %q %v", tc.path, w.Code, w.Body, w.Header())
		}
	}
	w := do(b.handler, "GET", prefix+"000000-0000.jsonl", "", "Range", "bytes=3-5")
	if w.Code != http.StatusPartialContent || w.Body.String() != "345" {
		t.Errorf("a range: %d %q", w.Code, w.Body)
	}
	if w := do(b.handler, "GET", prefix+"000000-0000.jsonl", ""); w.Header().Get("Content-Length") != "10" {
		t.Errorf("%v", w.Header())
	}
	b.refused(http.StatusNotFound, "GET", "/v1/exports/exp_none/files/manifest.json", "", "exp_none")
}

// bucket is a sink whose files cannot be sought in, and may fail.
type bucket struct {
	sink.Sink
	text string
	size int64
	err  error
}

func (b bucket) Kind() string { return sink.KindS3 }

func (b bucket) Open(_ context.Context, path string) (*sink.File, error) {
	if b.err != nil {
		return nil, b.err
	}
	return &sink.File{ReadCloser: io.NopCloser(io.MultiReader(strings.NewReader(b.text))), Info: sink.Info{Path: path, Size: b.size}}, nil
}

func TestFilesOfABucket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/v1/exports/" + b.started("mine").ID + "/files/manifest.json"
	b.serve(bucket{text: "whole", size: 5})
	if w := do(b.handler, "GET", path, ""); w.Code != http.StatusOK || w.Body.String() != "whole" || w.Header().Get("Content-Length") != "5" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if w := do(b.handler, "HEAD", path, ""); w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "5" {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}
	b.serve(bucket{err: &sink.Error{Op: "open", Reason: sink.ErrDenied, Err: errors.New("inside")}})
	w := do(b.handler, "GET", path, "")
	if body := w.Body.String(); w.Code != http.StatusServiceUnavailable || !strings.Contains(body, "access denied") || strings.Contains(body, "inside") {
		t.Errorf("%d %s", w.Code, body)
	}
	// A file that breaks off must not look whole.
	b.serve(bucket{text: "half", size: 8})
	server := httptest.NewServer(b.handler)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer k")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q looks whole", text)
	}
}
