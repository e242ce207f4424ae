package xingchen_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/xingchen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	wan      = "c39797a35ad243f1a85baaa6e1ec37e0"
	deskmate = "ef693021ffdf403489ce4724005831ad"
	general  = "c1777d6d7ce14abdba81453126818825"
	template = "8474991ea7cb4bee8f254ac93237cf79"
	teller   = "5b0c1d6e7f8a49b2a3c4d5e6f7081920"
	keeper   = "9e8d7c6b5a4f4e3d8c2b1a0f9e8d7c6b"
	guide    = "0f1e2d3c4b5a49688776655443322110"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2024, 6, 1, 8, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is one server on loopback.
type bench struct {
	tb     testing.TB
	server *xingchen.Server
	faults *fault.Engine
	clock  *clock
	url    string
	client *http.Client
}

func setup(tb testing.TB, change ...func(*xingchen.Config)) *bench {
	tb.Helper()
	b := &bench{tb: tb, faults: fault.New(7), clock: newClock()}
	cfg := xingchen.Config{Now: b.clock.Now, Faults: b.faults}
	for _, apply := range change {
		apply(&cfg)
	}
	server, err := xingchen.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	b.server = server
	mux := http.NewServeMux()
	mux.Handle("/v2/api/", server)
	mux.HandleFunc(xingchen.FilesPath, server.ServeFile)
	host := httptest.NewServer(mux)
	transport := &http.Transport{DisableCompression: true}
	b.url, b.client = host.URL, &http.Client{Transport: transport}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		host.Close()
		if err := server.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return b
}

func assume(change func(*xingchen.Assumptions)) func(*xingchen.Config) {
	return func(cfg *xingchen.Config) { change(&cfg.Assume) }
}

// request builds a request of the first account with the headers that every call needs.
func (b *bench) request(ctx context.Context, method, path, service string, body []byte) *http.Request {
	b.tb.Helper()
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(body))
	if err != nil {
		b.tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer lm-local")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-fag-appcode", "aca")
	req.Header.Set("x-fag-servicename", service)
	return req
}

type answer struct {
	Status      int
	ContentType string
	Header      http.Header
	Raw         []byte
	RequestID   string
	Code        int
	Success     bool
	Data        json.RawMessage

	ErrorCode       int
	ErrorName       string
	ErrorMessage    string
	ErrorMessageKey string
	HTTPStatusCode  int
}

func (b *bench) do(req *http.Request) answer {
	b.tb.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.tb.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Header: resp.Header, Raw: raw}
	if strings.HasPrefix(a.ContentType, "application/json") && strings.HasPrefix(req.URL.Path, "/v2/") {
		if err := json.Unmarshal(raw, &a); err != nil {
			b.tb.Fatalf("answer %q: %v", raw, err)
		}
	}
	return a
}

// services are the service names of the paths.
var services = map[string]string{
	"/v2/api/chat/send": "aca-chat-send", "/v2/api/chat/generate": "aca-chat-regenerate", "/v2/api/groupchat/send": "aca-groupchat-send", "/v2/api/chat/stop": "aca-chat-stop",
	"/v2/api/chat/reset": "aca-chat-reset", "/v2/api/chat/message/histories": "aca-message-history",
	"/v2/api/chat/rating": "aca-message-rating", "/v2/api/chat/reminder": "aca-chat-reminder",
	"/v2/api/chat/polling/image": "aca-polling-image", "/v2/api/character/create": "aca-character-create",
	"/v2/api/character/update": "aca-character-update", "/v2/api/character/details": "aca-character-details",
	"/v2/api/character/search": "aca-character-search", "/v2/api/character/delete": "aca-character-delete",
	"/v2/api/character/createOrUpdateVersion": "aca-character-version-mgmt", "/v2/api/character/auto/desc": "aca-char-auto-desc",
	"/v2/api/character/versions/": "aca-character-versions", "/v2/api/character/newversion/recommend/": "aca-character-version-recommend",
	"/v2/api/extract/summary": "aca-extract-memory-summary", "/v2/api/extract/kv": "aca-extract-memory-kv",
	"/v2/api/groupchat/nextSpeaker": "aca-groupchat-nextspeaker", "/v2/api/chat/completions": "aca-chat-completions",
}

// post sends a body to a path as the key's owner.
func (b *bench) post(key, path, body string) answer {
	b.tb.Helper()
	req := b.request(b.tb.Context(), http.MethodPost, path, services[path], []byte(body))
	req.Header.Set("Authorization", "Bearer "+key)
	return b.do(req)
}

func (b *bench) get(key, path, query string) answer {
	b.tb.Helper()
	req := b.request(b.tb.Context(), http.MethodGet, path+"?"+query, services[path], nil)
	req.Header.Set("Authorization", "Bearer "+key)
	return b.do(req)
}

// chatBody is a question of one message to a platform character.
func chatBody(character, user, question string, extra ...string) string {
	quoted, _ := json.Marshal(question)
	context := strings.Join(extra, ",")
	return `{"input":{"messages":[{"role":"user","content":` + string(quoted) + `}],"aca":{"botProfile":{"characterId":"` + character +
		`"},"userProfile":{"userId":"` + user + `"},"context":{` + context + `}}}}`
}

type chatData struct {
	RequestID string
	Choices   []struct {
		Messages []struct {
			Role, Content, FinishReason string
		}
		StopReason string
	}
	Usage   *struct{ OutputTokens, InputTokens, UserTokens int }
	Context struct {
		ChatRoomID                                        int
		SessionID, ChatID, MessageID, AnswerID, RequestID string
		ReplyMessageID, BizUserID, ModelName, ChatLockKey string
		EnableDataInspection, IsSave                      bool
		IsRegenerate, UsePlatformChatHistory              bool
	}
	Stop bool
}

func (d chatData) text() string {
	if len(d.Choices) == 0 || len(d.Choices[0].Messages) == 0 {
		return ""
	}
	return d.Choices[0].Messages[0].Content
}

func (b *bench) chat(body string) chatData {
	b.tb.Helper()
	a := b.post("lm-local", "/v2/api/chat/send", body)
	if a.Status != http.StatusOK || !a.Success {
		b.tb.Fatalf("chat: status %d: %s", a.Status, a.Raw)
	}
	return decodeData[chatData](b.tb, a)
}

func decodeData[T any](tb testing.TB, a answer) T {
	tb.Helper()
	var data T
	if err := json.Unmarshal(a.Data, &data); err != nil {
		tb.Fatalf("data %s: %v", a.Data, err)
	}
	return data
}

// frame is one event of a stream.
type frame struct {
	event string
	data  []byte
}

func (f frame) result(tb testing.TB) chatData {
	tb.Helper()
	var data chatData
	if err := json.Unmarshal(f.data, &data); err != nil {
		tb.Fatalf("frame %s: %v", f.data, err)
	}
	return data
}

// readFrames reads lines as the documents' Python reader does, and the event names besides.
func readFrames(r io.Reader) ([]frame, error) {
	var frames []frame
	event := ""
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		line := strings.TrimRight(scanner.Text(), "\r\n")
		switch {
		case line == "":
			event = ""
		case strings.HasPrefix(line, "event:"):
			event = strings.TrimPrefix(line, "event:")
		case strings.HasPrefix(line, "data:"):
			frames = append(frames, frame{event: event, data: []byte(strings.TrimPrefix(line, "data:"))})
		}
	}
	return frames, scanner.Err()
}

// streamRequest asks for a stream.
func (b *bench) streamRequest(ctx context.Context, body string) *http.Request {
	req := b.request(ctx, http.MethodPost, "/v2/api/chat/send", "aca-chat-send-sse", []byte(body))
	req.Header.Set("X-AcA-SSE", "enable")
	return req
}

func (b *bench) stream(body string) []frame {
	b.tb.Helper()
	frames, err := b.tryStream(body)
	if err != nil {
		b.tb.Fatal(err)
	}
	return frames
}

func (b *bench) tryStream(body string) ([]frame, error) {
	resp, err := b.client.Do(b.streamRequest(b.tb.Context(), body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readFrames(resp.Body)
}

func texts(tb testing.TB, frames []frame) []string {
	tb.Helper()
	got := make([]string, 0, len(frames))
	for _, f := range frames {
		got = append(got, f.result(tb).text())
	}
	return got
}

// until polls a condition for up to five seconds.
func until(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			tb.Fatalf("not within 5 s: %s", what)
		}
		wait, cancel := context.WithTimeout(tb.Context(), 5*time.Millisecond)
		<-wait.Done()
		cancel()
	}
}

func writeFile(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}
