package beebot_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"xinghe/testlocal/emulator/beebot"
)

// TestDocumentedRequests sends every request that the pages print, over raw HTTP and with
// nothing changed but host, credentials and robot, and what is wrong on the page mended.
func TestDocumentedRequests(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		mended string
		send   func(t *testing.T, b *bench) []byte
		want   string
	}{
		{"quick start: ApplyForStreamAccessToken", "", sendQuickStartApply, `"StreamSecret":"`},
		{"quick start: stream", "", func(t *testing.T, b *bench) []byte {
			t.Helper()
			request := fixture(t, "beebot-stream-request-quickstart.json")
			return sendStream(b, bytes.ReplaceAll(request, []byte("chatbot-cn-Aei********"), []byte(beebot.DefaultInstanceID)))
		}, "玩游戏等。"},
		{"quick start: stream as json.dumps writes it", "", func(_ *testing.T, b *bench) []byte {
			return sendStream(b, []byte(`{"messageId": "6bd684db", "action": "TongyiBeebotChat", "version": "2022-04-08", "data": [{"type": "JSON_TEXT", `+
				`"value": "{\"InstanceId\": \"chatbot-cn-local\", \"Utterance\": \"\u4f60\u6709\u4ec0\u4e48\u6280\u80fd?\"}"}]}`))
		}, "玩游戏等。"},
		{"SSE stream page", "quotes of the inner JSON escaped", func(t *testing.T, b *bench) []byte {
			t.Helper()
			request := fixture(t, "beebot-stream-request.json")
			return sendStream(b, bytes.ReplaceAll(request, []byte(`\"xxx\"`), []byte(`\"`+beebot.DefaultInstanceID+`\"`)))
		}, "我来了"},
		{"SSE stream page as printed", "nothing: the page's JSON is refused", func(_ *testing.T, b *bench) []byte {
			return sendStream(b, []byte(`{"messageId":"shdlfjldjfldf","action":"TongyiBeebotChat","version":"2022-04-08",`+
				`"data":[{"type":"JSON_TEXT","value":"{"InstanceId":"xxx","Utterance":"你好"}"}]}`))
		}, `"code":"InvalidParameter"`},
		{"conversation API page", "% before SenderNick, Perspective.1 and Tag is &", func(_ *testing.T, b *bench) []byte {
			params := b.params("Chat", "InstanceId", beebot.DefaultInstanceID, "Utterance", "测试富文本", "SenderId", "visitor",
				"SenderNick", "昵称", "Perspective.1", "FZJBY3raWr", "Tag", "xxxxx")
			params["Signature"] = signV1(http.MethodGet, beebot.DefaultAccessKeySecret, params)
			return b.do(b.request(http.MethodGet, "/?"+values(params).Encode(), "", nil)).body
		}, `"Tag":"xxxxx"`},
		{"conversation API page as printed", "nothing: a lone % is refused", func(_ *testing.T, b *bench) []byte {
			return b.do(b.request(http.MethodGet, "/?Action=Chat&SenderId=visitor%SenderNick=nick", "", nil)).body
		}, `"Code":"InvalidParameter"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if got := row.send(t, b); !strings.Contains(string(got), row.want) {
				t.Errorf("got %s, want %s (mended: %s)", got, row.want, row.mended)
			}
		})
	}
}

// sendQuickStartApply signs by headers, as the OpenAPI client of the quick start does.
func sendQuickStartApply(t *testing.T, b *bench) []byte {
	t.Helper()
	query := map[string]string{"AgentKey": beebot.DefaultAgentKey}
	req := b.request(http.MethodPost, "/?"+values(query).Encode(), "", nil)
	req.Header.Set("Accept", "application/json")
	acs3(req, beebot.DefaultAccessKeyID, beebot.DefaultAccessKeySecret, map[string]string{
		"x-acs-action": "ApplyForStreamAccessToken", "x-acs-version": "2022-04-08", "x-acs-date": start.Format("2006-01-02T15:04:05Z"),
		"x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d", "x-acs-content-sha256": digest(nil),
	}, query, nil)
	body := b.do(req).body
	var a access
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatal(err)
	}
	if frames, err := b.converse(b.path(a), b.say("你好")); err != nil || !ended(frames) {
		t.Errorf("the token does not open a stream: %v", err)
	}
	return body
}

// sendStream returns the bytes of a whole stream.
func sendStream(b *bench, body []byte) []byte {
	return b.do(b.request(http.MethodPost, b.path(b.apply()), "application/json", body)).body
}
