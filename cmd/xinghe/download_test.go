package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xinghe/shared/jobs"
)

func TestDownload(t *testing.T) {
	t.Parallel()
	e := newExported(t, jobs.ExportSpec{Format: jobs.FormatJSONL, Sink: jobs.Sink{Path: "n"}}, false)
	folder := filepath.Join(t.TempDir(), "new")
	got := command(t, e.url, "", "export", "download", "exp_1", folder)
	if want := "000000-00000 好\n000000-00004 好\n000002-00000 好\n"; got.code != 0 || got.stdout != want {
		t.Fatalf("%+v", got)
	}
	for place, want := range e.files {
		text, err := os.ReadFile(filepath.Join(folder, filepath.Base(place)))
		if err != nil || !bytes.Equal(text, want) {
			t.Errorf("%s: %q %v", place, text, err)
		}
	}
	want, err := json.Marshal(e.manifest)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "manifest.json")); err != nil || !bytes.Equal(text, want) {
		t.Errorf("manifest %q %v", text, err)
	}
}

func TestDownloadOfSpoiltFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(e *exported)
		said  string
	}{
		"changed": {func(e *exported) { e.files[e.manifest.Parts[1].Path][9] ^= 1 }, "its SHA-256 is"},
		"missing": {func(e *exported) { delete(e.files, e.manifest.Parts[1].Path) }, "404"},
		"a path that leaves the folder": {func(e *exported) {
			e.manifest.Parts[1].Path = "../../x"
		}, "part ../../x"},
	} {
		e := newExported(t, jobs.ExportSpec{Format: jobs.FormatJSONL, Sink: jobs.Sink{Path: "n"}}, false)
		tc.spoil(e)
		folder := t.TempDir()
		got := command(t, e.url, "", "export", "download", "exp_1", folder)
		if got.code != 1 || !strings.Contains(got.stderr, tc.said) {
			t.Errorf("%s: %+v", name, got)
		}
		files, err := os.ReadDir(folder)
		if err != nil || len(files) != 1 {
			t.Errorf("%s: %v %v", name, files, err)
		}
	}
}
