package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/logs"
)

// roleVariable makes the test binary one of the parts instead of a test.
const roleVariable = "XINGHE_BENCH_ROLE"

// role is what the test binary is when it is not testing.
type role struct {
	Name     string // upstream, proxy or front
	Upstream string // address that proxy and front turn to
	Shape    shape  // of upstream's answers
}

func TestMain(m *testing.M) {
	if text := getenv(roleVariable); text != "" {
		var r role
		err := json.Unmarshal([]byte(text), &r)
		if err == nil {
			err = r.serve()
		}
		_, _ = fmt.Fprintln(os.Stderr, "bench:", r.Name, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func getenv(name string) string {
	return os.Getenv(name) //nolint:forbidigo // a test binary has no main of ours that could hand it down
}

// serve tells its address on standard output and serves until standard input ends.
func (r role) serve() error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if r.Name == "upstream" {
		return newUpstream(r.Shape).serve(listener, announce(listener))
	}
	handler, err := r.handler()
	if err != nil {
		return err
	}
	// Both gateways stand in the same server.
	return errors.Join(announce(listener), faas.Serve(context.Background(), listener, handler, 0))
}

func announce(listener net.Listener) error {
	_, err := fmt.Fprintln(os.Stdout, listener.Addr())
	return err
}

func (r role) handler() (http.Handler, error) {
	if r.Name == "front" {
		return newFront(r.Upstream)
	}
	target, err := url.Parse(r.Upstream)
	return newProxy(target), err
}

// newProxy is the baseline. Full duplex keeps the server from closing the request's body
// while the transport may still be looking for its end, which would cut streams now and then.
func newProxy(target *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		proxy.ServeHTTP(w, r)
	})
}

// frontKey is the key by which the load calls the front door.
const frontKey = "bench-key"

// newFront is the chat function as its main builds it.
func newFront(upstream string) (http.Handler, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	logger, err := logs.New(null, "")
	if err != nil {
		return nil, err
	}
	vars := env.New(func(name string) string {
		return map[string]string{
			"XINGHE_API_KEYS":   frontKey,
			"XINGCHEN_BASE_URL": upstream, "XINGCHEN_API_KEY": "lm-bench",
			"BEEBOT_ENDPOINT": upstream, "BEEBOT_STREAM_URL": upstream,
			"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-bench", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "bench",
		}[name]
	})
	handler, err := httpapi.New(httpapi.FromEnv(vars, logger), chatapi.Routes(chatapi.FromEnv(vars))...)
	return handler, errors.Join(vars.Err(), err)
}

// process is a part that runs.
type process struct {
	addr string
	pid  int
	stop func()
}

// start starts a part. It is stopped when the test ends, if not before.
func start(tb testing.TB, r role) *process {
	tb.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		tb.Fatal(err)
	}
	path, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, kill := context.WithCancel(context.WithoutCancel(tb.Context()))
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stderr = append(cmd.Environ(), roleVariable+"="+string(text)), os.Stderr
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p := &process{pid: cmd.Process.Pid}
	p.stop = func() {
		_ = stdin.Close()
		late := time.AfterFunc(5*time.Second, kill)
		_ = cmd.Wait()
		late.Stop()
		kill()
	}
	tb.Cleanup(p.stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatalf("%s did not start: %v", r.Name, err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}
