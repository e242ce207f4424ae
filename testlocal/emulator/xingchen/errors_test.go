package xingchen_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/testlocal/emulator/xingchen"
)

// refusedWith checks that an answer is an error with code, key and words.
func refusedWith(t *testing.T, a answer, code int, key, words string) {
	t.Helper()
	if a.Status != http.StatusBadRequest || a.Success || a.Code != code || a.ErrorMessageKey != key {
		t.Errorf("status %d: %s; want code %d, key %s", a.Status, a.Raw, code, key)
	}
	if !strings.Contains(a.ErrorMessage, words) {
		t.Errorf("message %q does not name %q", a.ErrorMessage, words)
	}
	if a.RequestID == "" || a.ErrorCode != code || a.HTTPStatusCode != http.StatusBadRequest {
		t.Errorf("fields of the gateway: %s", a.Raw)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	const key = "aca.error.invalid.request"
	rows := []struct {
		name   string
		change func(*http.Request)
		code   int
		key    string
	}{
		{"NoAppCode", func(r *http.Request) { r.Header.Del("x-fag-appcode") }, 400, key},
		{"NoServiceName", func(r *http.Request) { r.Header.Del("x-fag-servicename") }, 400, key},
		{"OtherServiceName", func(r *http.Request) { r.Header.Set("x-fag-servicename", "aca-chat-reset") }, 400, key},
		{"MediaType", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400, key},
		{"NoMediaType", func(r *http.Request) { r.Header.Del("Content-Type") }, 400, key},
		{"UnknownPath", func(r *http.Request) { r.URL.Path = "/v2/api/chat/sing" }, 400, key},
		{"Method", func(r *http.Request) { r.Method = http.MethodPut }, 400, "aca.error.invalid.request.method"},
		{"NoKey", func(r *http.Request) { r.Header.Del("Authorization") }, 400, "aca.error.invalid.token"},
		{"OtherScheme", func(r *http.Request) { r.Header.Set("Authorization", "Basic lm-local") }, 400, "aca.error.invalid.token"},
		{"WrongKey", func(r *http.Request) { r.Header.Set("Authorization", "Bearer lm-none") }, 400, "aca.error.invalid.token"},
	}
	b := setup(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			req := b.request(t.Context(), http.MethodPost, "/v2/api/chat/send", "aca-chat-send", []byte(chatBody(wan, "u", "hi")))
			row.change(req)
			refusedWith(t, b.do(req), row.code, row.key, "")
		})
	}
}

func TestErrorShape(t *testing.T) {
	t.Parallel()
	for dialect, without := range map[string][]string{
		"both": nil, "service": {"errorCode", "errorName", "httpStatusCode"}, "gateway": {"code", "errorMessageKey"},
	} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			b := setup(t, assume(func(a *xingchen.Assumptions) { a.ErrorDialect = dialect }))
			var want map[string]any
			if err := json.Unmarshal(file(t, "assumed-xingchen-error-response.json"), &want); err != nil {
				t.Fatal(err)
			}
			for _, field := range without {
				delete(want, field)
			}
			got := b.get("lm-local", "/v2/api/character/details", "characterId=0123456789abcdef0123456789abcdef")
			if diff := cmp.Diff(shape(want), shapeOf(t, got.Raw)); diff != "" {
				t.Errorf("shape (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusFollowsCode(t *testing.T) {
	t.Parallel()
	b := setup(t, assume(func(a *xingchen.Assumptions) { a.StatusFollowsCode = true }))
	if got := b.post("lm-local", "/v2/api/chat/send", chatBody("none", "u", "hi")); got.Status != http.StatusNotFound || got.HTTPStatusCode != 404 {
		t.Errorf("status %d: %s", got.Status, got.Raw)
	}
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	const param, unreadable = "aca.error.invalid.param", "aca.error.invalid.request.params.unreadable"
	chat := chatBody(wan, "u", "你好")
	message := `[{"role":"user","content":"你好"}]`
	edit := func(old, replacement string) string { return strings.Replace(chat, old, replacement, 1) }
	long := strings.Repeat(`{"role":"user","content":"a"},{"role":"assistant","content":"b"},`, 25) + `{"role":"user","content":"c"}`
	name := strings.Repeat("长", 21)
	create := string(file(t, "xingchen-character-create-request.json"))
	rows := []struct{ name, path, body, key, words string }{
		{"Empty", "/v2/api/chat/send", ``, unreadable, ""},
		{"NotJSON", "/v2/api/chat/send", `{"input":`, unreadable, ""},
		{"TwoValues", "/v2/api/chat/send", chat + chat, unreadable, ""},
		{"List", "/v2/api/chat/send", `[]`, unreadable, ""},
		{"Null", "/v2/api/chat/send", `null`, param, "input"},
		{"NoInput", "/v2/api/chat/send", `{}`, param, "input"},
		{"NoAca", "/v2/api/chat/send", `{"input":{"messages":` + message + `}}`, param, "input.aca"},
		{"NoUser", "/v2/api/chat/send", edit(`"userId":"u"`, ``), param, "userProfile.userId"},
		{"UserIsNumber", "/v2/api/chat/send", edit(`"userId":"u"`, `"userId":1`), param, "userProfile.userId"},
		{"NoBot", "/v2/api/chat/send", edit(`"characterId":"`+wan+`"`, ``), param, "botProfile"},
		{"CustomWithoutContent", "/v2/api/chat/send", edit(`"characterId":"`+wan+`"`, `"name":"海梦"`), param, "content or customTemplateId"},
		{"NoMessages", "/v2/api/chat/send", edit(message, `[]`), param, "messages"},
		{"TooManyMessages", "/v2/api/chat/send", edit(message, `[`+long+`]`), param, "50"},
		{"UnknownRole", "/v2/api/chat/send", edit(message, `[{"role":"bot","content":"a"}]`), param, "messages[0].role"},
		{"SystemNotFirst", "/v2/api/chat/send", edit(message, `[{"role":"user","content":"a"},{"role":"system","content":"b"}]`), param, "messages[1].role"},
		{"TwiceTheUser", "/v2/api/chat/send", edit(message, `[{"role":"user","content":"a"},{"role":"user","content":"b"}]`), param, "alternate"},
		{"LastIsAssistant", "/v2/api/chat/send", edit(message, `[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]`), param, "end with"},
		{"EmptyQuestion", "/v2/api/chat/send", edit(`"content":"你好"`, `"content":" "`), param, "content"},
		{"NegativeSeed", "/v2/api/chat/send", edit(`{"input"`, `{"parameters":{"seed":-1},"input"`), param, "seed"},
		{"SeedTooLarge", "/v2/api/chat/send", edit(`{"input"`, `{"parameters":{"seed":9223372036854775808},"input"`), param, "seed"},
		{"TopP", "/v2/api/chat/send", edit(`{"input"`, `{"parameters":{"topP":1},"input"`), param, "topP"},
		{"MaxLength", "/v2/api/chat/send", edit(`{"input"`, `{"parameters":{"maxLength":0},"input"`), param, "maxLength"},
		{"ResultCount", "/v2/api/chat/send", edit(`"context":{`, `"context":{"resultCount":0`), param, "resultCount"},
		{"RegenerateWithoutQuery", "/v2/api/chat/send", edit(`"context":{`, `"context":{"isRegenerate":true`), param, "queryId"},
		{"CreateWithoutName", "/v2/api/character/create", strings.Replace(create, `"name"`, `"nom"`, 1), param, "name"},
		{"NameTooLong", "/v2/api/character/create", strings.Replace(create, `"满腔忠义的关云长"`, `"`+name+`"`, 1), param, "name is longer than 20"},
		{"CreateWithoutOpening", "/v2/api/character/create", strings.Replace(create, `"openingLine"`, `"opening"`, 1), param, "openingLine"},
		{"HalfPermissions", "/v2/api/character/create", strings.Replace(create, `"allowApi": 0,`, ``, 1), param, "permConfig.allowApi"},
		{"UnknownType", "/v2/api/character/create", strings.Replace(create, `"virtual"`, `"real"`, 1), param, "type"},
		{"RoleTypesText", "/v2/api/character/create", `{"roleTypes":"三国"}`, param, "roleTypes"},
		{"UpdateWithoutID", "/v2/api/character/update", create, param, "characterId"},
		{"DeleteWithoutID", "/v2/api/character/delete", `{}`, param, "characterId"},
		{"SearchWithoutWhere", "/v2/api/character/search", `{}`, param, "where"},
		{"SearchScope", "/v2/api/character/search", `{"where":{"scope":"all"}}`, param, "where.scope"},
		{"SearchOrder", "/v2/api/character/search", `{"where":{"scope":"my"},"orderBy":["name asc"]}`, param, "orderBy"},
		{"SearchOrderWord", "/v2/api/character/search", `{"where":{"scope":"my"},"orderBy":["gmtCreate up"]}`, param, "orderBy"},
		{"PageSizeTooLarge", "/v2/api/character/search", `{"where":{"scope":"my"},"pageSize":51}`, param, "pageSize"},
		{"PageSizeZero", "/v2/api/chat/message/histories", `{"where":{"characterId":"` + wan + `","bizUserId":"u"},"pageSize":0}`, param, "pageSize"},
		{"NegativePage", "/v2/api/chat/message/histories", `{"where":{"characterId":"` + wan + `","bizUserId":"u"},"pageNum":-1}`, param, "pageNum"},
		{"HistoryWithoutCharacter", "/v2/api/chat/message/histories", `{"where":{"bizUserId":"u"}}`, param, "where.characterId"},
		{"HistoryWithoutUser", "/v2/api/chat/message/histories", `{"where":{"characterId":"` + wan + `"}}`, param, "where.bizUserId"},
		{"HistoryOrder", "/v2/api/chat/message/histories", `{"where":{"characterId":"` + wan + `","bizUserId":"u"},"orderBy":["rating desc"]}`, param, "gmtCreate"},
		{"RatingWithoutMessage", "/v2/api/chat/rating", `{"rating":5}`, param, "messageId"},
		{"RatingWithoutRating", "/v2/api/chat/rating", `{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059"}`, param, "rating"},
		{"RatingTooHigh", "/v2/api/chat/rating", `{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":6}`, param, "-1 and 5"},
		{"ReminderWithoutContent", "/v2/api/chat/reminder", `{"characterId":"` + wan + `","bizUserId":"u"}`, param, "content"},
		{"ResetWithoutUser", "/v2/api/chat/reset", `{"characterId":"` + wan + `"}`, param, "userId"},
		{"StopWithoutAnything", "/v2/api/chat/stop", `{}`, param, "sessionId"},
	}
	b := setup(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			refusedWith(t, b.post("lm-local", row.path, row.body), 400, row.key, row.words)
		})
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, row := range []struct{ path, query, words string }{
		{"/v2/api/character/details", "", "characterId"},
		{"/v2/api/character/details", "characterId=" + wan + "&version=x", "version"},
		{"/v2/api/chat/polling/image", "userId=1", "messageId"},
		{"/v2/api/chat/polling/image", "messageId=8b9df7b9-f15b-4377-9e41-9a3e75ca6af7", "userId"},
	} {
		refusedWith(t, b.get("lm-local", row.path, row.query), 400, "aca.error.invalid.param", row.words)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	const none = "0123456789abcdef0123456789abcdef"
	b := setup(t)
	for name, got := range map[string]answer{
		"Details":        b.get("lm-local", "/v2/api/character/details", "characterId="+none),
		"DetailsVersion": b.get("lm-local", "/v2/api/character/details", "characterId="+wan+"&version=9"),
		"Chat":           b.post("lm-local", "/v2/api/chat/send", chatBody(none, "u", "hi")),
		"ChatVersion":    b.post("lm-local", "/v2/api/chat/send", strings.Replace(chatBody(wan, "u", "hi"), `"botProfile":{`, `"botProfile":{"version":9,`, 1)),
		"Template": b.post("lm-local", "/v2/api/chat/send",
			`{"input":{"messages":[{"role":"user","content":"a"}],"aca":{"botProfile":{"name":"a","customTemplateId":"b"},"userProfile":{"userId":"u"}}}}`),
		"Delete":    b.post("lm-local", "/v2/api/character/delete", `{"characterId":"`+none+`"}`),
		"Histories": b.post("lm-local", "/v2/api/chat/message/histories", `{"where":{"characterId":"`+none+`","bizUserId":"u"}}`),
		"Rating":    b.post("lm-local", "/v2/api/chat/rating", `{"messageId":"`+none+`","rating":1}`),
		"OthersMessage": b.post("lm-other", "/v2/api/chat/rating",
			`{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":1}`),
		"Reminder":      b.post("lm-local", "/v2/api/chat/reminder", `{"characterId":"`+none+`","bizUserId":"u","content":"a"}`),
		"ReminderRoom":  b.post("lm-local", "/v2/api/chat/reminder", `{"characterId":"`+wan+`","bizUserId":"u","content":"a","chatRoomId":1}`),
		"Reset":         b.post("lm-local", "/v2/api/chat/reset", `{"characterId":"`+none+`","userId":"u"}`),
		"Picture":       b.get("lm-local", "/v2/api/chat/polling/image", "messageId=none&userId=1"),
		"PictureOfUser": b.get("lm-local", "/v2/api/chat/polling/image", "messageId=8b9df7b9-f15b-4377-9e41-9a3e75ca6af7&userId=none"),
		"OthersPicture": b.get("lm-other", "/v2/api/chat/polling/image", "messageId=8b9df7b9-f15b-4377-9e41-9a3e75ca6af7&userId=123456789"),
		"Query":         b.post("lm-local", "/v2/api/chat/send", chatBody(wan, "u", "a", `"isRegenerate":true,"queryId":"`+none+`"`)),
		"Answer":        b.post("lm-local", "/v2/api/chat/send", chatBody(wan, "u", "a", `"answerId":"`+none+`"`)),
	} {
		t.Run(name, func(t *testing.T) { refusedWith(t, got, 404, "aca.error.notfound", "") })
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := func(id string) string {
		return strings.Replace(string(file(t, "xingchen-character-update-request.json")), general, id, 1)
	}
	for name, got := range map[string]answer{
		"Details":       b.get("lm-local", "/v2/api/character/details", "characterId="+keeper),
		"Chat":          b.post("lm-local", "/v2/api/chat/send", chatBody(keeper, "u", "hi")),
		"Update":        b.post("lm-local", "/v2/api/character/update", body(teller)),
		"UpdateOffical": b.post("lm-local", "/v2/api/character/update", body(guide)),
		"Delete":        b.post("lm-local", "/v2/api/character/delete", `{"characterId":"`+teller+`"}`),
		"KnowledgeBase": b.post("lm-local", "/v2/api/character/create",
			strings.Replace(string(file(t, "xingchen-character-create-request.json")), `"isRealInfo"`, `"knowledgeBases":["none"],"isRealInfo"`, 1)),
	} {
		t.Run(name, func(t *testing.T) { refusedWith(t, got, 403, "aca.error.no.permission", "") })
	}
	for name, got := range map[string]answer{
		"PublicDetails":   b.get("lm-local", "/v2/api/character/details", "characterId="+teller),
		"OfficialDetails": b.get("lm-local", "/v2/api/character/details", "characterId="+guide),
		"OpenedChat":      b.post("lm-local", "/v2/api/chat/send", chatBody(teller, "u", "hi")),
		"OfficialChat":    b.post("lm-other", "/v2/api/chat/send", chatBody(guide, "u", "hi")),
		"KnowledgeBase": b.post("lm-local", "/v2/api/character/create",
			strings.Replace(string(file(t, "xingchen-character-create-request.json")), `"isRealInfo"`, `"knowledgeBases":["d89f6dbb32c645688b01e976cf7ec08e"],"isRealInfo"`, 1)),
	} {
		if got.Status != http.StatusOK {
			t.Errorf("%s: status %d: %s", name, got.Status, got.Raw)
		}
	}
}

func TestTooLargeBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.post("lm-local", "/v2/api/chat/send", strings.Repeat(" ", 9<<20))
	if got.Status != http.StatusRequestEntityTooLarge || got.Success || got.RequestID == "" {
		t.Errorf("status %d: %s", got.Status, got.Raw)
	}
}

func TestInspection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	req := b.request(t.Context(), http.MethodPost, "/v2/api/chat/send", "aca-chat-send", []byte(chatBody(wan, "u", "说一个违禁词")))
	if got := b.do(req); got.Status != http.StatusOK {
		t.Errorf("without inspection: %s", got.Raw)
	}
	for _, header := range []string{"X-AcA-DataInspection", "X-DashScope-DataInspection"} {
		req := b.request(t.Context(), http.MethodPost, "/v2/api/chat/send", "aca-chat-send", []byte(chatBody(wan, "u", "说一个违禁词")))
		req.Header.Set(header, "enable")
		if got := b.do(req); got.Status != http.StatusBadRequest || !strings.Contains(got.ErrorMessage, "DataInspectionFailed") {
			t.Errorf("%s: status %d: %s", header, got.Status, got.Raw)
		}
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	b := setup(t, assume(func(a *xingchen.Assumptions) { a.RequestsPerSecond = 2 }))
	ask := func(key string) int { return b.get(key, "/v2/api/character/details", "characterId="+teller).Status }
	got := []int{ask("lm-local"), ask("lm-local"), ask("lm-local"), ask("lm-other")}
	b.clock.advance(1e9)
	got = append(got, ask("lm-local"))
	if diff := cmp.Diff([]int{200, 200, 429, 200, 200}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}
