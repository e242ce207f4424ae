package characterapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/functions/character/characterapi"
	"xinghe/shared/egress"
	"xinghe/shared/events"
	"xinghe/shared/httpapi"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upstream answers what it is told and notes what it got.
type upstream struct {
	mu     sync.Mutex
	status int
	answer string
	got    []received
}

type received struct{ method, uri, service, body string }

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, received{r.Method, r.URL.RequestURI(), r.Header.Get("X-Fag-Servicename"), string(body)})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(u.status)
	_, _ = io.WriteString(w, u.answer)
}

func (u *upstream) requests() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.got)
}

// inbox is where events go.
type inbox struct {
	mu   sync.Mutex
	list []json.RawMessage
	err  error
}

func (i *inbox) PublishEvent(_ context.Context, subject, _ string, data []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return i.err
	}
	i.list = append(i.list, json.RawMessage(fmt.Sprintf(`{"subject":%q,"event":%s}`, subject, data)))
	return nil
}

type bundle struct {
	t        *testing.T
	upstream *upstream
	inbox    *inbox
	events   *events.Publisher
	handler  http.Handler
	log      *bytes.Buffer
}

func setup(t *testing.T, allow ...string) *bundle {
	t.Helper()
	b := &bundle{t: t, upstream: &upstream{status: 200, answer: `{"requestId":"up-1","code":200,"data":true,"success":true}`}, inbox: &inbox{}, log: new(bytes.Buffer)}
	server := httptest.NewServer(b.upstream)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := xingchen.New(xingchen.Config{BaseURL: server.URL, APIKey: sign.NewSecret("lm"), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := characterapi.NewAddresses(egress.Config{Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	if b.events, err = events.New(events.Config{Queue: b.inbox, Source: characterapi.Source}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.events.Close)
	keys, err := httpapi.ParseKeys("key")
	if err != nil {
		t.Fatal(err)
	}
	b.handler, err = httpapi.New(httpapi.Config{Keys: keys, Logger: zerolog.New(b.log)},
		characterapi.Routes(characterapi.Config{Client: client, Addresses: addresses, Events: b.events})...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bundle) do(method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer key")
	r.Header.Set("X-Request-Id", "req-1")
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// faults are the faults that a refusal names, and that nothing went upstream.
func (b *bundle) faults(w *httptest.ResponseRecorder) []string {
	b.t.Helper()
	var refusal struct {
		RequestID       string `json:"requestId"`
		Success         *bool  `json:"success"`
		Code            int    `json:"code"`
		ErrorMessage    string `json:"errorMessage"`
		ErrorMessageKey string `json:"errorMessageKey"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil {
		b.t.Fatalf("%s: %v", w.Body, err)
	}
	if w.Code != 400 || refusal.Code != 400 || refusal.Success == nil || *refusal.Success || refusal.RequestID != "req-1" || refusal.ErrorMessageKey != "aca.error.invalid.param" {
		b.t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := b.upstream.requests(); len(got) > 0 {
		b.t.Errorf("%v went upstream", got)
	}
	return strings.Split(refusal.ErrorMessage, "; ")
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// with changes a field of a document, given by its path, or leaves it out where value is
// empty.
func with(t *testing.T, document, path, value string) string {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal([]byte(document), &tree); err != nil {
		t.Fatal(err)
	}
	at := tree
	steps := strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		at = at[step].(map[string]any)
	}
	if last := steps[len(steps)-1]; value == "" {
		delete(at, last)
	} else {
		at[last] = json.RawMessage(value)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDocumentedRequestsPassByteForByte(t *testing.T) {
	t.Parallel()
	create, update := fixture(t, "xingchen-character-create-request.json"), fixture(t, "xingchen-character-update-request.json")
	const id = "c1777d6d7ce14abdba81453126818825"
	for _, tc := range []struct{ name, method, path, body, service string }{
		{"create", "POST", "/v2/api/character/create", create, "aca-character-create"},
		{"create with a knowledge base", "POST", "/v2/api/character/create", with(t, create, "advancedConfig.knowledgeBases", `["d89f6dbb32c645688b01e976cf7ec08e"]`), "aca-character-create"},
		{"update", "POST", "/v2/api/character/update", update, "aca-character-update"},
		{"update as the official client has it", "POST", "/v2/api/character/update", with(t, update, "version", "1"), "aca-character-update"},
		{"update of one field", "POST", "/v2/api/character/update", `{"characterId":"` + id + `","openingLine":"x"}`, "aca-character-update"},
		{"details", "GET", "/v2/api/character/details?characterId=" + id, "", "aca-character-details"},
		{"details of a version", "GET", "/v2/api/character/details?characterId=" + id + "&version=2", "", "aca-character-details"},
		{"search", "POST", "/v2/api/character/search", fixture(t, "xingchen-character-search-request.json"), "aca-character-search"},
		{"search without anything", "POST", "/v2/api/character/search", `{}`, "aca-character-search"},
		{"search by other orders", "POST", "/v2/api/character/search", `{"where":{"scope":"public","roleTypes":["三国"],"characterName":"关"},"orderBy":["createTime","modifiedTime ASC","gmtCreate asc"],"pageNum":0,"pageSize":50}`, "aca-character-search"},
		{"delete", "POST", "/v2/api/character/delete", fixture(t, "xingchen-character-delete-request.json"), "aca-character-delete"},
		{"delete by the query", "POST", "/v2/api/character/delete?characterId=" + id + "&version=1", "", "aca-character-delete"},
		{"delete by both", "POST", "/v2/api/character/delete?characterId=" + id, `{"characterId":"` + id + `","version":1}`, "aca-character-delete"},
		{"version", "POST", "/v2/api/character/createOrUpdateVersion", with(t, update, "version", "2"), "aca-character-version-mgmt"},
		{"versions", "GET", "/v2/api/character/versions/" + id, "", "aca-character-versions"},
		{"recommended version", "GET", "/v2/api/character/newversion/recommend/" + id, "", "aca-character-version-recommend"},
		{"auto description", "POST", "/v2/api/character/auto/desc", `{"type":"text","text":"x"}`, "aca-char-auto-desc"},
		{"unknown fields and odd spacing", "POST", "/v2/api/character/create", "{ \"future\": [1.50, {\"a\":\"\\u4e2d\"}],\n\"name\":\"a\",\"introduction\":\"b\",\"basicInformation\":\"c\",\"openingLine\":\"d\",\"avatar\":{\"size\":3},\"advancedConfig\":{\"platformPlugins\":[{\"name\":\"future_plugin\",\"level\":9}]}}", "aca-character-create"},
		{"optional fields that are null", "POST", "/v2/api/character/create", with(t, with(t, create, "permConfig", "null"), "avatar", "null"), "aca-character-create"},
		{"no optional field", "POST", "/v2/api/character/create", `{"name":"n","introduction":"i","basicInformation":"b","openingLine":"o"}`, "aca-character-create"},
		{"the longest texts", "POST", "/v2/api/character/create", with(t, with(t, create, "name", `"`+strings.Repeat("星", 20)+`"`), "introduction", `"`+strings.Repeat("河", 30)+`"`), "aca-character-create"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if w := b.do(tc.method, tc.path, tc.body); w.Code != http.StatusOK || w.Body.String() != b.upstream.answer || w.Header().Get("X-Upstream-Request-Id") != "up-1" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			want := []received{{tc.method, tc.path, tc.service, tc.body}}
			if diff := cmp.Diff(want, b.upstream.requests(), cmp.AllowUnexported(received{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFaultsOfACharacter(t *testing.T) {
	t.Parallel()
	create := fixture(t, "xingchen-character-create-request.json")
	for _, tc := range []struct{ path, value, want string }{
		{"name", ``, "name: missing"},
		{"name", `null`, "name: missing"},
		{"name", `""`, "name: is empty"},
		{"name", `"` + strings.Repeat("星", 21) + `"`, "name: has 21 characters; at most 20"},
		{"name", `7`, "name: is a JSON number; want a text"},
		{"introduction", ``, "introduction: missing"},
		{"introduction", `"` + strings.Repeat("河", 31) + `"`, "introduction: has 31 characters; at most 30"},
		{"basicInformation", ``, "basicInformation: missing"},
		{"openingLine", `""`, "openingLine: is empty"},
		{"type", `"real"`, "type: is none of: virtual, reproduction"},
		{"roleTypes", `["a",1]`, "roleTypes[1]: is a JSON number; want a text"},
		{"roleTypes", `"a"`, "roleTypes: is a JSON string; want a list"},
		{"avatar", `"x"`, "avatar: is a JSON string; want an object"},
		{"avatar.fileUrl", `"ftp://h.example/x"`, `avatar.fileUrl: is refused: the scheme "ftp" is neither http nor https`},
		{"permConfig.allowChat", ``, "permConfig.allowChat: missing"},
		{"permConfig.isPublic", `2`, "permConfig.isPublic: is not between 0 and 1"},
		{"permConfig.isPublic", `true`, "permConfig.isPublic: is a JSON boolean; want a whole number"},
		{"permConfig.allowApi", `0.5`, "permConfig.allowApi: is no whole number"},
		{"permConfig", `{}`, "permConfig.isPublic: missing; permConfig.allowApi: missing; permConfig.allowChat: missing"},
		{"advancedConfig", `[]`, "advancedConfig: is a JSON list; want an object"},
		{"advancedConfig.isRealInfo", `"yes"`, "advancedConfig.isRealInfo: is a JSON string; want true or false"},
		{"advancedConfig.shortTermMemoryRound", `1.5`, "advancedConfig.shortTermMemoryRound: is no whole number"},
		{"advancedConfig.longTermMemories", `[{"memoryType":"kv"},{"memoryType":"graph"}]`, "advancedConfig.longTermMemories[1].memoryType: is none of: kv, summary"},
		{"advancedConfig.longTermMemories", `[{"kvMemoryConfigs":[{"memoryText":1}]}]`, "advancedConfig.longTermMemories[0].kvMemoryConfigs[0].memoryText: is a JSON number; want a text"},
		{"advancedConfig.modelConfig", `{"topP":"0.8","maxLength":true}`, "advancedConfig.modelConfig.maxLength: is a JSON boolean; want a whole number; advancedConfig.modelConfig.topP: is a JSON string; want a number"},
		{"advancedConfig.platformPlugins", `[{}]`, "advancedConfig.platformPlugins[0].name: missing"},
		{"advancedConfig.platformPlugins", `[{"name":"text_to_image_plugin","enabled":1,"imageStyle":2}]`, "advancedConfig.platformPlugins[0].enabled: is a JSON number; want true or false; advancedConfig.platformPlugins[0].imageStyle: is a JSON number; want a text"},
		{"advancedConfig.platformPlugins", `[{"name":"reject_answer_plugin","rejectConditions":[{"conditionType":"other"}]}]`, "advancedConfig.platformPlugins[0].rejectConditions[0].conditionType: is none of: reject_rule, passive_rule, knowledge_domain_rule"},
		{"advancedConfig.platformPlugins", `[{"name":"reject_answer_plugin","rejectConditions":[{"conditionType":"reject_rule","keywords":["a"]}]}]`, "advancedConfig.platformPlugins[0].rejectConditions[0].keywords[0]: is a JSON string; want an object"},
		{"advancedConfig.platformPlugins", `[{"name":"reject_answer_plugin","rejectConditions":[{"conditionType":"knowledge_domain_rule"}]}]`, "advancedConfig.platformPlugins[0].rejectConditions[0].subRejectCondition: missing: a knowledge_domain_rule has one"},
		{"advancedConfig.knowledgeBases", `[null]`, "advancedConfig.knowledgeBases[0]: is null; want a text"},
	} {
		t.Run(tc.path+" "+tc.value, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			got := strings.Join(b.faults(b.do("POST", "/v2/api/character/create", with(t, create, tc.path, tc.value))), "; ")
			if got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
	t.Run("a search for nothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		body := with(t, with(t, create, "advancedConfig.searchKeyword", ""), "advancedConfig.isRealInfo", "true")
		if got := b.faults(b.do("POST", "/v2/api/character/create", body)); !slices.Equal(got, []string{"advancedConfig.searchKeyword: missing: isRealInfo searches for it"}) {
			t.Error(got)
		}
	})
}

func TestFaultsOfOtherRequests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method, path, body string
		want                     []string
	}{
		{"all at once", "POST", "create", `{"name":"","introduction":7,"permConfig":{"isPublic":0},"type":"x"}`, []string{
			"name: is empty", "introduction: is a JSON number; want a text", "basicInformation: missing", "openingLine: missing",
			"permConfig.allowApi: missing", "permConfig.allowChat: missing", "type: is none of: virtual, reproduction",
		}},
		{"not an object", "POST", "create", `[]`, []string{"body: is a JSON list; want an object"}},
		{"a name twice", "POST", "create", `{"name":"a","name":"b","introduction":"b","basicInformation":"c","openingLine":"d","avatar":{"fileUrl":"https://a.example/x","fileUrl":"http://10.0.0.1/"}}`, []string{"name: stands more than once", "avatar.fileUrl: stands more than once"}},
		{"update without id", "POST", "update", `{"name":"x"}`, []string{"characterId: missing"}},
		{"update beyond limits", "POST", "update", `{"characterId":"c","version":"1","name":"` + strings.Repeat("x", 21) + `","permConfig":{}}`, []string{
			"version: is a JSON string; want a whole number", "permConfig.isPublic: missing", "permConfig.allowApi: missing", "permConfig.allowChat: missing", "name: has 21 characters; at most 20",
		}},
		{"version without number", "POST", "createOrUpdateVersion", `{"characterId":"c"}`, []string{"version: missing"}},
		{"details without id", "GET", "details?version=x", "", []string{"characterId: missing in the query", "version: is no whole number"}},
		{"delete without id", "POST", "delete", `{}`, []string{"characterId: missing"}},
		{"delete of null", "POST", "delete?version=1", ``, []string{"characterId: missing"}},
		{"delete by a bad query", "POST", "delete?characterId=c&version=x", `{"version":"2"}`, []string{"version: is no whole number", "version: is a JSON string; want a whole number"}},
		{"search", "POST", "search", `{"where":{"scope":"all","roleTypes":[1]},"orderBy":["gmtModified down","age desc",1],"pageNum":-1,"pageSize":51}`, []string{
			"where.scope: is none of: my, public, pre_configured", "where.roleTypes[0]: is a JSON number; want a text",
			"orderBy[0]: has a direction that is neither asc nor desc", "orderBy[1]: orders by none of: gmtModified, gmtCreate, modifiedTime, createTime",
			"orderBy[2]: is a JSON number; want a text", "pageNum: is not between 0 and 2147483647", "pageSize: is not between 1 and 50",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			got := strings.Join(b.faults(b.do(tc.method, "/v2/api/character/"+tc.path, tc.body)), "; ")
			if diff := cmp.Diff(strings.Join(tc.want, "; "), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("more than are told", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		got := b.faults(b.do("POST", "/v2/api/character/search", `{"orderBy":[`+strings.Repeat("1,", 100_000)+`1]}`))
		if len(got) != 2*50+1 || got[100] != "body: has more faults than are told here" { // each of them has a "; " of its own
			t.Errorf("%d: %s", len(got), got[len(got)-1])
		}
	})
	for name, body := range map[string]string{"no JSON": "{oops", "nothing": "", "two documents": "{}{}", "too deep": strings.Repeat("[", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if w := b.do("POST", "/v2/api/character/create", body); w.Code != 400 || !strings.Contains(w.Body.String(), "aca.error.invalid.request.params.unreadable") || len(b.upstream.requests()) > 0 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestWrongMethod(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, allow := range map[string]string{"create": "POST", "details": "GET, HEAD", "versions/c": "GET, HEAD"} {
		w := b.do("PUT", "/v2/api/character/"+path, "{}")
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow || !strings.Contains(w.Body.String(), "aca.error.invalid.request.method") {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
}
