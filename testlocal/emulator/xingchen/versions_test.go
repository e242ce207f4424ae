package xingchen_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/xingchen"
)

type characterData struct {
	CharacterID, Name, Introduction string
	Version, MajorVersion           int
	Versions                        []int
	PermConfig                      *struct{ IsPublic, AllowAPI, AllowChat int }
}

// version is a body that gives a character another text.
func version(id string, number int, introduction string) string {
	return fmt.Sprintf(`{"characterId":%q,"version":%d,"name":"阿明","introduction":%q,"basicInformation":"b","openingLine":"o"}`, id, number, introduction)
}

// withID sends a request to a path that ends in an id.
func (b *bench) withID(key, path, id string) answer {
	b.tb.Helper()
	req := b.request(b.tb.Context(), http.MethodGet, path+id, services[path], nil)
	req.Header.Set("Authorization", "Bearer "+key)
	return b.do(req)
}

// ming makes a character that anybody may call, and returns its id.
func (b *bench) ming() string {
	b.tb.Helper()
	made := b.post("lm-local", "/v2/api/character/create",
		`{"name":"阿明","introduction":"第一版","basicInformation":"b","openingLine":"o","permConfig":{"isPublic":1,"allowApi":1,"allowChat":1}}`)
	return decodeData[characterData](b.tb, made).CharacterID
}

func (b *bench) introduces(id string, extra string) string {
	b.tb.Helper()
	return b.chat(`{"input":{"messages":[{"role":"user","content":"你是谁"}],"aca":{"botProfile":{"characterId":"` + id + `"` + extra + `},"userProfile":{"userId":"u"}}}}`).text()
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for name, behind := range map[string]bool{"BecomesCurrent": false, "StaysBehind": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, assume(func(a *xingchen.Assumptions) { a.VersionStaysBehind = behind }))
			id := b.ming()
			made := decodeData[characterData](t, b.post("lm-local", "/v2/api/character/createOrUpdateVersion", version(id, 2, "第二版")))
			current := 2
			if behind {
				current = 1
			}
			if made.Version != 2 || made.MajorVersion != current || !cmp.Equal(made.Versions, []int{1, 2}) || made.PermConfig == nil || made.PermConfig.AllowAPI != 1 {
				t.Errorf("%+v", made)
			}
			says := map[int]string{1: "我是阿明,第一版。", 2: "我是阿明,第二版。"}
			if got := b.introduces(id, ""); got != says[current] {
				t.Errorf("the current version says %s", got)
			}
			for number, want := range says {
				if got := b.introduces(id, fmt.Sprintf(`,"version":%d`, number)); got != want {
					t.Errorf("version %d says %s", number, got)
				}
			}
			list := decodeData[[]characterData](t, b.withID("lm-other", "/v2/api/character/versions/", id))
			if len(list) != 2 || list[0].Version != 2 || list[1].Version != 1 || list[1].Introduction != "第一版" {
				t.Errorf("%+v", list)
			}
			next := decodeData[characterData](t, b.withID("lm-local", "/v2/api/character/newversion/recommend/", id))
			if next.Version != 3 || next.Introduction != map[int]string{1: "第一版", 2: "第二版"}[current] || !cmp.Equal(next.Versions, []int{1, 2}) {
				t.Errorf("%+v", next)
			}
			b.post("lm-local", "/v2/api/character/createOrUpdateVersion", version(id, 1, "改过"))
			old := decodeData[characterData](t, b.get("lm-local", "/v2/api/character/details", "version=1&characterId="+id))
			if old.Introduction != "改过" || old.Version != 1 || old.MajorVersion != current {
				t.Errorf("%+v", old)
			}
			if a := b.post("lm-local", "/v2/api/character/update", version(id, 2, "也改过")); !a.Success {
				t.Errorf("%s", a.Raw)
			}
			if got := decodeData[characterData](t, b.get("lm-local", "/v2/api/character/details", "version=2&characterId="+id)); got.Introduction != "也改过" {
				t.Errorf("%+v", got)
			}
			for _, number := range []int{2, 1} {
				body := fmt.Sprintf(`{"characterId":%q,"version":%d}`, id, number)
				if a := b.post("lm-local", "/v2/api/character/delete", body); !a.Success {
					t.Errorf("%s", a.Raw)
				}
				got := b.get("lm-local", "/v2/api/character/details", "characterId="+id)
				if number == 2 && decodeData[characterData](t, got).Introduction != "改过" || number == 1 && got.Code != 404 {
					t.Errorf("after version %d was deleted: %s", number, got.Raw)
				}
			}
		})
	}
}

func TestVersionsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := func(cfg *xingchen.Config) { cfg.DataDir = dir }
	b := setup(t, kept)
	id := b.ming()
	b.post("lm-local", "/v2/api/character/createOrUpdateVersion", version(id, 2, "第二版"))
	if err := b.server.Close(); err != nil {
		t.Fatal(err)
	}
	again := setup(t, kept)
	if got := again.introduces(id, `,"version":1`); got != "我是阿明,第一版。" {
		t.Errorf("%s", got)
	}
}

func TestVersionsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.ming()
	const put, list, next = "/v2/api/character/createOrUpdateVersion", "/v2/api/character/versions/", "/v2/api/character/newversion/recommend/"
	for name, tc := range map[string]struct {
		got  answer
		code int
		key  string
	}{
		"no id":             {b.post("lm-local", put, `{"version":2}`), 400, "aca.error.invalid.param"},
		"no version":        {b.post("lm-local", put, version(id, 0, "x")), 400, "aca.error.invalid.param"},
		"another's":         {b.post("lm-other", put, version(id, 2, "x")), 411, "aca.error.no.permission.mgmt.version"},
		"the platform's":    {b.post("lm-local", put, version(guide, 2, "x")), 411, "aca.error.no.permission.mgmt.version"},
		"unknown":           {b.post("lm-local", put, version("0", 2, "x")), 404, "aca.error.notfound"},
		"a taken name":      {b.post("lm-local", put, `{"characterId":"`+id+`","version":2,"name":"小婉","introduction":"i","basicInformation":"b","openingLine":"o"}`), 401, "aca.error.data.duplicate"},
		"no name":           {b.post("lm-local", put, `{"characterId":"`+id+`","version":2}`), 400, "aca.error.invalid.param"},
		"list of none":      {b.withID("lm-local", list, "0"), 404, "aca.error.notfound"},
		"list without id":   {b.withID("lm-local", list, ""), 400, "aca.error.invalid.request"},
		"list of private":   {b.withID("lm-local", list, keeper), 403, "aca.error.no.permission"},
		"another's next":    {b.withID("lm-other", next, id), 411, "aca.error.no.permission.mgmt.version"},
		"chat with unknown": {b.post("lm-local", "/v2/api/chat/send", `{"input":{"messages":[{"role":"user","content":"x"}],"aca":{"botProfile":{"characterId":"`+id+`","version":9},"userProfile":{"userId":"u"}}}}`), 404, "aca.error.notfound"},
	} {
		if tc.got.Code != tc.code || tc.got.ErrorMessageKey != tc.key {
			t.Errorf("%s: %s", name, tc.got.Raw)
		}
	}
}
