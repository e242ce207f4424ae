package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xinghe/cmd/xinghe/doctor"
)

// sinkOf is what is found of a sink.
func sinkOf(t *testing.T, text string) doctor.Finding {
	t.Helper()
	var found doctor.Finding
	for finding := range doctor.Examine(t.Context(), func(name string) string { return map[string]string{"XINGHE_SINK": text}[name] }) {
		if finding.Name == "sink" {
			found = finding
		}
	}
	return found
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(folder, "dangling")
	if err := os.Symlink(filepath.Join(folder, "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(folder, "mistyped", "deep")
	for text, want := range map[string]doctor.Finding{
		folder:                    {State: doctor.OK, Detail: "folder: files can be written and deleted"},
		absent:                    {State: doctor.OK, Detail: absent + " does not exist yet, and will be made in " + folder},
		file + "/below":           {State: doctor.Wrong, Detail: "XINGHE_SINK"},
		dangling:                  {State: doctor.Wrong, Detail: "XINGHE_SINK"},
		dangling + "/below/below": {State: doctor.Wrong, Detail: "cannot be made"},
	} {
		if got := sinkOf(t, "folder:"+text); got.State != want.State || !strings.Contains(got.Detail, want.Detail) {
			t.Errorf("%s: %+v", text, got)
		}
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}
