package beebot_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/sign"
	"xinghe/shared/upstream"
)

// percent encodes as RFC 3986 says, byte by byte.
func percent(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-_.~", b) >= 0 {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

// signRPC computes the signature of an RPC call from the description in Beebot, signature
// page, without the SDK.
func signRPC(method, secret string, params map[string]string) string {
	var pairs []string
	for name, value := range params {
		if name != "Signature" {
			pairs = append(pairs, percent(name)+"="+percent(value))
		}
	}
	slices.Sort(pairs)
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	_, _ = io.WriteString(mac, method+"&"+percent("/")+"&"+percent(strings.Join(pairs, "&")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestTheTestsOwnSignature(t *testing.T) {
	t.Parallel()
	vectors := decode[[]struct {
		Name, Method, AccessKeySecret, Signature string
		Params                                   map[string]string
	}](t, fixture(t, "rpc-v1-signature-vectors.json"))
	for _, v := range vectors {
		if got := signRPC(v.Method, v.AccessKeySecret, v.Params); got != v.Signature {
			t.Errorf("%s: got %s, want %s", v.Name, got, v.Signature)
		}
	}
	if len(vectors) < 5 {
		t.Errorf("only %d vectors", len(vectors))
	}
}

// checkRPC verifies what every RPC call must have.
func checkRPC(t *testing.T, r *http.Request) map[string]string {
	t.Helper()
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodPost || r.URL.Path != "/" || len(body) != 0 {
		t.Errorf("%s %s with %d bytes", r.Method, r.URL.Path, len(body))
	}
	params := map[string]string{}
	for name, values := range r.URL.Query() {
		params[name] = values[0]
		if len(values) != 1 {
			t.Errorf("%s stands %d times", name, len(values))
		}
	}
	if want := signRPC(r.Method, keySecret, params); params["Signature"] != want {
		t.Errorf("signature %s, want %s", params["Signature"], want)
	}
	for name, want := range map[string]string{
		"Version": "2022-04-08", "Format": "JSON", "RegionId": "cn-shanghai", "AccessKeyId": keyID, "SecurityToken": stsToken,
		"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "AgentKey": agentKey,
	} {
		if params[name] != want {
			t.Errorf("%s = %q, want %q", name, params[name], want)
		}
	}
	if at, err := time.Parse("2006-01-02T15:04:05Z", params["Timestamp"]); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("Timestamp = %q", params["Timestamp"])
	}
	if len(params["SignatureNonce"]) < 16 {
		t.Errorf("SignatureNonce = %q", params["SignatureNonce"])
	}
	return params
}

func TestNewReportsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := beebot.New(beebot.Config{Endpoint: "chatbot.cn-shanghai.aliyuncs.com", StreamURL: "ftp://h", Timeout: -1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"Endpoint", "StreamURL", "Credentials", "Timeout"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error does not name %s: %v", field, err)
		}
	}
	creds := beebot.StaticCredentials(beebot.Credentials{AccessKeyID: "a"})
	if _, err := beebot.New(beebot.Config{Endpoint: "https://h/path", Credentials: creds}); err == nil || !strings.Contains(err.Error(), "Endpoint") {
		t.Errorf("an endpoint with a path: %v", err)
	}
	if _, err := beebot.New(beebot.Config{Credentials: creds}); err != nil {
		t.Errorf("the defaults do not do: %v", err)
	}
}

func TestApplyForStreamAccessToken(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 5, 20, 8, 0, 0, 0, time.UTC)
	client := setup(t, &service{apply: func(w http.ResponseWriter, r *http.Request) bool {
		answerJSON(string(fixture(t, "beyond-apply-token-response.json")))(w, r)
		return true
	}}, func(cfg *beebot.Config) { cfg.Now = func() time.Time { return now } })
	access, err := client.ApplyForStreamAccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := []string{access.Token.Reveal(), access.ChannelID.Reveal(), access.Secret.Reveal(), access.RequestID}
	want := []string{
		"63ba97b4f18a4a04f715c81e8e643938", "cc9e88c0-4f41-4f1d-a1a9-91a72d2aa27d",
		"cc9e88c0-4f41-4f1d-a1a9-91a72d2aa27d", "736994BD-AA35-4742-88C9-E64BE4BAA14B",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !access.ExpiresAt.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("ExpiresAt = %v", access.ExpiresAt)
	}
	if text := fmt.Sprintf("%+v", access); strings.Contains(text, "63ba97b4") || strings.Contains(text, "cc9e88c0") {
		t.Errorf("credentials print as %s", text)
	}
}

func TestApplyWithAHoleInTheAnswer(t *testing.T) {
	t.Parallel()
	client := setup(t, &service{apply: func(w http.ResponseWriter, r *http.Request) bool {
		answerJSON(`{"RequestId":"r","AccessToken":"a","ChannelId":"c"}`)(w, r)
		return true
	}})
	_, err := client.ApplyForStreamAccessToken(t.Context())
	if _, ok := errors.AsType[*upstream.DecodeError](err); !ok {
		t.Errorf("got %v, want *DecodeError", err)
	}
}

func TestCredentialsAreAskedForWithTheCallersContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	asked := ""
	client := setup(t, &service{chat: answerJSON(`{}`)}, func(cfg *beebot.Config) {
		next := cfg.Credentials
		cfg.Credentials = func(ctx context.Context) (beebot.Credentials, error) {
			asked, _ = ctx.Value(key{}).(string)
			return next(ctx)
		}
	})
	ctx := context.WithValue(t.Context(), key{}, "of the request")
	if _, err := client.Chat(ctx, beebot.ChatRequest{InstanceID: "i", Utterance: "u"}); err != nil || asked != "of the request" {
		t.Errorf("%q, %v", asked, err)
	}
	broken := newClient(t, func(cfg *beebot.Config) {
		cfg.Credentials = func(context.Context) (beebot.Credentials, error) {
			return beebot.Credentials{}, errors.New("no role: https://u:canary@h/")
		}
	})
	_, err := broken.Chat(ctx, beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
	if err == nil || !strings.Contains(err.Error(), "no role") || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestRPCErrors(t *testing.T) {
	t.Parallel()
	const envelope = `{"RequestId":"q","HostId":"h","Code":"%s","Message":"m","Recommend":"https://x"}`
	for name, test := range map[string]struct {
		status    int
		header    http.Header
		body      string
		want      beebot.Error
		kind      upstream.Kind
		retryable bool
	}{
		"unknown robot": {status: 404, body: fmt.Sprintf(envelope, "InvalidInstanceId.NotFound"), want: beebot.Error{Code: "InvalidInstanceId.NotFound", Message: "m", RequestID: "q"}, kind: upstream.KindNotFound},
		"bad parameter": {status: 400, body: fmt.Sprintf(envelope, "InvalidParameter"), want: beebot.Error{Code: "InvalidParameter", Message: "m", RequestID: "q"}, kind: upstream.KindInvalid},
		"bad format":    {status: 400, body: fmt.Sprintf(envelope, "InvalidParameter.Format"), want: beebot.Error{Code: "InvalidParameter.Format", Message: "m", RequestID: "q"}, kind: upstream.KindInvalid},
		"missing":       {status: 400, body: fmt.Sprintf(envelope, "MissingTimestamp"), want: beebot.Error{Code: "MissingTimestamp", Message: "m", RequestID: "q"}, kind: upstream.KindInvalid},
		"internal":      {status: 500, body: fmt.Sprintf(envelope, "InternalError"), want: beebot.Error{Code: "InternalError", Message: "m", RequestID: "q"}, kind: upstream.KindUnavailable, retryable: true},
		"frozen":        {status: 403, body: fmt.Sprintf(envelope, "InstanceFreezing"), want: beebot.Error{Code: "InstanceFreezing", Message: "m", RequestID: "q"}, kind: upstream.KindForbidden},
		"forbidden":     {status: 403, body: fmt.Sprintf(envelope, "Forbidden.RAM"), want: beebot.Error{Code: "Forbidden.RAM", Message: "m", RequestID: "q"}, kind: upstream.KindForbidden},
		"unknown key":   {status: 404, body: fmt.Sprintf(envelope, "InvalidAccessKeyId.NotFound"), want: beebot.Error{Code: "InvalidAccessKeyId.NotFound", Message: "m", RequestID: "q"}, kind: upstream.KindUnauthorized},
		"wrong secret":  {status: 400, body: fmt.Sprintf(envelope, "SignatureDoesNotMatch"), want: beebot.Error{Code: "SignatureDoesNotMatch", Message: "m", RequestID: "q"}, kind: upstream.KindUnauthorized},
		"wrong secret, explained": {
			status: 400, body: fmt.Sprintf(strings.Replace(envelope, `"m"`, `"no match. server string to sign is:POST&%%2F&Utterance%%3Dx"`, 1), "SignatureDoesNotMatch"),
			want: beebot.Error{Code: "SignatureDoesNotMatch", Message: "no match.", RequestID: "q"}, kind: upstream.KindUnauthorized,
		},
		"wrong clock":        {status: 400, body: fmt.Sprintf(envelope, "InvalidTimeStamp.Expired"), want: beebot.Error{Code: "InvalidTimeStamp.Expired", Message: "m", RequestID: "q"}, kind: upstream.KindUnauthorized},
		"nonce used":         {status: 400, body: fmt.Sprintf(envelope, "SignatureNonceUsed"), want: beebot.Error{Code: "SignatureNonceUsed", Message: "m", RequestID: "q"}, kind: upstream.KindInvalid, retryable: true},
		"unknown action":     {status: 404, body: fmt.Sprintf(envelope, "InvalidApi.NotFound"), want: beebot.Error{Code: "InvalidApi.NotFound", Message: "m", RequestID: "q"}, kind: upstream.KindInvalid},
		"unknown code":       {status: 503, body: fmt.Sprintf(envelope, "Odd"), want: beebot.Error{Code: "Odd", Message: "m", RequestID: "q"}, kind: upstream.KindUnavailable, retryable: true},
		"lower-case fields":  {status: 400, body: `{"requestId":"q","code":"InvalidParameter","message":"m"}`, want: beebot.Error{Code: "InvalidParameter", Message: "m", RequestID: "q"}, kind: upstream.KindInvalid},
		"a number as a code": {status: 400, body: `{"RequestId":"q","Code":400,"Message":{"x":1}}`, want: beebot.Error{Code: "400", Message: `{"x":1}`, RequestID: "q"}, kind: upstream.KindInvalid},
		"a text as a number": {status: 400, body: `{"RequestId":"q","Code":"400","Message":"m"}`, want: beebot.Error{Code: "400", Message: "m", RequestID: "q"}, kind: upstream.KindInvalid},
		"success:false":      {status: 200, body: `{"RequestId":"q","Success":false,"Code":"InternalError","Message":"m"}`, want: beebot.Error{Code: "InternalError", Message: "m", RequestID: "q"}, kind: upstream.KindUnavailable, retryable: true},
		"throttled": {
			status: 400, body: fmt.Sprintf(envelope, "Throttling.User"),
			header: http.Header{"X-Ratelimit-User-Api": {"Limit:100,Remain:0,TimeLeft:1500"}, "X-Ratelimit-User": {"Remain:0, TimeLeft: 2500"}},
			want:   beebot.Error{Code: "Throttling.User", Message: "m", RequestID: "q", RetryAfter: 2500 * time.Millisecond}, kind: upstream.KindThrottled, retryable: true,
		},
		"too many": {
			status: 429, header: http.Header{"Retry-After": {"3"}, "X-Acs-Request-Id": {"h"}}, body: "{}",
			want: beebot.Error{Message: "Too Many Requests (application/json)", RequestID: "h", RetryAfter: 3 * time.Second}, kind: upstream.KindThrottled, retryable: true,
		},
		"HTML": {
			status: 502, header: http.Header{"Content-Type": {"text/html"}}, body: "<html>",
			want: beebot.Error{Message: "Bad Gateway (text/html)"}, kind: upstream.KindUnavailable, retryable: true,
		},
		"HTML in a success status": {
			status: 200, header: http.Header{"Content-Type": {"text/html"}}, body: "<html>",
			want: beebot.Error{Message: "OK (text/html)"}, kind: upstream.KindUnknown,
		},
		"empty": {status: 200, want: beebot.Error{Message: "OK (no body)"}, kind: upstream.KindUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := setup(t, &service{chat: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				maps.Copy(w.Header(), test.header)
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}})
			_, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
			got, ok := errors.AsType[*beebot.Error](err)
			if !ok {
				t.Fatalf("got %T %v, want *Error", err, err)
			}
			test.want.HTTPStatus = test.status
			if diff := cmp.Diff(&test.want, got, cmp.AllowUnexported(beebot.Error{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Kind() != test.kind || got.Retryable() != test.retryable || got.NotFound() != (test.kind == upstream.KindNotFound) {
				t.Errorf("kind %s, retryable %v, want %s, %v", got.Kind(), got.Retryable(), test.kind, test.retryable)
			}
		})
	}
}

func TestRPCAnswersThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]func(error) bool{
		`{"Messages":[`:    func(err error) bool { return errors.Is(err, upstream.ErrTruncated) },
		`{"Messages":oops`: func(err error) bool { _, ok := errors.AsType[*upstream.DecodeError](err); return ok },
		`{"Messages":{}}`:  func(err error) bool { _, ok := errors.AsType[*upstream.DecodeError](err); return ok },
		`{"Messages":"` + strings.Repeat("x", 500): func(err error) bool { return errors.Is(err, upstream.ErrTooLarge) },
	} {
		client := setup(t, &service{chat: answerJSON(body)}, func(cfg *beebot.Config) { cfg.MaxResponseBytes = 300 })
		_, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
		if err == nil || !want(err) {
			t.Errorf("%.20s: got %T %v", body, err, err)
		}
	}
}

func TestRPCUpstreamDown(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(cfg *beebot.Config) { cfg.Endpoint = "http://127.0.0.1:1" })
	for range 2 {
		_, err := client.Stream(t.Context(), question())
		network, ok := errors.AsType[*upstream.NetworkError](err)
		if !ok || network.Timeout() || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want a NetworkError that is no time-out", err)
		}
	}
}

func TestRPCBrokenOff(t *testing.T) {
	t.Parallel()
	calls := 0
	client := setup(t, &service{chat: func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "{")
	}})
	_, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
	if _, ok := errors.AsType[*upstream.NetworkError](err); !ok || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want a NetworkError", err)
	}
	if calls != 1 {
		t.Errorf("%d calls, want 1: nothing is repeated below the caller", calls)
	}
}

func TestRPCTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, func(cfg *beebot.Config) { cfg.Transport = silent })
		start := time.Now()
		_, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
		network, ok := errors.AsType[*upstream.NetworkError](err)
		if !ok || !network.Timeout() || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: got %v, want a NetworkError that is a time-out", time.Since(start), err)
		}
	})
}

func TestRPCGivesUpWithTheCaller(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	client := setup(t, &service{chat: func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Chat(ctx, beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	waitFor(t, "upstream to see the disconnect", gone)
}

// Proxy variables in forms that net/http takes must not fail a call in the SDK.
func TestRPCWithOddProxyVariables(t *testing.T) {
	t.Setenv("HTTP_PROXY", "proxy:3128")
	t.Setenv("HTTPS_PROXY", "proxy:3128")
	t.Setenv("NO_PROXY", "127.0.0.1,(")
	client := setup(t, &service{chat: answerJSON(`{"MessageId":"m"}`)})
	if _, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"}); err != nil {
		t.Error(err)
	}
}

func TestConcurrentRPC(t *testing.T) {
	t.Parallel()
	client := setup(t, &service{chat: answerJSON(`{"MessageId":"m"}`)})
	failures := make(chan error, 20)
	for range cap(failures) {
		go func() {
			_, err := client.Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
			failures <- err
		}()
	}
	for range cap(failures) {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

// No text that leaves the package may show a credential, even if upstream repeats it.
func TestNoErrorShowsCredentials(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		text := strings.ReplaceAll(r.URL.String()+" "+keyID+" "+keySecret+" "+stsToken+" "+agentKey+
			" server string to sign is:POST&%2F&AccessKeyId%3D"+keyID, `"`, "")
		answerStatus(400, answerJSON(`{"Code":"SignatureDoesNotMatch","Message":"`+text+`"}`))(w, r)
	}
	streamEcho := func(w http.ResponseWriter, r *http.Request) {
		token, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/sse/paas4Json/"), "/canary-channel")
		answerSSE(events(`{"success":false,"code":"Odd","message":"token `+token+` of canary-channel signed canary-stream-`+token+` at `+r.URL.String()+`"}`))(w, r)
	}
	cut := func(w http.ResponseWriter, r *http.Request) {
		answerSSE(events(says("canary-free", false)))(w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	failures := map[string]func() error{
		"RPC echo": func() error {
			_, err := setup(t, &service{chat: echo}).Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
			return err
		},
		"RPC aborted": func() error {
			_, err := setup(t, &service{chat: abort}).Chat(t.Context(), beebot.ChatRequest{InstanceID: "i", Utterance: "u"})
			return err
		},
		"apply refused": func() error {
			_, err := collect(t, setup(t, &service{apply: func(w http.ResponseWriter, r *http.Request) bool { echo(w, r); return true }}))
			return err
		},
		"stream echo":    func() error { _, err := collect(t, setup(t, &service{stream: streamEcho})); return err },
		"stream aborted": func() error { _, err := collect(t, setup(t, &service{stream: abort})); return err },
		"stream HTML":    func() error { _, err := collect(t, setup(t, &service{stream: answerHTML})); return err },
		"stream cut":     func() error { _, err := collect(t, setup(t, &service{stream: cut})); return err },
		"stream down": func() error {
			_, err := collect(t, setup(t, &service{}, func(cfg *beebot.Config) { cfg.StreamURL = "http://127.0.0.1:1" }))
			return err
		},
		"bad region": func() error {
			_, err := setup(t, &service{}, func(cfg *beebot.Config) { cfg.Region = "cn shanghai" }).ApplyForStreamAccessToken(t.Context())
			return err
		},
	}
	for name, fail := range failures {
		err := fail()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if strings.Contains(strings.ReplaceAll(err.Error(), "canary-free", ""), "canary") || strings.Contains(err.Error(), "paas4Json/canary") {
			t.Errorf("%s: a credential shows in: %v", name, err)
		}
	}
	if text := fmt.Sprintf("%+v %#v", beebot.Credentials{AccessKeySecret: sign.NewSecret("canary")}, beebot.StreamAccess{URL: sign.NewSecret("canary")}); strings.Contains(text, "canary") {
		t.Errorf("prints as %s", text)
	}
}
