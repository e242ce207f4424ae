package beebot_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/shared/sign"
	"xinghe/shared/sse"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is where the clock of the tests stands at first: the time of the signature vectors.
var start = time.Date(2024, 5, 20, 8, 0, 0, 0, time.UTC)

// clock is a time that tests move.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// bench is one emulator on loopback and a caller that signs as a client would.
type bench struct {
	t      testing.TB
	clock  *clock
	server *beebot.Server
	http   *httptest.Server
	faults *fault.Engine
	nonces atomic.Uint64
	ids    atomic.Uint64

	mu      sync.Mutex
	records []beebot.Record
}

func setup(tb testing.TB, change ...func(*beebot.Config)) *bench {
	tb.Helper()
	b := &bench{t: tb, clock: &clock{}, faults: fault.New(1)}
	cfg := beebot.Config{Now: b.clock.now, Seed: 1, Faults: b.faults, Record: b.keep}
	for _, f := range change {
		f(&cfg)
	}
	server, err := beebot.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", server.ServeRPC)
	mux.HandleFunc(beebot.StreamPath, server.ServeStream)
	b.server, b.http = server, httptest.NewServer(mux)
	tb.Cleanup(b.http.Close)
	tb.Cleanup(b.http.Client().CloseIdleConnections)
	return b
}

func (b *bench) keep(r beebot.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = append(b.records, r)
}

// params are those of a call that would succeed.
func (b *bench) params(action string, more ...string) map[string]string {
	params := map[string]string{
		"Action": action, "Version": beebot.Version, "Format": "JSON", "AccessKeyId": beebot.DefaultAccessKeyID,
		"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
		"SignatureNonce": strconv.FormatUint(b.nonces.Add(1), 10),
		"Timestamp":      b.clock.now().Format("2006-01-02T15:04:05Z"),
	}
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = more[i+1]
	}
	return params
}

// signV1 is written apart from the emulator's own signing, after the signature page.
func signV1(method, secret string, params map[string]string) string {
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	_, _ = io.WriteString(mac, stringToSign(method, params))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func stringToSign(method string, params map[string]string) string {
	escape := strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~")
	values := url.Values{}
	for name, value := range params {
		if name != "Signature" {
			values.Set(name, value)
		}
	}
	return method + "&%2F&" + escape.Replace(url.QueryEscape(escape.Replace(values.Encode())))
}

func values(params map[string]string) url.Values {
	out := url.Values{}
	for name, value := range params {
		out.Set(name, value)
	}
	return out
}

// reply is an answer read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) decode(tb testing.TB) map[string]any {
	tb.Helper()
	var out map[string]any
	if err := json.Unmarshal(r.body, &out); err != nil {
		tb.Fatalf("decode %q: %v", r.body, err)
	}
	return out
}

func (b *bench) do(req *http.Request) reply {
	b.t.Helper()
	resp, err := b.http.Client().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: body}
}

func (b *bench) request(method, target, contentType string, body []byte) *http.Request {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.http.URL+target, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}

// send signs the parameters with the default secret and posts them in the query.
func (b *bench) send(params map[string]string) reply {
	b.t.Helper()
	params["Signature"] = signV1(http.MethodPost, beebot.DefaultAccessKeySecret, params)
	return b.do(b.request(http.MethodPost, "/?"+values(params).Encode(), "", nil))
}

// ask says something to the default robot through Chat.
func (b *bench) ask(utterance string, more ...string) reply {
	b.t.Helper()
	more = append([]string{"InstanceId", beebot.DefaultInstanceID, "Utterance", utterance}, more...)
	return b.send(b.params("Chat", more...))
}

// access is a set of stream credentials.
type access struct {
	RequestID    string `json:"RequestId"`
	AccessToken  string
	ChannelID    string `json:"ChannelId"`
	StreamSecret string
}

func (b *bench) apply(more ...string) access {
	b.t.Helper()
	got := b.send(b.params("ApplyForStreamAccessToken", more...))
	if got.status != http.StatusOK {
		b.t.Fatalf("apply: %d %s", got.status, got.body)
	}
	var out access
	if err := json.Unmarshal(got.body, &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) path(a access) string {
	timestamp := strconv.FormatInt(b.clock.now().UnixMilli(), 10)
	return beebot.StreamPath + a.AccessToken + "/" + a.ChannelID + "/" + sign.Stream(a.StreamSecret, timestamp) + "/" + timestamp
}

// say builds the body of a stream request; pairs of more replace or add inner parameters.
func (b *bench) say(utterance string, more ...any) []byte {
	inner := map[string]any{"InstanceId": beebot.DefaultInstanceID, "Utterance": utterance}
	for i := 0; i < len(more); i += 2 {
		inner[fmt.Sprint(more[i])] = more[i+1]
	}
	return body("m-"+strconv.FormatUint(b.ids.Add(1), 10), inner)
}

func body(messageID string, inner map[string]any) []byte {
	value, _ := json.Marshal(inner)
	out, _ := json.Marshal(map[string]any{
		"messageId": messageID, "action": "TongyiBeebotChat", "version": beebot.Version,
		"data": []any{map[string]any{"type": "JSON_TEXT", "value": string(value)}},
	})
	return out
}

// frame is one decoded frame of a stream.
type frame struct {
	raw       []byte
	Success   bool
	Code      string
	Message   string
	MessageID string `json:"messageId"`
	RequestID string `json:"requestId"`
	Data      []struct{ Type, Value string }
	value     map[string]any
}

func (f frame) text() string {
	var value struct {
		MessageBody struct {
			DirectMessageBody struct{ SentenceList []struct{ Content string } }
		}
	}
	if len(f.Data) == 0 || json.Unmarshal([]byte(f.Data[0].Value), &value) != nil {
		return ""
	}
	var out strings.Builder
	for _, s := range value.MessageBody.DirectMessageBody.SentenceList {
		out.WriteString(s.Content)
	}
	return out.String()
}

// talk posts a body with good credentials and reads all frames.
func (b *bench) talk(body []byte) []frame {
	b.t.Helper()
	frames, err := b.converse(b.path(b.apply()), body)
	if err != nil {
		b.t.Fatal(err)
	}
	return frames
}

func (b *bench) converse(path string, body []byte) ([]frame, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	resp, err := b.http.Client().Do(b.request(http.MethodPost, path, "application/json", body).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream;charset=UTF-8" {
		return nil, fmt.Errorf("status %d, content type %q", resp.StatusCode, kind)
	}
	var frames []frame
	reader := sse.NewReader(resp.Body, sse.ReaderConfig{})
	for {
		event, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		next := frame{raw: slices.Clone(event.Data)}
		if err := json.Unmarshal(event.Data, &next); err != nil {
			return append(frames, next), fmt.Errorf("decode frame: %w", err)
		}
		if len(next.Data) > 0 {
			if err := json.Unmarshal([]byte(next.Data[0].Value), &next.value); err != nil {
				return append(frames, next), fmt.Errorf("decode value: %w", err)
			}
		}
		frames = append(frames, next)
	}
}

// ended reports whether a stream ended well.
func ended(frames []frame) bool {
	return len(frames) > 0 && frames[len(frames)-1].value["StreamEnd"] == true
}

// acs3 signs a request by headers, written apart from the emulator's own signing.
func acs3(req *http.Request, keyID, secret string, headers map[string]string, query map[string]string, payload []byte) {
	names := []string{"host"}
	for name, value := range headers {
		req.Header.Set(name, value)
		names = append(names, name)
	}
	slices.Sort(names)
	var lines strings.Builder
	for _, name := range names {
		value := headers[name]
		if name == "host" {
			value = req.Host
		}
		fmt.Fprintf(&lines, "%s:%s\n", name, value)
	}
	escape := strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~")
	canonical := strings.Join([]string{
		req.Method, "/", escape.Replace(values(query).Encode()), lines.String(), strings.Join(names, ";"), digest(payload),
	}, "\n")
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, "ACS3-HMAC-SHA256\n"+digest([]byte(canonical)))
	req.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential="+keyID+",SignedHeaders="+strings.Join(names, ";")+
		",Signature="+hex.EncodeToString(mac.Sum(nil)))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// shape replaces every value by its type.
func shape(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, member := range v {
			out[key] = shape(member)
		}
		return out
	case []any:
		out := make([]any, 0, 1)
		for _, member := range v {
			out = append(out, shape(member))
		}
		return out
	default:
		return fmt.Sprintf("%T", value)
	}
}
