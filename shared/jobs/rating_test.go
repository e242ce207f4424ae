package jobs_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

func TestRatingRowCheckNamesTheField(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		row    jobs.RatingRow
		fields []string
	}{
		{"documented", jobs.RatingRow{MessageID: "a4d8ae9dbcd54d9196cd20afeb7a3059", Rating: 5}, nil},
		{"lowest", jobs.RatingRow{MessageID: "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7", Rating: -1, Info: strings.Repeat("长", 1000)}, nil},
		{"nothing", jobs.RatingRow{}, []string{"messageId"}},
		{"too low", jobs.RatingRow{MessageID: "a", Rating: -2}, []string{"rating"}},
		{"too high", jobs.RatingRow{MessageID: "a", Rating: 6}, []string{"rating"}},
		{"too long", jobs.RatingRow{MessageID: strings.Repeat("a", 129), Info: strings.Repeat("a", 1001)}, []string{"messageId", "info"}},
		{"control", jobs.RatingRow{MessageID: "a\n"}, []string{"messageId"}},
		{"not UTF-8", jobs.RatingRow{MessageID: "a\xff", Info: "\xff"}, []string{"messageId", "info"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, fault := range tc.row.Check() {
				got = append(got, fault.Field)
			}
			if diff := cmp.Diff(tc.fields, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRatingChunksFit: no chunk, whatever stands in it, is larger than NATS takes.
func TestRatingChunksFit(t *testing.T) {
	t.Parallel()
	for name, info := range map[string]string{"short": "", "long": strings.Repeat("\u2028", 1000), "emoji": strings.Repeat("😀", 1000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rows []jobs.RatingRow
			for i := range 1_050 {
				rows = append(rows, jobs.RatingRow{Row: i, MessageID: strings.Repeat("<", 100) + string(rune('一'+i%999)), Rating: i % 6, Info: info})
			}
			var got []jobs.RatingRow
			for _, chunk := range jobs.RatingChunks(rows) {
				data, err := json.Marshal(chunk)
				if err != nil || len(data) > 1<<20-32<<10 || len(chunk.Rows) > 100 || len(chunk.Rows) == 0 {
					t.Errorf("%d rows in %d bytes, %v", len(chunk.Rows), len(data), err)
				}
				got = append(got, chunk.Rows...)
			}
			for i := range 51 { // rated again by the last rows
				rows[i].SupersededBy = new(999 + i)
			}
			if diff := cmp.Diff(rows, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFailedRatingCutsTheReason(t *testing.T) {
	t.Parallel()
	if got := jobs.FailedRating(strings.Repeat("\x80", 300)).Reason; got != "�" {
		t.Errorf("of no text came %q", got)
	}
	for _, reason := range []string{"short", strings.Repeat("a", 200), strings.Repeat("a", 201), strings.Repeat("长", 100), "a" + strings.Repeat("长", 100)} {
		got := jobs.FailedRating(reason).Reason
		if len(got) > 200 || !utf8.ValidString(got) || len(reason) <= 200 && got != reason || !strings.HasPrefix(reason, strings.TrimSuffix(got, "…")) {
			t.Errorf("%d bytes became %d: %s", len(reason), len(got), got)
		}
	}
}

func TestRatingResultEnds(t *testing.T) {
	t.Parallel()
	end := jobs.RatingOutcome{Outcome: jobs.RatingSuperseded}
	for _, open := range []jobs.RatingOutcome{{}, {Outcome: jobs.RatingPending}} {
		r := jobs.RatingResult{Outcomes: []jobs.RatingOutcome{end, open}}
		if r.Ended() {
			t.Errorf("%+v has ended", r)
		}
	}
	if r := (jobs.RatingResult{Outcomes: slices.Repeat([]jobs.RatingOutcome{end}, 2)}); !r.Ended() {
		t.Errorf("%+v has not ended", r)
	}
}
