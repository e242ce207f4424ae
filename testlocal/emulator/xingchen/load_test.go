package xingchen_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"xinghe/testlocal/emulator/xingchen"
)

// FuzzRoutes sends any body to every JSON route: the answer is always JSON or a stream, and never a crash.
func FuzzRoutes(f *testing.F) {
	f.Add(uint8(0), []byte(chatBody(wan, "u", "你好")))
	f.Add(uint8(1), []byte(chatBody(wan, "u", "", `"queryId":"x"`)))
	f.Add(uint8(4), []byte(`{"where":{"characterId":"`+wan+`","bizUserId":"1234567","startTime":-1,"endTime":1e18},"pageNum":2147483648,"pageSize":50}`))
	f.Add(uint8(5), []byte(`{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":5}`))
	f.Add(uint8(8), []byte(`{"name":"a","introduction":"b","basicInformation":"c","openingLine":"d","chatExample":"{{user}}:\n{{char}}","advancedConfig":null}`))
	f.Add(uint8(9), []byte(`{"where":{"scope":"my"},"orderBy":[""]}`))
	paths := []string{
		"/v2/api/chat/send", "/v2/api/chat/generate", "/v2/api/chat/stop", "/v2/api/chat/reset", "/v2/api/chat/message/histories",
		"/v2/api/chat/rating", "/v2/api/chat/reminder", "/v2/api/character/update", "/v2/api/character/create",
		"/v2/api/character/search", "/v2/api/character/delete", "/v2/api/groupchat/send",
	}
	var cfg xingchen.Config
	large("characters=2,users=3,messages=1000")(&cfg)
	server, err := xingchen.New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, choice uint8, body []byte) {
		path := paths[int(choice)%len(paths)]
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(string(body)))
		req.Header.Set("Authorization", "Bearer lm-local")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("x-fag-appcode", "aca")
		req.Header.Set("x-fag-servicename", services[path])
		if choice >= 128 {
			req.Header.Set("X-AcA-SSE", "enable")
		}
		recorder := httptest.NewRecorder()
		server.ServeHTTP(recorder, req)
		kind := recorder.Header().Get("Content-Type")
		if !strings.HasPrefix(kind, "application/json") && !strings.HasPrefix(kind, "text/event-stream") {
			t.Errorf("%s: %q", path, kind)
		}
		if recorder.Code >= 500 {
			t.Errorf("%s: status %d: %s", path, recorder.Code, recorder.Body)
		}
	})
}

// BenchmarkFrames streams long incremental answers over loopback and counts frames.
func BenchmarkFrames(b *testing.B) {
	server, err := xingchen.New(xingchen.Config{})
	if err != nil {
		b.Fatal(err)
	}
	host := httptest.NewServer(server)
	defer host.Close()
	client := host.Client()
	const runes = 200_000
	body := strings.TrimSuffix(chatBody(wan, "u", fmt.Sprintf("写%d字", runes)), "}") + `,"parameters":{"incrementalOutput":true,"maxLength":200000}}`
	frames := 0
	b.ReportAllocs()
	for b.Loop() {
		req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, host.URL+"/v2/api/chat/send", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer lm-local")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("x-fag-appcode", "aca")
		req.Header.Set("x-fag-servicename", "aca-chat-send-sse")
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewReaderSize(resp.Body, 64<<10)
		for {
			line, err := lines.ReadSlice('\n')
			if len(line) > 5 {
				frames++
			}
			if err != nil {
				break
			}
		}
		_ = resp.Body.Close()
	}
	b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
}

// BenchmarkOpenStreams holds 5,000 slow streams open and reports what the process needs for them, clients included.
func BenchmarkOpenStreams(b *testing.B) {
	const count = 5000
	server, err := xingchen.New(xingchen.Config{Pace: 2 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	host := httptest.NewServer(server)
	defer host.Close()
	address := strings.TrimPrefix(host.URL, "http://")
	for b.Loop() {
		var before, during runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		conns := make([]net.Conn, 0, count)
		for i := range count {
			conns = append(conns, openStream(b, address, fmt.Sprintf("user%d", i)))
		}
		runtime.GC()
		runtime.ReadMemStats(&during)
		b.ReportMetric(float64(during.Sys)/(1<<20), "MB-total")
		b.ReportMetric(float64(during.HeapInuse+during.StackInuse-before.HeapInuse-before.StackInuse)/count/1024, "KB/stream")
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}

// openStream asks for a stream and waits for its first bytes.
func openStream(b *testing.B, address, user string) net.Conn {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	body := chatBody(wan, user, "写60字")
	_, err = fmt.Fprintf(conn, "POST /v2/api/chat/send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer lm-local\r\nContent-Type: application/json\r\n"+
		"x-fag-appcode: aca\r\nx-fag-servicename: aca-chat-send-sse\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err != nil {
		b.Fatal(err)
	}
	first := make([]byte, 64)
	if _, err := io.ReadFull(conn, first); err != nil || !strings.HasPrefix(string(first), "HTTP/1.1 200") {
		b.Fatalf("%q: %v", first, err)
	}
	return conn
}
