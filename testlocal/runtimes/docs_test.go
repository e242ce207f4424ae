package runtimes

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocument holds that docs/runtimes.md shows the table that is tested.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/runtimes.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown [][]string
	for line := range strings.SplitSeq(string(text), "\n") {
		if cells, ok := strings.CutPrefix(line, "| "); ok && !strings.HasPrefix(cells, "---") {
			shown = append(shown, strings.Split(strings.TrimSuffix(cells, " |"), " | "))
		}
	}
	want := [][]string{append([]string{"what is done"}, entries...)}
	for _, row := range slices.Concat(table, []row{
		{name: "frozen until its connections are gone", want: freezes},
		{name: "SIGTERM in a stream", want: terminations},
	}) {
		want = append(want, append([]string{row.name}, row.want[:]...))
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Error(diff)
	}
}
