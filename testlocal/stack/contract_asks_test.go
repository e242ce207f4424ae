package stack_test

import (
	"fmt"
	"strings"
)

const completions = "/v1/chat/completions"

// completion is the shortest question to a model, with more parameters.
func completion(model, parameters string) string {
	if parameters != "" {
		parameters = "," + parameters
	}
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"你有什么技能?"}]%s}`, model, parameters)
}

var plainAsks = []ask{
	{call: "GET /healthz", status: 200},
	{call: "GET /readyz", status: 200},
	{call: "GET /openapi.json", status: 200},
}

var openaiAsks = func() (list []ask) {
	const character = "character:" + xiaowan
	list = []ask{
		{call: "GET /v1/models", status: 200},
		{call: "GET /v1/models/" + character, status: 200},
		{call: "GET /v1/models/beebot:" + robot, status: 200},
		{call: "GET /v1/models/xingchen-plus", status: 200},
		{call: "GET /v1/models/gpt-4", status: 404},
		{call: "GET /v1/models/character:nobody", status: 404},
		{call: "POST " + completions, body: completion("gpt-4", ""), status: 404},
		{call: "POST " + completions, body: completion("beebot:nobody", ""), status: 404},
		{call: "POST " + completions, body: completion("character:nobody", `"stream":true`), status: 404},
		{call: "POST " + completions, body: completion("xingchen-plus", ""), status: 400}, // no persona
		{call: "POST " + completions, body: `{"model":"xingchen-plus","messages":[{"role":"system","name":"海梦","content":"你是海梦"},{"role":"user","content":[{"type":"text","text":"你好"}]}]}`, status: 200},
		{call: "POST " + completions, body: `{"model":"` + character + `","messages":[{"role":"user","content":"你好"},{"role":"assistant","content":"好","refusal":null,"tool_calls":[]},{"role":"user","content":"几岁"}]}`, status: 200},
		{call: "POST " + completions, body: "{oops", status: 400, faulty: true},
		{call: "POST " + completions, body: strings.Repeat(" ", 7<<20), status: 413, faulty: true},
	}
	for _, good := range []string{
		"", `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, `"stream":false,"user":"u1","metadata":{"use_history":"true","mine":"x"}`,
		`"seed":7,"temperature":1,"top_p":1,"max_tokens":50,"max_completion_tokens":50,"n":1`, `"n":2`,
		`"stream":null,"user":null,"seed":null,"temperature":null,"top_p":null,"n":null,"tools":null,"metadata":null,"audio":null`,
		`"frequency_penalty":0,"logit_bias":{},"logprobs":false,"stop":[],"store":false,"tools":[],"tool_choice":"auto","response_format":{"type":"text"},"modalities":["text"],"service_tier":"auto","parallel_tool_calls":true`,
	} {
		list = append(list, ask{call: "POST " + completions, body: completion(character, good), status: 200})
	}
	for _, faulty := range []string{
		`"stream":"yes"`, `"seed":-1`, `"seed":1.5`, `"temperature":2.1`, `"temperature":-1`, `"top_p":0`, `"top_p":1.1`, `"max_tokens":0`, `"max_completion_tokens":0`, `"n":0`,
		`"frequency_penalty":0.5`, `"logprobs":true`, `"stop":["x"]`, `"tools":[{"type":"function"}]`, `"response_format":{"type":"json_object"}`, `"audio":{}`, `"unknown":1`,
		`"metadata":{"use_history":"maybe"}`, `"metadata":{"a":1}`, `"metadata":{"` + strings.Repeat("k", 65) + `":"v"}`, `"user":"` + strings.Repeat("u", 257) + `"`,
		`"stream":true,"stream_options":{"other":true}`,
	} {
		list = append(list, ask{call: "POST " + completions, body: completion(character, faulty), status: 400, faulty: true})
	}
	for _, faulty := range []string{
		`{}`, `{"model":"m"}`, `{"model":"` + character + `","messages":[]}`, `{"model":"` + character + `","messages":[{"content":"x"}]}`,
		`{"model":"` + character + `","messages":[{"role":"tool","content":"x"}]}`, `{"model":"` + character + `","messages":[{"role":"user","content":"x","tool_calls":[1]}]}`,
		`{"model":"` + character + `","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`,
	} {
		list = append(list, ask{call: "POST " + completions, body: faulty, status: 400, faulty: true})
	}
	for _, told := range []string{`"n":2,"stream":true`, `"max_tokens":1,"max_completion_tokens":2`, `"stream_options":{"include_usage":true}`} {
		list = append(list, ask{call: "POST " + completions, body: completion(character, told), status: 400})
	}
	const bot = "beebot:" + robot
	return append(
		list,
		ask{call: "POST " + completions, body: completion(bot, `"metadata":{"session_id":""}`), status: 200},
		ask{call: "POST " + completions, body: completion(bot, `"stream":true,"stream_options":{"include_usage":true}`), status: 200},
		ask{call: "POST " + completions, body: completion(bot, `"seed":1`), status: 400},
	)
}()

var robotAsks = func() (list []ask) {
	const base = "/v1/beebot/" + robot
	question := `{"utterance":"你有什么技能?","sessionId":"","senderId":"u1","senderNick":"n","vendorParam":{}%s}`
	list = []ask{
		{call: "POST " + converse, body: fmt.Sprintf(question, ""), status: 200},
		{call: "POST " + converse, body: fmt.Sprintf(question, `,"stream":true`), status: 200},
		{call: "POST " + converse, body: fmt.Sprintf(question, ""), status: 200, header: []string{"Accept", "text/event-stream"}},
		{call: "POST " + converse, body: `{"utterance":"转人工"}`, status: 200},
		{call: "POST " + base + "/ask", body: fmt.Sprintf(question, `,"tag":"t","perspective":""`), status: 200},
		{call: "POST " + base + "/stream-access", body: `{}`, status: 200},
		{call: "POST " + base + "/stream-access", body: `{"sessionId":"s","senderId":"u","senderNick":"n","vendorParam":null}`, status: 200},
		{call: "POST " + base + "/stream-access", body: `{"utterance":"x"}`, status: 400, faulty: true},
		{call: "POST " + base + "/ask", body: `{"utterance":"x","tag":"` + strings.Repeat("t", 1025) + `"}`, status: 400, faulty: true},
		{call: "POST " + base + "/ask", body: `{"utterance":"x","stream":true}`, status: 400, faulty: true},
		{call: "POST " + converse, body: strings.Repeat(" ", 7<<20), status: 413, faulty: true},
	}
	for _, utterance := range []string{"公积金", "转人工", "你好", "开发票", "查询"} { // every kind of answer that the robot has
		list = append(list, ask{call: "POST " + base + "/ask", body: fmt.Sprintf(`{"utterance":%q}`, utterance), status: 200})
	}
	for _, verb := range []string{"chat", "ask"} {
		list = append(list, ask{call: "POST /v1/beebot/nobody/" + verb, body: `{"utterance":"x"}`, status: 404})
		for _, faulty := range []string{
			`hello`, `{}`, `{"utterance":""}`, `{"utterance":"  "}`, `{"utterance":"` + strings.Repeat("好", 129) + `"}`, `{"utterance":7}`,
			`{"utterance":"x","sessionId":"` + strings.Repeat("s", 65) + `"}`, `{"utterance":"x","vendorParam":[]}`, `{"utterance":"x","other":1}`,
		} {
			list = append(list, ask{call: "POST " + base + "/" + verb, body: faulty, status: 400, faulty: true})
		}
	}
	return list
}()

var messageAsks = func() (list []ask) {
	const rating = `{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":5,"info":"好"}`
	const ndjson = "application/x-ndjson"
	list = []ask{
		{call: "POST /v1/ratings", body: rating, status: 202},
		{call: "POST /v1/ratings", body: "[" + rating + "]", status: 202},
		{call: "POST /v1/ratings", body: rating + "\n" + rating, status: 202, header: []string{"Content-Type", ndjson}},
		{call: "POST /v1/ratings?dryRun=true", body: "[" + rating + "]", status: 200},
		{call: "POST /v1/ratings?dryRun=maybe", body: rating, status: 400, faulty: true},
		{call: "POST /v1/ratings", body: "[" + rating + `,{"messageId":"m","rating":9}]`, status: 202, faulty: true}, // the good row
		{call: "POST /v1/ratings?dryRun=true", body: `[{"rating":9}]`, status: 200, faulty: true},
		{call: "POST /v1/ratings", body: "<r/>", status: 415, header: []string{"Content-Type", "application/xml"}, faulty: true},
		{call: "POST /v1/ratings", body: "messageId\nm", status: 400, header: []string{"Content-Type", "text/csv"}},
		{call: "POST /v1/ratings", body: strings.Repeat(" ", 7<<20), status: 413, faulty: true},
		{call: "GET /v1/ratings/rat_nope", status: 404},
		{call: "GET /v1/ratings/rat_nope/results", status: 404},
		{call: "GET /v1/images/nope", status: 404},
		{call: "GET /v1/images/nope/files/1", status: 404},
	}
	for _, faulty := range []string{
		`[]`, `7`, `[{"messageId":"","rating":5}]`, `[{"messageId":"m"}]`, `[{"messageId":"m","rating":-2}]`, `[{"messageId":"m","rating":6}]`, `[{"messageId":"m","rating":4.5}]`,
		`[{"messageId":"` + strings.Repeat("m", 129) + `","rating":5}]`, `[{"messageId":"m","rating":5,"info":"` + strings.Repeat("好", 1001) + `"}]`, `[{"messageId":"m","rating":5,"x":1}]`,
	} {
		list = append(list, ask{call: "POST /v1/ratings", body: faulty, status: 400, faulty: true})
	}
	for _, faulty := range []string{
		`{}`, `{"messageId":"m"}`, `{"messageId":"","userId":"u"}`, `{"messageId":"` + strings.Repeat("m", 65) + `","userId":"u"}`,
		`{"messageId":"m","userId":"` + strings.Repeat("u", 257) + `"}`, `{"messageId":"m","userId":"u","x":1}`,
	} {
		list = append(list, ask{call: "POST /v1/images", body: faulty, status: 400, faulty: true})
	}
	return list
}()

var exportAsks = func() (list []ask) {
	list = []ask{
		{call: "GET /v1/exports", status: 200},
		{call: "GET /v1/exports?limit=0", status: 400, faulty: true},
		{call: "GET /v1/exports?limit=201", status: 400, faulty: true},
		{call: "GET /v1/exports?state=asleep", status: 400, faulty: true},
		{call: "GET /v1/exports?page=2", status: 400}, // OpenAPI does not close queries
		{call: "POST /v1/exports", body: strings.Repeat(" ", 7<<20), status: 413, faulty: true},
	}
	for _, call := range []string{"GET /v1/exports/exp_nope", "GET /v1/exports/exp_nope/events", "GET /v1/exports/exp_nope/files/a/b.jsonl", "POST /v1/exports/exp_nope/cancel", "POST /v1/exports/exp_nope/resume"} {
		list = append(list, ask{call: call, status: 404})
	}
	const good = `{"name":"n","characters":["c"],"users":["u"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`
	with := func(old, now string) string { return strings.Replace(good, old, now, 1) }
	more := func(field string) string { return with(`{`, `{`+field+`,`) }
	for _, faulty := range []string{
		`{}`, with(`"n"`, `""`), with(`"n"`, `"a b"`), with(`"n"`, `"..n"`), with(`"n"`, `"n."`), with(`"n"`, `"`+strings.Repeat("n", 65)+`"`), with(`["c"]`, `[]`), with(`["u"]`, `["u","u"]`), with(`["u"]`, `[""]`),
		with(`["u"]`, `["`+strings.Repeat("u", 257)+`"]`), with(`"2024-05-01T00:00:00Z"`, `"yesterday"`), with(`,"to":"2024-05-02T00:00:00Z"`, ""), more(`"format":"xml"`), more(`"compression":"rar"`),
		more(`"sink":{"type":"tape"}`), more(`"sink":{"other":1}`), more(`"other":1`), more(`"filter":{"other":1}`), more(`"filter":{"messageTypes":[""]}`), more(`"watermark":{"name":"w","lag":"soon"}`), more(`"watermark":{}`),
	} {
		list = append(list, ask{call: "POST /v1/exports", body: faulty, status: 400, faulty: true})
	}
	for _, told := range []string{with("05-02", "04-02"), more(`"sink":{"path":"../up"}`), more(`"sink":{"type":"s3"}`), more(`"watermark":{"name":"w"}`), more(`"filter":{"minRating":2,"maxRating":1}`)} {
		list = append(list, ask{call: "POST /v1/exports", body: told, status: 400})
	}
	return list
}()

var xingchenAsks = func() (list []ask) {
	const api, message = "/v2/api/", "a4d8ae9dbcd54d9196cd20afeb7a3059"
	const profile = `"name":"新来的","introduction":"介绍","basicInformation":"b","openingLine":"o"`
	streamed := []string{"X-AcA-SSE", "enable"}
	list = []ask{
		{call: "POST " + send, body: chat(xiaowan, "c1", "你今年多大"), status: 200},
		{call: "POST " + send, body: chat(xiaowan, "c2", "你今年多大"), status: 200, header: streamed},
		{call: "POST " + send, body: strings.Replace(chat(xiaowan, "c3", "写60字"), `{"input"`, `{"parameters":{"incrementalOutput":true},"input"`, 1), status: 200, header: []string{"x-fag-servicename", "aca-chat-send-sse"}},
		{call: "POST " + send, body: chat("nobody", "c4", "x"), status: 404},
		{call: "POST " + send, body: chat("nobody", "c5", "x"), status: 404, header: streamed},
		{call: "POST " + send, body: `{"input":{}}`, status: 400, faulty: true},
		{call: "POST " + send, body: `{"input":{"aca":{"botProfile":{},"userProfile":{"userId":""}}}}`, status: 400, faulty: true},
		{call: "POST " + send, body: `{oops`, status: 400, faulty: true},
		{call: "POST " + send, body: strings.Repeat(" ", 7<<20), status: 413, faulty: true},
		{call: "POST " + api + "groupchat/send", body: groupChat, status: 200},
		{call: "POST " + api + "groupchat/send", body: groupChat, status: 200, header: streamed},
		{call: "POST " + api + "groupchat/send", body: `{"input":{"messages":[],"aca":{"userProfile":{}}}}`, status: 400, faulty: true},
		{call: "POST " + api + "chat/generate", body: chat(xiaowan, "c1", "你今年多大"), status: 400},
		{call: "POST " + api + "chat/stop", body: `{"sessionId":"s"}`, status: 200},
		{call: "POST " + api + "chat/reset", body: `{"characterId":"` + xiaowan + `","userId":"c1"}`, status: 200},
		{call: "POST " + api + "chat/reset", body: `{}`, status: 400, faulty: true},
		{call: "POST " + api + "chat/message/histories", body: `{"where":{"characterId":"` + xiaowan + `","bizUserId":"1234567","startTime":1689783510026},"pageSize":20,"orderBy":["gmtCreate desc"]}`, status: 200},
		{call: "POST " + api + "chat/message/histories", body: `{"where":{}}`, status: 400, faulty: true},
		{call: "POST " + api + "chat/rating", body: `{"messageId":"` + message + `","rating":5}`, status: 200},
		{call: "POST " + api + "chat/rating", body: `{"messageId":"` + message + `","rating":6}`, status: 400, faulty: true},
		{call: "POST " + api + "chat/rating", body: `{"messageId":"nobody","rating":5}`, status: 404},
		{call: "POST " + api + "chat/reminder", body: `{"characterId":"` + xiaowan + `","bizUserId":"c1","content":"在吗"}`, status: 200},
		{call: "POST " + api + "chat/reminder", body: `{}`, status: 400, faulty: true},
		{call: "GET " + api + "chat/polling/image?messageId=8b9df7b9-f15b-4377-9e41-9a3e75ca6af7&userId=1234567", status: 200},
		{call: "GET " + api + "chat/polling/image?messageId=nope&userId=1", status: 404},
		{call: "POST " + api + "character/create", body: `{` + profile + `,"permConfig":{"isPublic":0,"allowApi":1,"allowChat":1}}`, status: 200},
		{call: "POST " + api + "character/create", body: `{` + profile + `}`, status: 409},
		{call: "POST " + api + "character/update", body: `{"characterId":"` + xiaowan + `","name":"小婉儿","introduction":"邻家女孩","basicInformation":"b","openingLine":"o","version":1}`, status: 200},
		{call: "POST " + api + "character/update", body: `{"characterId":"nobody",` + profile + `}`, status: 404},
		{call: "GET " + api + "character/details?characterId=" + xiaowan, status: 200},
		{call: "GET " + api + "character/details?characterId=9e8d7c6b5a4f4e3d8c2b1a0f9e8d7c6b", status: 403},
		{call: "GET " + api + "character/details", status: 400, faulty: true},
		{call: "GET " + api + "character/details?characterId=x&version=new", status: 400, faulty: true},
		{call: "POST " + api + "character/search", body: `{"where":{"scope":"my"},"orderBy":["gmtModified desc"],"pageNum":1,"pageSize":10}`, status: 200},
		{call: "POST " + api + "character/delete", body: `{"characterId":"64b5ffed4e8d45fa8de91fe217290233"}`, status: 200},
		{call: "POST " + api + "character/delete?characterId=64b5ffed4e8d45fa8de91fe217290233", body: `{}`, status: 404},
	}
	for _, faulty := range []string{
		`{}`, strings.Replace("{"+profile+"}", "新来的", strings.Repeat("名", 21), 1), strings.Replace("{"+profile+"}", "介绍", strings.Repeat("名", 31), 1), strings.Replace("{"+profile+"}", `"o"`, `""`, 1),
		"{" + profile + `,"permConfig":{"isPublic":1}}`, "{" + profile + `,"permConfig":{"isPublic":2,"allowApi":0,"allowChat":0}}`, "{" + profile + `,"type":"robot"}`, "{" + profile + `,"roleTypes":"三国"}`,
		"{" + profile + `,"advancedConfig":{"platformPlugins":[{"enabled":true}]}}`, "{" + profile + `,"advancedConfig":{"longTermMemories":[{"memoryType":"all"}]}}`,
	} {
		list = append(list, ask{call: "POST " + api + "character/create", body: faulty, status: 400, faulty: true})
	}
	for _, faulty := range []string{`{"where":{"scope":"all"}}`, `{"pageSize":0}`, `{"pageSize":51}`, `{"pageNum":-1}`, `{"orderBy":["name asc"]}`, `{"orderBy":["gmtCreate up"]}`, `{"orderBy":"gmtCreate"}`} {
		list = append(list, ask{call: "POST " + api + "character/search", body: faulty, status: 400, faulty: true})
	}
	for call, faulty := range map[string]string{"update": `{}`, "createOrUpdateVersion": `{"characterId":"c"}`, "delete": `{"characterId":""}`} {
		list = append(list, ask{call: "POST " + api + "character/" + call, body: faulty, status: 400, faulty: true})
	}
	return append(
		list,
		ask{call: "POST " + api + "character/create", body: `{` + strings.Replace(profile, "新来的", "另一位", 1) + `,"avatar":{"fileUrl":"http://127.0.0.1/a.png"}}`, status: 400},
		ask{call: "POST " + api + "character/create", body: `{` + strings.Replace(profile, "新来的", "第三位", 1) + `,"advancedConfig":{"isRealInfo":true}}`, status: 400},
	)
}()

const groupChat = `{"input":{"messages":[{"name":"小明","role":"user","content":"你们好"}],"aca":{"botProfiles":[{"name":"甲","content":"你是甲"},{"name":"乙","content":"你是乙"}],
	"replySetting":{"botName":"甲"},"userProfile":{"userId":"g1","userName":"小明"},"groupInfo":{"name":"群","description":"群聊"}}},"model":"xingchen-plus-v2"}`
