package beebot_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/beebot"
)

// sink takes an answer and counts it.
type sink struct {
	header http.Header
	writes int
	bytes  int64
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(int)     {}
func (s *sink) Flush()              {}
func (s *sink) Write(p []byte) (int, error) {
	s.writes++
	s.bytes += int64(len(p))
	return len(p), nil
}

func streamAddress(a access) string {
	return beebot.StreamPath + a.AccessToken + "/" + a.ChannelID + "/" + sign.Stream(a.StreamSecret, "1") + "/1"
}

func message(n int) string {
	return `{"messageId":"m` + strconv.Itoa(n) + `","action":"TongyiBeebotChat","version":"2022-04-08","data":[{"type":"JSON_TEXT",` +
		`"value":"{\"InstanceId\":\"chatbot-cn-local\",\"Utterance\":\"你有什么技能?\"}"}]}`
}

// BenchmarkStream answers whole requests of twelve frames without a network.
func BenchmarkStream(b *testing.B) {
	server := newServer(b)
	path := streamAddress(grant(b, server, "1"))
	b.ReportAllocs()
	out := &sink{header: http.Header{}}
	for n := 0; b.Loop(); n++ {
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(message(n)))
		server.ServeStream(out, req)
	}
	b.ReportMetric(float64(out.writes)/b.Elapsed().Seconds(), "frames/s")
	b.SetBytes(out.bytes / int64(b.N))
}

// BenchmarkStreamLoopback does the same over HTTP on loopback, client included.
func BenchmarkStreamLoopback(b *testing.B) {
	server := newServer(b)
	address := streamAddress(grant(b, server, "1"))
	listener := httptest.NewServer(http.HandlerFunc(server.ServeStream))
	defer listener.Close()
	client := listener.Client()
	defer client.CloseIdleConnections()
	for n := 0; b.Loop(); n++ {
		read(b, client, listener.URL+address, message(n))
	}
	b.ReportMetric(12*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

// BenchmarkStreamLoopbackLong sends answers of 512 small frames over one connection: the rate of
// frames once a stream is open, client included.
func BenchmarkStreamLoopbackLong(b *testing.B) {
	server, err := beebot.New(beebot.Config{
		Now: func() time.Time { return start }, Assume: beebot.Assumptions{Empty: -1, Repeats: 510, SnapshotRunes: 1000},
	})
	if err != nil {
		b.Fatal(err)
	}
	address := streamAddress(grant(b, server, "1"))
	listener := httptest.NewServer(http.HandlerFunc(server.ServeStream))
	defer listener.Close()
	client := listener.Client()
	defer client.CloseIdleConnections()
	for n := 0; b.Loop(); n++ {
		read(b, client, listener.URL+address, message(n))
	}
	b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

func read(b *testing.B, client *http.Client, address, body string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

// BenchmarkOpenStreams holds 5,000 slow streams open and reports what the process takes from the
// system for them, the clients' connections included.
func BenchmarkOpenStreams(b *testing.B) {
	const streams = 5000
	server, err := beebot.New(beebot.Config{Now: func() time.Time { return start }, Pace: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	address := streamAddress(grant(b, server, "1"))
	listener := httptest.NewServer(http.HandlerFunc(server.ServeStream))
	defer listener.Close()
	for b.Loop() {
		connections := make([]net.Conn, 0, streams)
		for n := range streams {
			connections = append(connections, openStream(b, listener.Listener.Addr().String(), address, message(n)))
		}
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.Sys)/(1<<20), "MB")
		for _, conn := range connections {
			_ = conn.Close()
		}
	}
}

// openStream sends a request by hand and waits for the first bytes of the answer.
func openStream(b *testing.B, host, address, body string) net.Conn {
	b.Helper()
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", host)
	if err != nil {
		b.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", address, host, len(body), body)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 512)); err != nil {
		b.Fatal(err)
	}
	return conn
}

// BenchmarkChat answers signed calls without a network.
func BenchmarkChat(b *testing.B) {
	server := newServer(b)
	caller := &bench{t: b, clock: &clock{}}
	b.ReportAllocs()
	for b.Loop() {
		params := caller.params("Chat", "InstanceId", beebot.DefaultInstanceID, "Utterance", "公积金")
		params["Signature"] = signV1(http.MethodPost, beebot.DefaultAccessKeySecret, params)
		out := &sink{header: http.Header{}}
		server.ServeRPC(out, httptest.NewRequest(http.MethodPost, "/?"+values(params).Encode(), nil))
	}
}
