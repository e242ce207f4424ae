package beebot_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/shared/beebot"
	"xinghe/shared/sign"
)

// Canaries are in every credential that the tests use; no text that leaves the package may
// contain the word.
const (
	keyID     = "LTAI-canary-id"
	keySecret = "canary-secret"
	stsToken  = "canary-sts"
	agentKey  = "canary_p_beebot_public"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a small Beebot: it checks signatures, issues tokens and answers streams.
type service struct {
	t *testing.T
	// chat answers the RPC Chat; nil fails the test.
	chat http.HandlerFunc
	// stream answers a stream whose address is good; nil fails the test.
	stream http.HandlerFunc
	// refuse answers a stream whose address is not good; default a web page.
	refuse http.HandlerFunc
	// apply runs before ApplyForStreamAccessToken is answered, and may answer itself.
	apply func(w http.ResponseWriter, r *http.Request) bool

	mu      sync.Mutex
	tokens  map[string]bool
	applied int
	posted  []posted // bodies of streams, refused ones too
}

// posted is the body of a stream request.
type posted struct {
	MessageID string `json:"messageId"`
	Action    string `json:"action"`
	Version   string `json:"version"`
	Data      []struct{ Type, Value string }
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if parts, ok := strings.CutPrefix(r.URL.EscapedPath(), "/sse/paas4Json/"); ok {
		s.serveStream(w, r, strings.Split(parts, "/"))
		return
	}
	checkRPC(s.t, r)
	switch r.URL.Query().Get("Action") {
	case "ApplyForStreamAccessToken":
		s.serveApply(w, r)
	case "Chat":
		s.chat(w, r)
	default:
		s.t.Errorf("unknown action in %s", r.URL.RawQuery)
	}
}

func (s *service) serveApply(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.applied++
	token := fmt.Sprintf("canary token/%d", s.applied) // must be escaped in a path
	s.mu.Unlock()
	if s.apply != nil && s.apply(w, r) {
		return
	}
	s.mu.Lock()
	s.tokens[token] = true
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]string{
		"RequestId": "r", "AccessToken": token, "ChannelId": "canary-channel", "StreamSecret": "canary-stream-" + token,
	})
}

func (s *service) serveStream(w http.ResponseWriter, r *http.Request, parts []string) {
	body, _ := io.ReadAll(r.Body)
	var p posted
	if err := json.Unmarshal(body, &p); err != nil {
		s.t.Errorf("body %s: %v", body, err)
	}
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	s.mu.Lock()
	s.posted = append(s.posted, p)
	good := len(parts) == 4 && s.tokens[parts[0]] && parts[1] == "canary-channel"
	s.mu.Unlock()
	if good && !sign.VerifyStream("canary-stream-"+parts[0], parts[3], parts[2]) {
		s.t.Errorf("wrong signature in %v", parts)
	}
	switch {
	case good:
		s.stream(w, r)
	case s.refuse != nil:
		s.refuse(w, r)
	default:
		answerHTML(w, r)
	}
}

// revoke makes all tokens so far worthless.
func (s *service) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func (s *service) counts() (applied int, bodies []posted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied, append([]posted(nil), s.posted...)
}

// setup starts the service and returns a client of it with connections of its own.
func setup(t *testing.T, s *service, edit ...func(*beebot.Config)) *beebot.Client {
	t.Helper()
	s.t, s.tokens = t, map[string]bool{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return newClient(t, append([]func(*beebot.Config){func(cfg *beebot.Config) {
		cfg.Endpoint, cfg.StreamURL, cfg.Transport = server.URL, server.URL, transport
	}}, edit...)...)
}

func newClient(tb testing.TB, edit ...func(*beebot.Config)) *beebot.Client {
	tb.Helper()
	cfg := beebot.Config{
		AgentKey: sign.NewSecret(agentKey),
		Credentials: beebot.StaticCredentials(beebot.Credentials{
			AccessKeyID: keyID, AccessKeySecret: sign.NewSecret(keySecret), SecurityToken: sign.NewSecret(stsToken),
		}),
	}
	for _, f := range edit {
		f(&cfg)
	}
	client, err := beebot.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

func answerSSE(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream;charset=UTF-8")
		_, _ = io.WriteString(w, body)
	}
}

func answerJSON(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_, _ = io.WriteString(w, body)
	}
}

func answerHTML(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<html><body>404</body></html>")
}

func answerStatus(status int, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		header := httptest.NewRecorder()
		next(header, r)
		maps.Copy(w.Header(), header.Header())
		w.WriteHeader(status)
		_, _ = w.Write(header.Body.Bytes())
	}
}

func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func decode[T any](tb testing.TB, data []byte) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

// frame wraps an inner value as the service does.
func frame(inner string) string {
	text, _ := json.Marshal(inner)
	return `{"data":[{"type":"JSON_TEXT","value":` + string(text) + `}],"messageId":"m","requestId":"r","success":true}`
}

// says is a frame with one sentence.
func says(text string, end bool) string {
	content, _ := json.Marshal(text)
	return frame(fmt.Sprintf(`{"MessageBody":{"DirectMessageBody":{"SentenceList":[{"Content":%s}]}},"StreamEnd":%v}`, content, end))
}

func events(frames ...string) string {
	var text strings.Builder
	for _, f := range frames {
		text.WriteString("data:" + f + "\n\n")
	}
	return text.String()
}

// roundTrip lets a function be a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// silent is a transport that never answers.
var silent = roundTrip(func(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
})

// waitFor fails the test if the channel is not closed soon.
func waitFor(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatalf("waited in vain for: %s", what)
	}
}

func question() beebot.StreamRequest {
	return beebot.StreamRequest{InstanceID: "chatbot-cn-x", Utterance: "你好"}
}

// collect reads a whole stream.
func collect(t *testing.T, client *beebot.Client) ([]beebot.Snapshot, error) {
	t.Helper()
	stream, err := client.Stream(t.Context(), question())
	if err != nil {
		return nil, err
	}
	var all []beebot.Snapshot
	for snapshot, err := range stream.Snapshots() {
		if err != nil {
			return all, err
		}
		all = append(all, snapshot)
	}
	return all, nil
}
