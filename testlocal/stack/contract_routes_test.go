package stack_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
)

// TestDocumentAndRoutes compares the document with the table of what is served: the
// operations, their scopes, and where Idempotency-Key is heeded.
func TestDocumentAndRoutes(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	c := newContract(t, b.Routes())
	if err := c.doc.Validate(t.Context()); err != nil {
		t.Errorf("the document is not valid: %v", err)
	}
	type entry struct {
		Scopes     []string
		Idempotent bool
	}
	served, documented := map[string]entry{}, map[string]entry{}
	for _, route := range b.Routes() {
		method, path := operationOf(route)
		var scopes []string
		if route.Scope != "" {
			scopes = []string{string(route.Scope)}
		}
		served[method+" "+path] = entry{scopes, route.Idempotent}
	}
	for path, item := range c.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			var scopes []string
			for _, requirement := range *operation.Security {
				scopes = append(scopes, requirement["key"]...)
			}
			documented[method+" "+path] = entry{scopes, operation.Parameters.GetByInAndName("header", "Idempotency-Key") != nil}
		}
	}
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("what is served (-) and what the document says (+):\n%s", diff)
	}
}

// TestDocumentIsServed holds that the front door hands out the document as it is.
func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, emulator.Config{})
	c := newContract(t, b.Routes())
	var served struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(b.call(http.MethodGet, b.URL+"/openapi.json", "", "").body), &served); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(c.doc.Paths.Map())), slices.Sorted(maps.Keys(served.Paths))); diff != "" {
		t.Error(diff)
	}
}

// held is a stack whose traffic is held to the document. Its keys are "all", "none", which
// has no scope, and "slow", whose rate is soon used up.
type held struct {
	*bundle
	contract *contract
}

func hold(t *testing.T) *held {
	t.Helper()
	keys := fmt.Sprintf(`[{"name":"all","sha256":%q,"scopes":[%s]},{"name":"none","sha256":%q,"scopes":[]},{"name":"slow","sha256":%q,"scopes":[%[2]s],"rps":0.00001}]`,
		digest("all"), `"`+strings.Join(names(httpapi.Scopes), `","`)+`"`, digest("none"), digest("slow"))
	b := setup(t, map[string]string{"XINGHE_API_KEYS": keys, "XINGHE_IMAGE_FIRST_POLL": "10ms"}, emulator.Config{
		Assume: emulator.Assumptions{Xingchen: xingchen.Assumptions{ImageDelay: -1}},
	})
	return &held{b, b.client.Transport.(*recorder).contract}
}

func names(scopes []httpapi.Scope) (list []string) {
	for _, scope := range scopes {
		list = append(list, string(scope))
	}
	return list
}

// ask is one request, and what should come of it.
type ask struct {
	call   string // method and path
	body   string
	status int
	header []string
	// faulty requests are such that the document itself would refuse them.
	faulty bool
}

func (h *held) do(a ask) answer {
	h.t.Helper()
	method, path, _ := strings.Cut(a.call, " ")
	if got := h.faulty(method, path, a); got != a.faulty {
		h.t.Errorf("%s %s %v: the document finds it faulty: %v", a.call, a.body, a.header, got)
	}
	got := h.call(method, h.URL+path, "all", a.body, a.header...)
	if got.status != a.status {
		h.t.Errorf("%s %s: %d %s, want %d", a.call, a.body, got.status, got.body, a.status)
	}
	return got
}

func (h *held) faulty(method, path string, a ask) bool {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.URL+path, http.NoBody)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(a.header); i += 2 {
		r.Header.Set(a.header[i], a.header[i+1])
	}
	return h.contract.request(r, []byte(a.body)) != nil
}

// TestContract asks every route, in good ways and in bad ones. What comes back, and what is
// taken, must be as the document says.
func TestContract(t *testing.T) {
	t.Parallel()
	h := hold(t)
	// Somebody has used the one request that the slow key has.
	h.call(http.MethodGet, h.URL+"/v1/exports", "slow", "")
	for _, route := range h.Routes() {
		if route.Scope == "" {
			continue
		}
		method, path := target(route)
		for key, status := range map[string]int{"": 401, "none": 403, "slow": 429} {
			if got := h.call(method, h.URL+path, key, "{}"); got.status != status {
				t.Errorf("%s with key %q: %d %s", route.Pattern, key, got.status, got.body)
			}
		}
	}
	for _, a := range slices.Concat(plainAsks, openaiAsks, robotAsks, messageAsks, exportAsks, xingchenAsks, forwardedAsks()) {
		h.do(a)
	}
	h.ratings()
	h.picture()
	h.export()
	h.regenerated()
	h.broken()
	h.replayed()
	h.webhooks()
	for _, route := range h.Routes() {
		seen := h.contract.seen[route.Pattern]
		if !slices.ContainsFunc(seen, func(status int) bool { return status < 300 }) && !unemulated[route.Pattern] {
			t.Errorf("%s was never asked well: %v", route.Pattern, seen)
		}
		if !slices.ContainsFunc(seen, func(status int) bool { return status >= 400 }) && route.Scope != "" {
			t.Errorf("%s was never refused: %v", route.Pattern, seen)
		}
	}
}

// Keys that are used twice get the first answer again, and no second one for another body.
func (h *held) replayed() {
	h.t.Helper()
	const good = `[{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":4}]`
	for i, a := range []ask{
		{"POST /v1/ratings", good, 202, []string{"Idempotency-Key", "once"}, false},
		{"POST /v1/ratings", good, 202, []string{"Idempotency-Key", "once"}, false},
		{"POST /v1/ratings", strings.Replace(good, "4}", "3}", 1), 409, []string{"Idempotency-Key", "once"}, false},
		{"POST /v1/ratings", good, 400, []string{"Idempotency-Key", strings.Repeat("k", 256)}, true},
		{"POST /v1/images", `{"messageId":"m","userId":"u"}`, 400, []string{"Idempotency-Key", "ключ"}, true},
	} {
		if got := h.do(a); (got.header.Get("Idempotency-Replayed") != "") != (i == 1) {
			h.t.Errorf("%s: replayed %q", a.call, got.header.Get("Idempotency-Replayed"))
		}
	}
}

// ended asks for a state until it is not one of these.
func (h *held) ended(path string, goesOn ...string) answer {
	h.t.Helper()
	var got answer
	until(h.t, path+" has ended", func() bool {
		got = h.call(http.MethodGet, h.URL+path, "all", "")
		var state struct {
			State string `json:"state"`
		}
		return json.Unmarshal([]byte(got.body), &state) == nil && !slices.Contains(goesOn, state.State)
	})
	return got
}

func (h *held) ratings() {
	h.t.Helper()
	const rows = "messageId,rating\r\na4d8ae9dbcd54d9196cd20afeb7a3059,1\r\na4d8ae9dbcd54d9196cd20afeb7a3059,5\r\nnobody,5\r\n"
	place := h.do(ask{"POST /v1/ratings", rows, 202, []string{"Content-Type", "text/csv"}, false}).header.Get("Location")
	if got := h.ended(place, "running"); !strings.Contains(got.body, `"applied":1,"superseded":1,"failedCount":1`) {
		h.t.Error(got.body)
	}
	h.do(ask{"GET " + place + "/results", "", 200, nil, false})
	if got := h.do(ask{"GET " + place + "/results", "", 200, []string{"Accept", "text/csv"}, false}); strings.Count(got.body, "\n") != 4 {
		h.t.Error(got.body)
	}
}

func (h *held) picture() {
	h.t.Helper()
	const message = "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7"
	body := `{"messageId":"` + message + `","userId":"1234567"}`
	place := h.do(ask{"POST /v1/images", body, 202, nil, false}).header.Get("Location")
	if got := h.ended(place, "pending"); !strings.Contains(got.body, `"state":"ready"`) {
		h.t.Fatal(got.body)
	}
	h.do(ask{"POST /v1/images", strings.Replace(body, "1234567", "7654321", 1), 409, nil, false})
	file := h.do(ask{"GET " + place + "/files/1", "", 200, nil, false})
	h.do(ask{"GET " + place + "/files/1", "", 304, []string{"If-None-Match", file.header.Get("ETag")}, false})
	h.do(ask{"GET " + place + "/files/2", "", 404, nil, false})
}

func (h *held) export() {
	h.t.Helper()
	spec := `{"name":"contract","characters":"` + xiaowan + `","users":["1234567"],"from":"2023-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z","format":%q,"compression":%q,"filter":{"messageTypes":["user","character"]}}`
	for _, kind := range [][2]string{{"jsonl", "none"}, {"csv", "gzip"}, {"jsonl", "zstd"}, {"csv", "none"}} {
		place := h.do(ask{"POST /v1/exports", fmt.Sprintf(spec, kind[0], kind[1]), 202, nil, false}).header.Get("Location")
		h.do(ask{"GET " + place + "/events", "", 200, nil, false})
		done := h.ended(place, "queued", "running")
		var export jobs.Export
		if err := json.Unmarshal([]byte(done.body), &export); err != nil || export.State != jobs.StateDone {
			h.t.Fatalf("%v %s", err, done.body)
		}
		h.files(place, export)
		h.do(ask{"POST " + place + "/cancel", "", 409, nil, false})
		h.do(ask{"POST " + place + "/resume", "", 409, nil, false})
	}
	h.do(ask{"GET /v1/exports?state=done&limit=1", "", 200, nil, false})
	h.cancelled()
}

func (h *held) files(place string, export jobs.Export) {
	h.t.Helper()
	files := place + "/files/"
	text := h.do(ask{"GET " + files + export.Manifest, "", 200, nil, false})
	var manifest jobs.Manifest
	if err := json.Unmarshal([]byte(text.body), &manifest); err != nil || len(manifest.Parts) == 0 {
		h.t.Fatalf("%v %s", err, text.body)
	}
	part := files + manifest.Parts[0].Path
	whole := h.do(ask{"GET " + part, "", 200, nil, false})
	h.do(ask{"GET " + part, "", 206, []string{"Range", "bytes=0-9"}, false})
	h.do(ask{"GET " + part, "", 206, []string{"Range", "bytes=0-1,4-5"}, false})
	h.do(ask{"GET " + part, "", 416, []string{"Range", "bytes=999999-"}, false})
	h.do(ask{"GET " + part, "", 304, []string{"If-Modified-Since", whole.header.Get("Last-Modified")}, false})
	h.do(ask{"HEAD " + part, "", 200, nil, false})
	h.do(ask{"GET " + files + "nope.jsonl", "", 404, nil, false})
	events := h.do(ask{"GET " + place + "/events", "", 200, nil, false})
	_, id, _ := strings.Cut(events.body, "id:")
	id, _, _ = strings.Cut(id, "\n")
	h.do(ask{"GET " + place + "/events", "", 204, []string{"Last-Event-ID", strings.TrimSpace(id)}, false})
	h.do(ask{"GET " + place + "/events", "", 400, []string{"Last-Event-ID", "x"}, true})
}

// cancelled ends an export that upstream keeps waiting, and goes on with it.
func (h *held) cancelled() {
	h.t.Helper()
	h.fault(fault.Rule{Fault: fault.Latency, Delay: 300 * time.Millisecond, Route: "/v2/api/chat/message/histories"})
	users := make([]string, 100)
	for i := range users {
		users[i] = "cancelled-" + strconv.Itoa(i)
	}
	list, err := json.Marshal(users)
	if err != nil {
		h.t.Fatal(err)
	}
	spec := `{"name":"long","characters":["` + xiaowan + `"],"users":` + string(list) + `,"from":"2023-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}`
	place := h.do(ask{"POST /v1/exports", spec, 202, nil, false}).header.Get("Location")
	h.do(ask{"POST /v1/exports", spec, 409, nil, false})
	h.do(ask{"POST " + place + "/cancel", "", 202, nil, false})
	h.fault()
	if got := h.ended(place, "queued", "running"); !strings.Contains(got.body, `"state":"cancelled"`) {
		h.t.Error(got.body)
	}
	h.do(ask{"GET " + place + "/events", "", 200, nil, false})
	h.do(ask{"POST " + place + "/resume", "", 202, nil, false})
	h.ended(place, "queued", "running")
}

func (h *held) fault(rules ...fault.Rule) {
	h.t.Helper()
	if err := h.Emulator.Faults().Set(rules...); err != nil {
		h.t.Fatal(err)
	}
}

// regenerated has an answer given once more.
func (h *held) regenerated() {
	h.t.Helper()
	var said struct {
		Data struct {
			Context struct{ ReplyMessageID string }
		}
	}
	if err := json.Unmarshal([]byte(h.do(ask{"POST " + send, chat(xiaowan, "again", "你今年多大"), 200, nil, false}).body), &said); err != nil {
		h.t.Fatal(err)
	}
	body := strings.Replace(chat(xiaowan, "again", ""), `"aca":{`, `"aca":{"context":{"isRegenerate":true,"queryId":"`+said.Data.Context.ReplyMessageID+`"},`, 1)
	h.do(ask{"POST /v2/api/chat/generate", body, 200, nil, false})
}

// broken has upstream fail, in all surfaces.
func (h *held) broken() {
	h.t.Helper()
	const stream = "/sse/paas4Json*"
	for _, tc := range []struct {
		fault  fault.Rule
		status int // of what is answered whole
	}{
		{fault.Rule{Fault: fault.InternalError}, 502},
		{fault.Rule{Fault: fault.Throttle, RetryAfter: time.Second}, 429},
		{fault.Rule{Fault: fault.Refuse}, 502},
		{fault.Rule{Fault: fault.Cut, AtFrame: 9}, 502},
		{fault.Rule{Fault: fault.ErrorEvent, AtFrame: 9}, 502},
	} {
		chats, robots := tc.fault, tc.fault
		chats.Route, robots.Route = send, stream
		h.fault(chats, robots)
		streamed := 200
		if tc.fault.AtFrame == 0 {
			streamed = tc.status
		}
		for _, a := range []ask{
			{"POST " + send, chat(xiaowan, "broken", "写60字"), streamed, []string{"X-AcA-SSE", "enable"}, false},
			{"POST " + completions, completion("character:"+xiaowan, `"stream":true,"stream_options":{"include_usage":true}`), streamed, nil, false},
			{"POST " + completions, completion("beebot:"+robot, ""), tc.status, nil, false},
			{"POST " + converse, `{"utterance":"你有什么技能?","stream":true}`, streamed, nil, false},
			{"POST " + converse, `{"utterance":"你有什么技能?"}`, tc.status, nil, false},
		} {
			h.do(a)
		}
	}
	h.fault()
}

// unemulated are the routes that the emulator answers with the gateway's error.
var unemulated = map[string]bool{}

// forwardedAsks hand on what the emulator does not know.
func forwardedAsks() (list []ask) {
	said := `"messages":[{"role":"user","content":"你好"}]`
	for call, body := range map[string]string{
		"POST /v2/api/common/file/asyn/upload":      `{"type":"excelToDocx","sourceUrl":"https://files.example/a.xlsx"}`,
		"GET /v2/api/common/file/asyn/download":     "taskId=1",
		"POST /v2/api/knowledge_base/create":        `{"name":"n"}`,
		"POST /v2/api/knowledge_base/update":        `{"knowledgeBaseId":"k"}`,
		"POST /v2/api/knowledge_base/search":        `{"pageNum":1}`,
		"POST /v2/api/knowledge_base/delete":        `{"knowledgeBaseId":"k"}`,
		"POST /v2/api/knowledge_base/detail/upload": `{"knowledgeBaseId":"k"}`,
		"POST /v2/api/knowledge_base/detail/update": `{"knowledgeBaseId":"k"}`,
		"POST /v2/api/knowledge_base/detail/search": `{"knowledgeBaseId":"k"}`,
		"POST /v2/api/knowledge_base/detail/delete": `{"knowledgeBaseId":"k"}`,
		"POST /v2/api/completions":                  "{" + said + "}",
		"POST /v2/api/chatFlow/send":                "{" + said + "}",
	} {
		unemulated[call] = true
		if method, path, _ := strings.Cut(call, " "); method == http.MethodGet && body != "" {
			call, body = method+" "+path+"?"+body, ""
		}
		list = append(list, ask{call: call, body: body, status: http.StatusBadRequest})
	}
	const character, none = "/v2/api/character/", "00000000000000000000000000000000"
	for call, bodies := range map[string][2]string{ // a good one and a bad one
		"POST " + character + "auto/desc": {`{"type":"text","text":"x"}`, `{}`},
		"POST /v2/api/extract/summary":    {"{" + said + "}", `{"messages":[]}`},
		"POST /v2/api/extract/kv":         {"{" + said + "}", `{"messages":[]}`},
		"POST /v2/api/groupchat/nextSpeaker": {
			`{"input":{` + said + `,"aca":{"botProfiles":[{"name":"n","content":"c"}],"userProfile":{"userId":"u"}}}}`, `{"input":{` + said + `,"aca":{"userProfile":{"userId":"u"}}}}`,
		},
		"POST /v2/api/chat/completions": {"{" + said + "}", `{"messages":[]}`},
		"POST " + character + "createOrUpdateVersion": {
			`{"characterId":"` + xiaowan + `","version":2,"name":"小婉儿","introduction":"i","basicInformation":"b","openingLine":"o"}`, `{"characterId":"` + xiaowan + `","version":2}`,
		},
		"GET " + character + "versions/" + xiaowan:             {},
		"GET " + character + "newversion/recommend/" + xiaowan: {},
	} {
		bad := ask{call: strings.Replace(call, xiaowan, none, 1), body: bodies[1], status: http.StatusBadRequest}
		if bad.call != call {
			bad.status = http.StatusNotFound
		}
		list = append(list, ask{call: call, body: bodies[0], status: http.StatusOK}, bad)
	}
	return list
}
