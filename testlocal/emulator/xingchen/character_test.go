package xingchen_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/xingchen"
)

func TestCharacterLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	create := string(file(t, "xingchen-character-create-request.json"))
	made := decodeData[struct {
		CharacterID string
		Version     int
	}](t, b.post("lm-local", "/v2/api/character/create", create))
	if len(made.CharacterID) != 32 || made.Version != 1 {
		t.Fatalf("created %+v", made)
	}
	refusedWith(t, b.post("lm-local", "/v2/api/character/create", create), 401, "aca.error.data.duplicate", "满腔忠义的关云长")
	if got := b.post("lm-other", "/v2/api/character/create", create); got.Status != http.StatusOK {
		t.Errorf("the name in another account: %s", got.Raw)
	}
	details := decodeData[map[string]any](t, b.get("lm-local", "/v2/api/character/details", "characterId="+made.CharacterID))
	var written map[string]any
	if err := json.Unmarshal([]byte(create), &written); err != nil {
		t.Fatal(err)
	}
	for name, want := range written {
		if diff := cmp.Diff(want, details[name]); diff != "" {
			t.Errorf("%s (-written +read):\n%s", name, diff)
		}
	}
	if got := b.chat(chatBody(made.CharacterID, "u", "敢问阁下尊姓大名?")).text(); !strings.HasPrefix(got, "吾姓关名羽") {
		t.Errorf("the example dialogue is not spoken: %q", got)
	}
	if got := b.chat(chatBody(made.CharacterID, "u", "你好")).text(); got != written["openingLine"] {
		t.Errorf("greeting: %q", got)
	}
	if got := b.chat(chatBody(made.CharacterID, "u", "说说明朝的事")).text(); !strings.Contains(got, "不方便") {
		t.Errorf("a rejected domain: %q", got)
	}
	b.clock.advance(time.Minute)
	short := `{"characterId":"` + made.CharacterID + `","name":"关羽","introduction":"武将","basicInformation":"你是关羽。","openingLine":"来将通名"}`
	if got := b.post("lm-local", "/v2/api/character/update", short); string(got.Data) != "true" {
		t.Fatalf("update: %s", got.Raw)
	}
	details = decodeData[map[string]any](t, b.get("lm-local", "/v2/api/character/details", "characterId="+made.CharacterID))
	if details["name"] != "关羽" || details["chatExample"] == nil || details["gmtModified"] == details["gmtCreate"] {
		t.Errorf("after an update: %v", details)
	}
	if got := b.post("lm-local", "/v2/api/character/delete", `{"characterId":"`+made.CharacterID+`"}`); string(got.Data) != "true" {
		t.Fatalf("delete: %s", got.Raw)
	}
	refusedWith(t, b.post("lm-local", "/v2/api/character/delete", `{"characterId":"`+made.CharacterID+`"}`), 404, "aca.error.notfound", "")
	refusedWith(t, b.post("lm-local", "/v2/api/chat/send", chatBody(made.CharacterID, "u", "hi")), 404, "aca.error.notfound", "")
	if got := b.history(made.CharacterID, "u", "").Total; got != 7 {
		t.Errorf("%d rows of a deleted character, want 7", got)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type found struct {
		List []struct {
			CharacterID, Name string
			GmtModified       int64
		}
		Total, PageSize int
	}
	search := func(body string) found {
		return decodeData[found](t, b.post("lm-local", "/v2/api/character/search", body))
	}
	mine := search(`{"where":{"scope":"my"},"orderBy":["gmtModified desc"],"pageNum":1,"pageSize":3}`)
	if mine.Total != 4 || len(mine.List) != 3 || mine.List[0].GmtModified < mine.List[1].GmtModified {
		t.Errorf("my: %+v", mine)
	}
	if rest := search(`{"where":{"scope":"my"},"pageNum":2,"pageSize":3}`); len(rest.List) != 1 {
		t.Errorf("second page: %+v", rest)
	}
	if got := search(`{"where":{"scope":"public"}}`); got.Total != 1 || got.List[0].CharacterID != teller {
		t.Errorf("public: %+v", got)
	}
	if got := search(`{"where":{"scope":"pre_configured"}}`); got.Total != 1 || got.List[0].CharacterID != guide {
		t.Errorf("pre_configured: %+v", got)
	}
	if got := search(`{"where":{"scope":"my","characterName":"小"},"orderBy":["createTime asc"]}`); got.Total != 3 || got.List[0].CharacterID != wan {
		t.Errorf("by the beginning of the name: %+v", got)
	}
	if got := search(`{"where":{"scope":"my","roleTypes":["三国","别的"]}}`); got.Total != 1 || got.List[0].CharacterID != general {
		t.Errorf("by role type: %+v", got)
	}
}

func TestDeterminism(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) string {
		b := setup(t, func(cfg *xingchen.Config) { cfg.Seed = seed })
		var all strings.Builder
		for _, question := range []string{"你好", "今天天气不错", "写90字"} {
			all.Write(b.do(b.streamRequest(t.Context(), chatBody(wan, "u", question))).Raw)
		}
		all.Write(b.post("lm-local", "/v2/api/chat/message/histories", `{"where":{"characterId":"`+wan+`","bizUserId":"u"}}`).Raw)
		return all.String()
	}
	if diff := cmp.Diff(run(3), run(3)); diff != "" {
		t.Errorf("the same seed, another run:\n%s", diff)
	}
	if run(3) == run(4) {
		t.Error("another seed, the same run")
	}
}

func TestDataDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keep := func(cfg *xingchen.Config) { cfg.DataDir = dir }
	b := setup(t, keep)
	first := b.chat(chatBody(wan, "u", "你今年多大"))
	b.chat(chatBody(wan, "u", "", `"isRegenerate":true,"queryId":"`+first.Context.ReplyMessageID+`"`))
	b.post("lm-local", "/v2/api/chat/rating", `{"messageId":"`+first.Context.MessageID+`","rating":5}`)
	b.post("lm-local", "/v2/api/character/delete", `{"characterId":"`+general+`"}`)
	want := b.history(wan, "u", "")
	if err := b.server.Close(); err != nil {
		t.Fatal(err)
	}
	again := setup(t, keep)
	if diff := cmp.Diff(want, again.history(wan, "u", "")); diff != "" {
		t.Errorf("history (-before +after):\n%s", diff)
	}
	refusedWith(t, again.post("lm-local", "/v2/api/chat/send", chatBody(general, "u", "hi")), 404, "aca.error.notfound", "")
	if next := again.chat(chatBody(wan, "u", "你今年多大")); next.Context.MessageID == first.Context.MessageID {
		t.Error("an id was given twice")
	}
}

func TestDamagedDataDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir+"/xingchen.json", "{")
	_, err := xingchen.New(xingchen.Config{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []xingchen.Config{
		{Keys: []string{"a", "a"}},
		{Keys: []string{""}},
		{Pace: -1},
		{History: &xingchen.History{Characters: 1, Users: 1}},
	} {
		if _, err := xingchen.New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
