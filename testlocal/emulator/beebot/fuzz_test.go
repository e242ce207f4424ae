package beebot_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/beebot"
)

func newServer(tb testing.TB) *beebot.Server {
	tb.Helper()
	server, err := beebot.New(beebot.Config{Now: func() time.Time { return start }})
	if err != nil {
		tb.Fatal(err)
	}
	return server
}

// grant applies for stream credentials without a network.
func grant(tb testing.TB, server *beebot.Server, nonce string) access {
	tb.Helper()
	b := &bench{t: tb, clock: &clock{}}
	params := b.params("ApplyForStreamAccessToken", "SignatureNonce", nonce)
	params["Signature"] = signV1(http.MethodPost, beebot.DefaultAccessKeySecret, params)
	recorder := httptest.NewRecorder()
	server.ServeRPC(recorder, httptest.NewRequest(http.MethodPost, "/?"+values(params).Encode(), nil))
	var a access
	if err := json.Unmarshal(recorder.Body.Bytes(), &a); err != nil || a.AccessToken == "" {
		tb.Fatalf("apply: %v %s", err, recorder.Body)
	}
	return a
}

// FuzzRPC throws queries, forms and headers at the gateway. It must answer JSON, whatever comes.
func FuzzRPC(f *testing.F) {
	f.Add("POST", "Action=Chat&Version=2022-04-08", "AccessKeyId=LTAI-local", "", "", "")
	f.Add("GET", "Action=%zz&%", "", "ACS3-HMAC-SHA256 Credential=LTAI-local,SignedHeaders=host;x-acs-date,Signature=00", "Chat", "2024-05-20T08:00:00Z")
	f.Add("POST", "", "a=b;c=d", "ACS3-", "ApplyForStreamAccessToken", "x")
	f.Add("PATCH", "SignatureMethod=HMAC-SHA1&Timestamp=0000-00-00T00:00:00Z&a=1&a=2", "\xff=\xfe", "ACS3-HMAC-SHA256 ,,=,;", "", "")
	f.Fuzz(func(t *testing.T, method, query, form, authorization, action, date string) {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form))
		req.Method, req.URL.RawQuery = method, query
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range map[string]string{
			"Authorization": authorization, "x-acs-action": action, "x-acs-date": date, "x-acs-version": beebot.Version,
			"x-acs-content-sha256": digest([]byte(form)),
		} {
			if authorization != "" {
				req.Header.Set(name, value)
			}
		}
		recorder := httptest.NewRecorder()
		newServer(t).ServeRPC(recorder, req)
		if !json.Valid(recorder.Body.Bytes()) || recorder.Code < 200 {
			t.Errorf("%d %q", recorder.Code, recorder.Body)
		}
	})
}

// FuzzSignedChat signs whatever parameters it is given, so that they come through to Chat.
func FuzzSignedChat(f *testing.F) {
	f.Add("你好", "", "", "", "")
	f.Add("查天气", "s1", `{"a":1}`, `["p"]`, "735900")
	f.Add("\xff", strings.Repeat("s", 70), "[", "{", "x")
	f.Add("{utterance}{city}", "\x00", "null", "null", "")
	f.Fuzz(func(t *testing.T, utterance, session, vendor, perspective, knowledge string) {
		b := &bench{t: t, clock: &clock{}}
		params := b.params("Chat", "InstanceId", beebot.DefaultInstanceID, "Utterance", utterance, "SessionId", session,
			"VendorParam", vendor, "Perspective", perspective, "KnowledgeId", knowledge)
		params["Signature"] = signV1(http.MethodPost, beebot.DefaultAccessKeySecret, params)
		recorder := httptest.NewRecorder()
		newServer(t).ServeRPC(recorder, httptest.NewRequest(http.MethodPost, "/?"+values(params).Encode(), nil))
		if !json.Valid(recorder.Body.Bytes()) || strings.Contains(recorder.Body.String(), "SignatureDoesNotMatch") {
			t.Errorf("%d %q", recorder.Code, recorder.Body)
		}
	})
}

// FuzzStreamPath throws paths at the stream.
func FuzzStreamPath(f *testing.F) {
	for _, path := range []string{"", "/", "a/b/c/d", "a/b/c/d/e", "%2F/%00/%ff/1", "a/b/c/99999999999999999999"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
		req.URL.Path, req.URL.RawPath = beebot.StreamPath+path, ""
		recorder := httptest.NewRecorder()
		newServer(t).ServeStream(recorder, req)
		if recorder.Code != http.StatusOK && recorder.Code != http.StatusNotFound {
			t.Errorf("%d %q", recorder.Code, recorder.Body)
		}
	})
}

// FuzzStreamBody throws bodies and inner documents at a stream with good credentials. Every
// answer is frames of JSON, the last of which ends the stream or says no.
func FuzzStreamBody(f *testing.F) {
	f.Add([]byte("{}"), true)
	f.Add([]byte(`{"InstanceId":"chatbot-cn-local","Utterance":"你有什么技能?","SessionId":"\"\\"}`), true)
	f.Add([]byte(`{"InstanceId":"chatbot-cn-local","Utterance":"随便\u2028\ud800","Perspective":[null]}`), true)
	f.Add([]byte(`{"messageId":"m","action":"TongyiBeebotChat","version":"2022-04-08","data":[null]}`), false)
	f.Add([]byte("\xef\xbb\xbf{"), false)
	f.Fuzz(func(t *testing.T, document []byte, inner bool) {
		server := newServer(t)
		a := grant(t, server, "1")
		if inner {
			text, _ := json.Marshal(string(document))
			document = []byte(`{"messageId":"m","action":"TongyiBeebotChat","version":"2022-04-08","data":[{"type":"JSON_TEXT","value":` + string(text) + `}]}`)
		}
		path := beebot.StreamPath + a.AccessToken + "/" + a.ChannelID + "/" + sign.Stream(a.StreamSecret, "1") + "/1"
		recorder := httptest.NewRecorder()
		server.ServeStream(recorder, httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(document))))
		checkFrames(t, recorder.Body.String())
	})
}

func checkFrames(t *testing.T, stream string) {
	t.Helper()
	frames := strings.Split(strings.TrimSuffix(stream, "\n\n"), "\n\n")
	for i, text := range frames {
		var f frame
		data, found := strings.CutPrefix(text, "data:")
		if err := json.Unmarshal([]byte(data), &f); err != nil || !found || strings.Contains(text, "\n") {
			t.Fatalf("frame %d: %v %q", i, err, text)
		}
		if f.Success {
			if err := json.Unmarshal([]byte(f.Data[0].Value), &f.value); err != nil {
				t.Fatalf("frame %d: value: %v %q", i, err, text)
			}
		}
		if over := !f.Success || f.value["StreamEnd"] == true; over != (i == len(frames)-1) {
			t.Fatalf("frame %d of %d: %q", i+1, len(frames), text)
		}
	}
}

// FuzzBots reads definitions; what it accepts, a server must accept or refuse in words.
func FuzzBots(f *testing.F) {
	f.Add("bots: [{id: a}]", "你好")
	f.Add("bots: [{id: a, dialogues: [{name: d, intent: i, reply: r, phrases: ['{s}'], slots: [{name: s, ask: q}]}]}]", "d")
	f.Add("bots: [{id: a, clarify: [{phrases: [p], items: [{knowledge: x}]}]}]", "p")
	f.Fuzz(func(t *testing.T, text, utterance string) {
		bots, err := beebot.ParseBots(strings.NewReader(text))
		if err != nil {
			return
		}
		server, err := beebot.New(beebot.Config{Bots: bots, Now: func() time.Time { return start }})
		if err != nil {
			return
		}
		b := &bench{t: t, clock: &clock{}}
		params := b.params("Chat", "InstanceId", bots[0].ID, "Utterance", utterance)
		params["Signature"] = signV1(http.MethodPost, beebot.DefaultAccessKeySecret, params)
		recorder := httptest.NewRecorder()
		server.ServeRPC(recorder, httptest.NewRequest(http.MethodPost, "/?"+values(params).Encode(), nil))
		if !json.Valid(recorder.Body.Bytes()) {
			t.Errorf("%q", recorder.Body)
		}
	})
}
