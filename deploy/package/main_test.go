package main

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPackIsReproducible(t *testing.T) {
	t.Parallel()
	// The same sources in two folders, as two clones would be.
	source, err := os.ReadFile("testdata/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	for range 2 {
		folder := t.TempDir()
		main := filepath.Join(folder, "main.go")
		if err := os.WriteFile(main, source, 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, "fc", "hello.zip")
		sum, size, err := pack(t.Context(), targets[0], main, path, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != size {
			t.Errorf("size %d, but %v, %v", size, info, err)
		}
		sums = append(sums, sum)
		checkZip(t, path)
	}
	if sums[0] != sums[1] || len(sums[0]) != 64 {
		t.Errorf("two builds differ: %v", sums)
	}
}

// checkZip looks for what the platforms need: one executable with the right name and mode.
func checkZip(t *testing.T, path string) {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	if len(archive.File) != 1 {
		t.Fatalf("%d files in the zip, want 1", len(archive.File))
	}
	entry := archive.File[0]
	if entry.Name != "bootstrap" || entry.Mode() != 0o755 || !entry.Modified.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%s, mode %v, modified %v", entry.Name, entry.Mode(), entry.Modified)
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	const folder = "../../functions"
	all, err := functions(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(all, " "), "chat") {
		t.Errorf("functions: %v", all)
	}
	some, err := functions(folder, []string{"chat"})
	if diff := cmp.Diff([]string{"chat"}, some); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := functions(folder, []string{"chta"}); err == nil || !strings.Contains(err.Error(), `"chta" is no function`) {
		t.Errorf("a misspelt function: %v", err)
	}
	if _, err := functions(t.TempDir(), nil); err == nil {
		t.Error("a folder without functions is taken")
	}
}

func TestRunRefusesFlags(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"-chek"}, io.Discard, io.Discard); err == nil {
		t.Error("a misspelt flag is taken")
	}
}
