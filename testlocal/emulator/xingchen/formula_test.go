package xingchen_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/xingchen"
)

func large(text string) func(*xingchen.Config) {
	return func(cfg *xingchen.Config) {
		h, err := xingchen.ParseHistory(text)
		if err != nil {
			panic(err)
		}
		cfg.History = &h
	}
}

func TestParseHistory(t *testing.T) {
	t.Parallel()
	got, err := xingchen.ParseHistory("characters=2,users=1000,messages=10000000,from=2024-01-01T00:00:00Z,to=2024-02-01")
	if err != nil {
		t.Fatal(err)
	}
	want := xingchen.History{
		Characters: 2, Users: 1000, Messages: 10_000_000,
		From: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "rows=1", "users=x", "users=0", "from=yesterday", "from=2024-02-01,to=2024-01-01", "messages=-1"} {
		if _, err := xingchen.ParseHistory(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestFormula(t *testing.T) {
	t.Parallel()
	const text = "characters=2,users=3,messages=1000,from=2024-01-01,to=2024-01-02"
	b := setup(t, large(text))
	h, err := xingchen.ParseHistory(text)
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	total := 0
	for _, character := range h.CharacterIDs(0) {
		for user := range h.Users {
			last := int64(0)
			for page := 1; ; page++ {
				body := fmt.Sprintf(`{"where":{"characterId":%q,"bizUserId":%q},"orderBy":["gmtCreate asc"],"pageNum":%d,"pageSize":50}`,
					character, h.UserID(user), page)
				rows := decodeData[historyData](t, b.post("lm-local", "/v2/api/chat/message/histories", body))
				if page == 1 {
					total += rows.Total
				}
				if len(rows.List) == 0 {
					break
				}
				for _, row := range rows.List {
					if ids[row.MessageID] || row.GmtCreate < last || row.GmtCreate < h.From.UnixMilli() || row.GmtCreate >= h.To.UnixMilli() {
						t.Fatalf("row %+v after %d", row, last)
					}
					ids[row.MessageID], last = true, row.GmtCreate
				}
			}
		}
	}
	if total != 1000 || len(ids) != 1000 {
		t.Errorf("total %d, %d ids; want 1000", total, len(ids))
	}
}

func TestFormulaAnswersLikeAStore(t *testing.T) {
	t.Parallel()
	const text = "characters=1,users=2,messages=400,from=2024-01-01,to=2024-01-02"
	b := setup(t, large(text))
	h, _ := xingchen.ParseHistory(text)
	character := h.CharacterIDs(0)[0]
	all := b.history(character, "user-1", "")
	if all.Total != 200 || len(all.List) != 50 {
		t.Fatalf("total %d, %d rows", all.Total, len(all.List))
	}
	from, to := all.List[10].GmtCreate, all.List[19].GmtCreate
	if part := b.history(character, "user-1", fmt.Sprintf(`,"startTime":%d,"endTime":%d`, from, to)); part.Total != 10 {
		t.Errorf("a range of ten rows has %d", part.Total)
	}
	if again := setup(t, large(text)).history(character, "user-1", ""); cmp.Diff(all, again) != "" {
		t.Error("another run, other rows")
	}
	if got := b.post("lm-local", "/v2/api/chat/rating", `{"messageId":"`+all.List[3].MessageID+`","rating":3}`); got.Status != http.StatusOK {
		t.Errorf("rating: %s", got.Raw)
	}
	if rated := b.history(character, "user-1", `,"messageIds":["`+all.List[3].MessageID+`"]`); rated.Total != 1 || *rated.List[0].Rating != 3 {
		t.Errorf("rated: %+v", rated)
	}
	if got := b.post("lm-local", "/v2/api/chat/rating", `{"messageId":"`+strings.Repeat("ab", 16)+`","rating":3}`); got.Status == http.StatusOK {
		t.Error("a rating of no message")
	}
	for _, user := range []string{"user-2", "user-01", "user--1", "somebody"} {
		if got := b.history(character, user, ""); got.Total != 0 {
			t.Errorf("%s has %d rows", user, got.Total)
		}
	}
	if got := b.post("lm-other", "/v2/api/chat/message/histories", `{"where":{"characterId":"`+character+`","bizUserId":"user-1"}}`); got.Code != 403 {
		t.Errorf("another account: %s", got.Raw)
	}
}

// BenchmarkHistoryPages reads full pages deep in a history of ten million rows.
func BenchmarkHistoryPages(b *testing.B) {
	server, err := xingchen.New(func() xingchen.Config {
		var cfg xingchen.Config
		large("characters=2,users=1000,messages=10000000")(&cfg)
		return cfg
	}())
	if err != nil {
		b.Fatal(err)
	}
	h, _ := xingchen.ParseHistory("characters=2,users=1000,messages=10000000")
	character := h.CharacterIDs(0)[1]
	host := httptest.NewServer(server)
	defer host.Close()
	client := host.Client()
	b.ReportAllocs()
	page := 0
	for b.Loop() {
		page = page%90 + 1
		body, _ := json.Marshal(map[string]any{
			"where": map[string]any{"characterId": character, "bizUserId": "user-7"}, "pageNum": page, "pageSize": 50,
			"orderBy": []string{"gmtCreate asc"},
		})
		req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, host.URL+"/v2/api/chat/message/histories", strings.NewReader(string(body)))
		req.Header.Set("Authorization", "Bearer lm-local")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("x-fag-appcode", "aca")
		req.Header.Set("x-fag-servicename", "aca-message-history")
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		n, _ := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if n < 10_000 {
			b.Fatalf("a page of %d bytes", n)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pages/s")
}
