package exportapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
)

// listed reads all pages of a list, each of which must hold at most limit exports.
func (b *bundle) listed(query string, limit int) (ids []string, pages int) {
	b.t.Helper()
	for cursor := ""; ; {
		w := do(b.handler, "GET", "/v1/exports?"+query+cursor, "")
		var page struct {
			Exports    []jobs.Export
			NextCursor string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK || len(page.Exports) > limit || page.Exports == nil {
			b.t.Fatalf("%d %s %v", w.Code, w.Body, err)
		}
		pages++
		for _, e := range page.Exports {
			ids = append(ids, e.ID)
		}
		if page.NextCursor == "" {
			return ids, pages
		}
		cursor = "&cursor=" + page.NextCursor
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if ids, _ := b.listed("", 50); len(ids) != 0 {
		t.Errorf("of nothing: %v", ids)
	}
	var all, done []string
	for i := range 7 {
		id := fmt.Sprintf("exp_%02d", i)
		e := jobs.Export{ID: id, Name: "n", State: jobs.StateRunning}
		if i%3 == 0 {
			e.State = jobs.StateDone
			done = append([]string{id}, done...)
		}
		all = append([]string{id}, all...)
		if _, err := b.exports.Create(t.Context(), id, e); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		query string
		limit int
		want  []string
		pages int
	}{
		{"", 50, all, 1},
		{"limit=7", 7, all, 1},
		{"limit=3", 3, all, 3},
		{"limit=1", 1, all, 7},
		{"state=done", 50, done, 1},
		{"state=done&limit=2", 2, done, 2},
		{"state=failed", 50, nil, 1},
		{"cursor=exp_03", 50, all[4:], 1},
		{"cursor=exp_00", 50, nil, 1},
	} {
		got, pages := b.listed(tc.query, tc.limit)
		if diff := cmp.Diff(tc.want, got); diff != "" || pages != tc.pages {
			t.Errorf("%q: %d pages, want %d\n%s", tc.query, pages, tc.pages, diff)
		}
	}
}

func TestListOfLargeExportsIsCut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 12 {
		e := jobs.Export{ID: fmt.Sprintf("exp_%02d", i), Spec: jobs.ExportSpec{Users: jobs.Names{strings.Repeat("u", 900<<10)}}}
		if _, err := b.exports.Create(t.Context(), e.ID, e); err != nil {
			t.Fatal(err)
		}
	}
	if ids, pages := b.listed("", 5); len(ids) != 12 || pages != 3 {
		t.Errorf("%d exports on %d pages", len(ids), pages)
	}
}

func TestBadLists(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=201": "limit", "limit=x": "limit", "state=ended": "state", "stat=done": "stat",
	} {
		b.refused(http.StatusBadRequest, "GET", "/v1/exports?"+query, "", `"field":"`+field+`"`)
	}
}
