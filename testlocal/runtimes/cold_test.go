package runtimes

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xinghe/shared/faas"
)

// functions are those that are deployed.
var functions = slices.Sorted(maps.Keys(served))

// functionVariables are what the functions need to start.
func functionVariables(address string) []string {
	return []string{
		"XINGHE_API_KEYS=k", "XINGCHEN_API_KEY=lm", "XINGCHEN_BASE_URL=http://" + address,
		"BEEBOT_ENDPOINT=http://" + address, "BEEBOT_STREAM_URL=http://" + address,
		"ALIBABA_CLOUD_ACCESS_KEY_ID=id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret",
		"NATS_URL=nats://" + address, "XINGHE_SINK=s3://bucket/prefix", "AWS_REGION=us-east-1",
		`XINGHE_WEBHOOK_SOURCES=[{"name":"s","standard":{"secrets":["whsec_Y3VycmVudC1zZWNyZXQtb2YtdGhlLXRlc3Rz"]},"action":"publish"}]`,
	}
}

// deaf is an address that takes connections and never says a word. It counts them.
func deaf(tb testing.TB) (address string, count *atomic.Int64) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	count = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			defer func() { _ = conn.Close() }()
		}
	}()
	tb.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String(), count
}

// TestNoNetworkAtStart holds that functions start and answer, as long as they need nobody,
// without a connection to anybody.
func TestNoNetworkAtStart(t *testing.T) {
	t.Parallel()
	for _, name := range functions {
		for _, entry := range entries {
			t.Run(name+"/"+entry, func(t *testing.T) {
				t.Parallel()
				address, count := deaf(t)
				h := newHost(t, entry, program(t, name), nil, functionVariables(address)...)
				if got := h.get("/healthz"); got.status != http.StatusOK {
					t.Errorf("/healthz: %d", got.status)
				}
				if got := count.Load(); got != 0 {
					t.Errorf("%d connections were made", got)
				}
			})
		}
	}
}

// zipped is the size of a program in a zip of its own.
func zipped(tb testing.TB, path string) float64 {
	tb.Helper()
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var size counter
	archive := zip.NewWriter(&size)
	entry, err := archive.Create("bootstrap")
	if err == nil {
		_, err = io.Copy(entry, file)
	}
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return float64(size)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// BenchmarkColdStart measures what a first call waits for, and what is uploaded, beside the
// smallest function that Lambda's library makes: ratios to be at most 2.5 (exec to first
// answer) and 2 (zip). As a plain server: milliseconds to the first answer, at most 15, and
// resident MiB, at most 20. Init is that of all packages but the runtime's, at most 2 ms.
// Figures are medians; those of two runs are not to be compared.
func BenchmarkColdStart(b *testing.B) {
	for _, name := range functions {
		b.Run(name, func(b *testing.B) {
			path, minimal := program(b, name), program(b, "minimal")
			var ours, theirs, plain, resident, inits []float64
			for b.Loop() {
				theirs = append(theirs, firstAnswer(b, minimal))
				ours = append(ours, firstAnswer(b, path))
				ms, rss := plainStart(b, path)
				plain, resident = append(plain, ms), append(resident, rss)
				inits = append(inits, initTime(b, path))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours), "answer-ms")
			b.ReportMetric(median(theirs), "minimal-answer-ms")
			b.ReportMetric(median(ours)/median(theirs), "answer-ratio")
			b.ReportMetric(median(plain), "http-answer-ms")
			b.ReportMetric(median(resident), "http-MiB")
			b.ReportMetric(median(inits), "init-ms")
			b.ReportMetric(zipped(b, path)/1e6, "zip-MB")
			b.ReportMetric(zipped(b, path)/zipped(b, minimal), "zip-ratio")
		})
	}
}

func median(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

func since(start time.Time) float64 { return time.Since(start).Seconds() * 1e3 }

// firstAnswer is the time from the start of a program on Lambda to its first answer, in ms.
func firstAnswer(b *testing.B, path string) float64 {
	b.Helper()
	f, err := Start(Config{Entry: faas.EntryLambdaEvent, Program: path, Env: functionVariables("127.0.0.1:1")})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	start := time.Now()
	result, err := f.Invoke(b.Context(), Event{Payload: []byte(`{"method":"GET","path":"/healthz"}`)})
	took := since(start)
	if err != nil || result.ErrorType != "" {
		b.Fatalf("%s: %+v %v", path, result, err)
	}
	return took
}

// plainStart is the time to the first answer of a plain server, in ms, and what it holds in
// memory then, in MiB.
func plainStart(b *testing.B, path string) (ms, mib float64) {
	b.Helper()
	port, err := freePort(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	start := time.Now()
	p, err := launch(b.Context(), path, append(functionVariables("127.0.0.1:1"), "XINGHE_ENTRY=http", "XINGHE_ADDR="+addr), io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer p.stop(patience)
	if err := listens(b.Context(), p, addr); err != nil {
		b.Fatal(err)
	}
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		b.Fatal(err)
	}
	ms = since(start)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	return ms, residentOf(p.cmd.Process.Pid)
}

// residentOf is a process's resident memory in MiB; 0 where that cannot be read.
func residentOf(pid int) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib / 1024
}

// initTime is the time that the packages take to initialise, in ms.
func initTime(b *testing.B, path string) float64 {
	b.Helper()
	var out bytes.Buffer
	// A bad configuration ends it at once.
	p, err := launch(b.Context(), path, []string{"GODEBUG=inittrace=1", "XINGHE_ENTRY=none"}, &out)
	if err != nil {
		b.Fatal(err)
	}
	<-p.exited
	sum := 0.0
	for line := range strings.SplitSeq(out.String(), "\n") {
		// init NAME @BEGAN ms, TOOK ms clock, …
		fields := strings.Fields(line)
		if len(fields) < 7 || fields[0] != "init" || fields[1] == "runtime" || strings.HasPrefix(fields[1], "internal/runtime/") {
			continue
		}
		took, err := strconv.ParseFloat(fields[4], 64)
		if err != nil {
			b.Fatalf("%s: %v", line, err)
		}
		sum += took
	}
	if sum == 0 {
		b.Fatal("no package tells its time")
	}
	return sum
}
