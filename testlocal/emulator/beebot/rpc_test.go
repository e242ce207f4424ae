package beebot_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/fault"
)

const stsToken = "sts-token-for-tests"

func accounts() []beebot.Account {
	return []beebot.Account{
		{AccessKeyID: beebot.DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(beebot.DefaultAccessKeySecret)},
		{AccessKeyID: "LTAI-off", AccessKeySecret: sign.NewSecret(beebot.DefaultAccessKeySecret), Inactive: true},
		{
			AccessKeyID: "STS.local", AccessKeySecret: sign.NewSecret(beebot.DefaultAccessKeySecret),
			SecurityToken: sign.NewSecret(stsToken), Expires: start.Add(time.Hour),
		},
	}
}

func TestGatewayRefusals(t *testing.T) {
	t.Parallel()
	unset := func(name string) func(*bench, map[string]string) {
		return func(_ *bench, p map[string]string) { delete(p, name) }
	}
	set := func(pairs ...string) func(*bench, map[string]string) {
		return func(_ *bench, p map[string]string) {
			for i := 0; i < len(pairs); i += 2 {
				p[pairs[i]] = pairs[i+1]
			}
		}
	}
	at := func(offset time.Duration) func(*bench, map[string]string) {
		return set("Timestamp", start.Add(offset).Format("2006-01-02T15:04:05Z"))
	}
	for _, row := range []struct {
		name   string
		change func(*bench, map[string]string)
		status int
		code   string
	}{
		{"no action", unset("Action"), 400, "MissingAction"},
		{"no version", unset("Version"), 400, "MissingVersion"},
		{"no key id", unset("AccessKeyId"), 400, "MissingAccessKeyId"},
		{"no method", unset("SignatureMethod"), 400, "MissingSignatureMethod"},
		{"no signature version", unset("SignatureVersion"), 400, "MissingSignatureVersion"},
		{"no nonce", unset("SignatureNonce"), 400, "MissingSignatureNonce"},
		{"no timestamp", unset("Timestamp"), 400, "MissingTimestamp"},
		{"unknown action", set("Action", "Chatter"), 404, "InvalidApi.NotFound"},
		{"unknown version", set("Version", "2017-10-11"), 400, "400"},
		{"unknown format", set("Format", "YAML"), 400, "InvalidParameter.Format"},
		{"XML is answered as JSON", set("Format", "XML"), 200, ""},
		{"unknown key id", set("AccessKeyId", "LTAI-nobody"), 404, "InvalidAccessKeyId.NotFound"},
		{"disabled key", set("AccessKeyId", "LTAI-off"), 400, "InvalidAccessKeyId.Inactive"},
		{"other method", set("SignatureMethod", "HMAC-SHA256"), 400, "InvalidSignatureMethod"},
		{"bearer token", set("SignatureType", "BEARERTOKEN"), 400, "InvalidSignatureMethod"},
		{"other signature version", set("SignatureVersion", "2.0"), 400, "IncompleteSignature"},
		{"no time", set("Timestamp", "yesterday"), 400, "InvalidTimeStamp.Format"},
		{"time with zone", set("Timestamp", "2024-05-20T16:00:00+08:00"), 400, "InvalidTimeStamp.Format"},
		{"slow clock", at(-15*time.Minute - time.Second), 400, "InvalidTimeStamp.Expired"},
		{"fast clock", at(15*time.Minute + time.Second), 400, "InvalidTimeStamp.Expired"},
		{"clock just right", at(-15 * time.Minute), 200, ""},
		{"token with a lasting key", set("SecurityToken", "x"), 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		{"STS", set("AccessKeyId", "STS.local", "SecurityToken", stsToken), 200, ""},
		{"STS without token", set("AccessKeyId", "STS.local"), 400, "MissingSecurityToken"},
		{"STS with another token", set("AccessKeyId", "STS.local", "SecurityToken", "x"), 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		{"STS expired", func(b *bench, p map[string]string) {
			b.clock.advance(time.Hour)
			maps.Copy(p, b.params(p["Action"], "AccessKeyId", "STS.local", "SecurityToken", stsToken))
		}, 400, "InvalidSecurityToken.Expired"},
		{"unknown space", set("AgentKey", "f6b6af483_p_beebot_public"), 403, "Forbidden"},
		{"named default space", set("AgentKey", beebot.DefaultAgentKey), 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(cfg *beebot.Config) { cfg.Accounts = accounts() })
			params := b.params("ApplyForStreamAccessToken")
			row.change(b, params)
			got := b.send(params)
			answer := got.decode(t)
			code, _ := answer["Code"].(string)
			if got.status != row.status || code != row.code {
				t.Fatalf("got %d %q, want %d %q: %s", got.status, code, row.status, row.code, got.body)
			}
			if id, _ := answer["RequestId"].(string); len(id) != 36 || got.header.Get("x-acs-request-id") != id {
				t.Errorf("request id %q, in the header %q", id, got.header.Get("x-acs-request-id"))
			}
			if kind := got.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
				t.Errorf("content type %q", kind)
			}
			if row.code != "" && (answer["HostId"] == "" || answer["Message"] == "" || answer["Recommend"] == "") {
				t.Errorf("error document misses a member: %s", got.body)
			}
		})
	}
}

func TestWrongSecretTellsTheStringToSign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	params := b.params("Chat", "InstanceId", beebot.DefaultInstanceID, "Utterance", "今天 天气*怎么样~?")
	params["Signature"] = signV1(http.MethodPost, "wrong", params)
	got := b.do(b.request(http.MethodPost, "/?"+values(params).Encode(), "", nil))
	want := "Specified signature is not matched with our calculation. server string to sign is:" + stringToSign(http.MethodPost, params)
	if answer := got.decode(t); got.status != http.StatusBadRequest || answer["Code"] != "SignatureDoesNotMatch" || answer["Message"] != want {
		t.Errorf("got %d %s\nwant message %s", got.status, got.body, want)
	}
}

func TestNonceIsRememberedForTheWindow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	params := b.params("ApplyForStreamAccessToken")
	if got := b.send(params); got.status != http.StatusOK {
		t.Fatalf("first: %s", got.body)
	}
	if got := b.send(params); got.decode(t)["Code"] != "SignatureNonceUsed" || got.status != http.StatusBadRequest {
		t.Errorf("replay: %d %s", got.status, got.body)
	}
	b.clock.advance(14 * time.Minute)
	params["Timestamp"] = b.clock.now().Format("2006-01-02T15:04:05Z")
	if got := b.send(params); got.decode(t)["Code"] != "SignatureNonceUsed" {
		t.Errorf("14 minutes later: %d %s", got.status, got.body)
	}
	for range 2 {
		b.clock.advance(time.Hour)
		b.apply()
	}
	params["Timestamp"] = b.clock.now().Format("2006-01-02T15:04:05Z")
	if got := b.send(params); got.status != http.StatusOK {
		t.Errorf("two hours later: %d %s", got.status, got.body)
	}
}

func TestUnsignedNonceIsNotBurnt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	params := b.params("ApplyForStreamAccessToken")
	params["Signature"] = "bm90aGluZw=="
	b.do(b.request(http.MethodPost, "/?"+values(params).Encode(), "", nil))
	if got := b.send(params); got.status != http.StatusOK {
		t.Errorf("a forged call used the nonce up: %s", got.body)
	}
}

func TestGatewayTransport(t *testing.T) {
	t.Parallel()
	sent := func(b *bench, method string) string {
		params := b.params("ApplyForStreamAccessToken")
		params["Signature"] = signV1(method, beebot.DefaultAccessKeySecret, params)
		return values(params).Encode()
	}
	form := "application/x-www-form-urlencoded"
	for _, row := range []struct {
		name    string
		request func(*bench) *http.Request
		status  int
		code    any
	}{
		{"GET", func(b *bench) *http.Request { return b.request("GET", "/?"+sent(b, "GET"), "", nil) }, 200, nil},
		{"POST, form", func(b *bench) *http.Request { return b.request("POST", "/", form, []byte(sent(b, "POST"))) }, 200, nil},
		{"half query, half form", func(b *bench) *http.Request {
			query, rest, _ := strings.Cut(sent(b, "POST"), "&")
			return b.request("POST", "/?"+query, form+"; charset=utf-8", []byte(rest))
		}, 200, nil},
		{"method is signed", func(b *bench) *http.Request { return b.request("POST", "/?"+sent(b, "GET"), "", nil) }, 400, "SignatureDoesNotMatch"},
		{"PUT", func(b *bench) *http.Request { return b.request("PUT", "/?"+sent(b, "PUT"), "", nil) }, 400, "UnsupportedHTTPMethod"},
		{"percent for ampersand", func(b *bench) *http.Request {
			return b.request("GET", "/?"+strings.Replace(sent(b, "GET"), "&", "%S", 1), "", nil)
		}, 400, "InvalidParameter"},
		{"bad escape in the form", func(b *bench) *http.Request { return b.request("POST", "/", form, []byte("Action=%zz")) }, 400, "InvalidParameter"},
		{"no UTF-8", func(b *bench) *http.Request { return b.request("GET", "/?Action=%ff", "", nil) }, 400, "InvalidParameter"},
		{"large body", func(b *bench) *http.Request {
			return b.request("POST", "/", form, bytes.Repeat([]byte("a"), 2<<20))
		}, 400, "InvalidParameter"},
		{"nothing", func(b *bench) *http.Request { return b.request("GET", "/", "", nil) }, 400, "MissingAction"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if got := b.do(row.request(b)); got.status != row.status || got.decode(t)["Code"] != row.code {
				t.Errorf("got %d %s, want %d %v", got.status, got.body, row.status, row.code)
			}
		})
	}
}

func TestACS3(t *testing.T) {
	t.Parallel()
	type change func(b *bench, req *http.Request, headers, query map[string]string)
	none := func(*bench, *http.Request, map[string]string, map[string]string) {}
	for _, row := range []struct {
		name   string
		before change // signing
		after  change
		status int
		code   any
	}{
		{"plain", none, none, 200, nil},
		{"with agent key and extra header", func(_ *bench, _ *http.Request, h, q map[string]string) {
			q["AgentKey"] = "local"
			h["x-acs-credentials-provider"] = "static_ak"
		}, none, 200, nil},
		{"without nonce", func(_ *bench, _ *http.Request, h, _ map[string]string) { delete(h, "x-acs-signature-nonce") }, none, 200, nil},
		{"STS", func(_ *bench, _ *http.Request, h, _ map[string]string) {
			h["x-acs-accesskey-id"], h["x-acs-security-token"] = "STS.local", stsToken
		}, none, 200, nil},
		{"STS without token", func(_ *bench, _ *http.Request, h, _ map[string]string) { h["x-acs-accesskey-id"] = "STS.local" }, none, 400, "MissingSecurityToken"},
		{"no action", func(_ *bench, _ *http.Request, h, _ map[string]string) { delete(h, "x-acs-action") }, none, 400, "MissingAction"},
		{"no version", func(_ *bench, _ *http.Request, h, _ map[string]string) { delete(h, "x-acs-version") }, none, 400, "MissingVersion"},
		{"no date", func(_ *bench, _ *http.Request, h, _ map[string]string) { delete(h, "x-acs-date") }, none, 400, "MissingTimestamp"},
		{"no content hash", func(_ *bench, _ *http.Request, h, _ map[string]string) { delete(h, "x-acs-content-sha256") }, none, 400, "MissingContentSha256"},
		{"unknown action", func(_ *bench, _ *http.Request, h, _ map[string]string) { h["x-acs-action"] = "X" }, none, 404, "InvalidApi.NotFound"},
		{"unknown version", func(_ *bench, _ *http.Request, h, _ map[string]string) { h["x-acs-version"] = "1" }, none, 400, "400"},
		{"skewed clock", func(b *bench, _ *http.Request, _, _ map[string]string) { b.clock.advance(16 * time.Minute) }, none, 400, "InvalidTimeStamp.Expired"},
		{"wrong content hash", func(_ *bench, _ *http.Request, h, _ map[string]string) {
			h["x-acs-content-sha256"] = digest([]byte("x"))
		}, none, 400, "SignatureDoesNotMatch"},
		{"query changed", none, func(_ *bench, r *http.Request, _, _ map[string]string) { r.URL.RawQuery = "AgentKey=local" }, 400, "SignatureDoesNotMatch"},
		{"no authorization", none, func(_ *bench, r *http.Request, _, _ map[string]string) { r.Header.Del("Authorization") }, 400, "MissingAccessKeyId"},
		{"other algorithm", none, func(_ *bench, r *http.Request, _, _ map[string]string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "SHA256", "SM3", 1))
		}, 400, "MissingAccessKeyId"},
		{"no signature", none, func(_ *bench, r *http.Request, _, _ map[string]string) {
			text, _, _ := strings.Cut(r.Header.Get("Authorization"), ",Signature=")
			r.Header.Set("Authorization", text)
		}, 400, "MissingSignature"},
		{"host not signed", none, func(_ *bench, r *http.Request, _, _ map[string]string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}, 400, "IncompleteSignature"},
		{"host rewritten", none, func(_ *bench, r *http.Request, _, _ map[string]string) { r.Host = "elsewhere.example" }, 400, "SignatureDoesNotMatch"},
		{"unknown key", none, func(_ *bench, r *http.Request, _, _ map[string]string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "LTAI-local", "LTAI-nobody", 1))
		}, 404, "InvalidAccessKeyId.NotFound"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(cfg *beebot.Config) { cfg.Accounts = accounts() })
			headers := map[string]string{
				"x-acs-action": "ApplyForStreamAccessToken", "x-acs-version": beebot.Version,
				"x-acs-date": start.Format("2006-01-02T15:04:05Z"), "x-acs-signature-nonce": "n1", "x-acs-content-sha256": digest(nil),
			}
			query := map[string]string{}
			req := b.request(http.MethodPost, "/", "", nil)
			row.before(b, req, headers, query)
			req.URL.RawQuery = values(query).Encode()
			keyID := headers["x-acs-accesskey-id"]
			if keyID == "" {
				keyID = beebot.DefaultAccessKeyID
			}
			acs3(req, keyID, beebot.DefaultAccessKeySecret, headers, query, nil)
			row.after(b, req, headers, query)
			if got := b.do(req); got.status != row.status || got.decode(t)["Code"] != row.code {
				t.Errorf("got %d %s, want %d %v", got.status, got.body, row.status, row.code)
			}
		})
	}
}

func TestACS3ReplayAndMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	headers := map[string]string{
		"x-acs-action": "Chat", "x-acs-version": beebot.Version, "content-type": "application/x-www-form-urlencoded",
		"x-acs-date": start.Format("2006-01-02T15:04:05Z"), "x-acs-signature-nonce": "n1",
	}
	payload := []byte("InstanceId=" + beebot.DefaultInstanceID + "&Utterance=" + "%E4%BD%A0%E5%A5%BD")
	headers["x-acs-content-sha256"] = digest(payload)
	call := func(secret string) reply {
		req := b.request(http.MethodPost, "/", "", payload)
		acs3(req, beebot.DefaultAccessKeyID, secret, headers, nil, payload)
		return b.do(req)
	}
	wrong := call("wrong").decode(t)
	prefix := "Specified signature is not matched with our calculation. server string to sign is:ACS3-HMAC-SHA256\n"
	if message, _ := wrong["Message"].(string); wrong["Code"] != "SignatureDoesNotMatch" || len(message) != len(prefix)+64 || !strings.HasPrefix(message, prefix) {
		t.Errorf("wrong secret: %v", wrong)
	}
	if got := call(beebot.DefaultAccessKeySecret); got.status != http.StatusOK {
		t.Errorf("form parameters under a signed body: %s", got.body)
	}
	if got := call(beebot.DefaultAccessKeySecret).decode(t); got["Code"] != "SignatureNonceUsed" {
		t.Errorf("replay: %v", got)
	}
}

func TestAccessToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.send(b.params("ApplyForStreamAccessToken")).decode(t)
	want := reply{body: fixture(t, "beyond-apply-token-response.json")}.decode(t)
	if diff := cmp.Diff(shape(want), shape(got)); diff != "" {
		t.Errorf("shape (-documented +emulator)\n%s", diff)
	}
	for name, length := range map[string]int{"AccessToken": 32, "ChannelId": 36, "StreamSecret": 36, "RequestId": 36} {
		if text, _ := got[name].(string); len(text) != length {
			t.Errorf("%s = %q, want %d characters", name, got[name], length)
		}
	}
	if again := b.apply(); again.AccessToken == got["AccessToken"] || again.StreamSecret == got["StreamSecret"] {
		t.Error("two calls gave the same credentials")
	}
}

func TestThrottling(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *beebot.Config) { cfg.Assume.RequestsPerSecond = 2 })
	b.apply()
	b.apply()
	got := b.send(b.params("ApplyForStreamAccessToken"))
	if got.decode(t)["Code"] != "Throttling.User" || !strings.HasPrefix(got.header.Get("x-ratelimit-user"), "TimeLeft:") {
		t.Errorf("third call: %d %s %v", got.status, got.body, got.header)
	}
	b.clock.advance(time.Second)
	b.apply()
}

func TestGatewayFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		fault  fault.Name
		status int
		code   string
	}{
		{fault.Throttle, 429, "Throttling.User"},
		{fault.ThrottleBare, 429, "Throttling.User"},
		{fault.InternalError, 500, "InternalError"},
		{fault.BadGateway, 502, "ServiceUnavailable"},
		{fault.Unavailable, 503, "ServiceUnavailable"},
	} {
		t.Run(string(row.fault), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if err := b.faults.Set(fault.Rule{Route: "/Chat", Key: beebot.DefaultAccessKeyID, User: "u1", Fault: row.fault, Times: 1}); err != nil {
				t.Fatal(err)
			}
			b.apply() // another route
			if got := b.ask("你好", "SenderId", "u2"); got.status != http.StatusOK {
				t.Errorf("another user was struck: %s", got.body)
			}
			if got := b.ask("你好", "SenderId", "u1"); got.status != row.status || got.decode(t)["Code"] != row.code {
				t.Errorf("got %d %s", got.status, got.body)
			}
			if got := b.ask("你好", "SenderId", "u1"); got.status != http.StatusOK {
				t.Errorf("struck twice: %s", got.body)
			}
		})
	}
	t.Run("malformed", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := b.faults.Set(fault.Rule{Route: "/Chat", Fault: fault.MalformedJSON}); err != nil {
			t.Fatal(err)
		}
		if got := b.ask("你好"); got.status != http.StatusOK || bytes.HasSuffix(got.body, []byte("}")) {
			t.Errorf("got %d %s", got.status, got.body)
		}
	})
	t.Run("refused connection", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := b.faults.Set(fault.Rule{Fault: fault.Refuse}); err != nil {
			t.Fatal(err)
		}
		resp, err := b.http.Client().Do(b.request(http.MethodGet, "/", "", nil))
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("answered with %s", resp.Status)
		}
	})
}

func TestRecords(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ask("你好", "SenderId", "u1")
	b.talk(b.say("你有什么技能?"))
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []string
	for _, r := range b.records {
		got = append(got, fmt.Sprintf("%s %s %s %s %d %q %d", r.Path, r.Action, r.AccountID, r.Instance, r.Status, r.Code, r.Frames))
	}
	want := []string{
		`/ Chat LTAI-local chatbot-cn-local 200 "" 0`,
		`/ ApplyForStreamAccessToken LTAI-local  200 "" 0`,
		`/sse/paas4Json TongyiBeebotChat LTAI-local chatbot-cn-local 200 "" 12`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
}
