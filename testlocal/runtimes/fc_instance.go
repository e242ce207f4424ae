package runtimes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// webInstance is a program that serves HTTP.
type webInstance struct {
	cfg  Config
	proc *process
	base *url.URL
	http *http.Transport // keeps connections, as the platform does
}

// fcStart is how long a web function may take to listen.
const fcStart = 120 * time.Second

func startWeb(ctx context.Context, cfg Config) (*webInstance, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	proc, err := launch(ctx, cfg.Program, fcEnv(cfg, "FC_CUSTOM_LISTEN_PORT="+port), cfg.Output)
	if err != nil {
		return nil, err
	}
	w := &webInstance{
		cfg: cfg, proc: proc, base: &url.URL{Scheme: "http", Host: addr},
		http: &http.Transport{MaxIdleConnsPerHost: cfg.Concurrency, DisableCompression: true},
	}
	if err = listens(ctx, proc, addr); err == nil && cfg.Initializer {
		err = w.hook(ctx, http.MethodPost, "/initialize")
	}
	if err != nil {
		proc.kill()
		w.http.CloseIdleConnections()
		return nil, fmt.Errorf("%s: %w", cfg.Name, err)
	}
	return w, nil
}

// freePort is a port that nobody listens on at the moment.
func freePort(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return "", err
	}
	return port, listener.Close()
}

// listens waits for the program to listen, as the platform does by trying.
func listens(ctx context.Context, proc *process, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, fcStart)
	defer cancel()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr); err == nil {
			return conn.Close()
		}
		select {
		case <-again.C:
		case <-proc.exited:
			return fmt.Errorf("FunctionNotStarted: the program has ended: %s", proc.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("FunctionNotStarted: nobody listens on %s", addr)
		}
	}
}

// hook calls one of the paths that belong to the platform.
func (w *webInstance) hook(ctx context.Context, method, path string) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Grace)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.base.String()+path, http.NoBody)
	if err != nil {
		return err
	}
	r.Header = fcHeaders(w.cfg, fcID(), 1)
	r.Header.Set("X-Fc-Control-Path", path)
	resp, err := w.http.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s is answered with %s", path, resp.Status)
	}
	return nil
}

func (w *webInstance) program() *process { return w.proc }

// stop calls the pre-stop hook. The signal that follows is this machine's: Function Compute
// documents none.
func (w *webInstance) stop() {
	w.proc.thaw()
	if w.cfg.PreStop && w.proc.alive() {
		_ = w.hook(context.Background(), http.MethodGet, "/pre-stop") // a failure does not keep it from ending
	}
	w.proc.stop(w.cfg.Grace)
	w.http.CloseIdleConnections()
}

func (w *webInstance) invoke(ctx context.Context, id string, event Event) (payload []byte, errorType string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base.String()+"/invoke", bytes.NewReader(event.Payload)) //nolint:gosec // to a program of ours
	if err != nil {
		return nil, "", err
	}
	r.Header = fcHeaders(w.cfg, id, event.Attempt)
	r.Header.Set("X-Fc-Control-Path", "/invoke")
	r.Header.Set("Content-Type", "application/octet-stream")
	resp, err := w.http.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.Header.Get("X-Fc-Status") == "404" {
		errorType = "FunctionUnhandledError"
	}
	payload, err = io.ReadAll(resp.Body)
	return payload, errorType, err
}

// relay has the program serve a request and passes its answer to w: one that is chunked
// while it comes, any other as a whole. It reports whether something has been passed on.
func (w *webInstance) relay(to http.ResponseWriter, r *http.Request, id string) (begun bool, err error) {
	r.URL.Scheme, r.URL.Host, r.RequestURI = w.base.Scheme, w.base.Host, ""
	resp, err := w.http.RoundTrip(r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	chunked := len(resp.TransferEncoding) > 0
	var whole []byte
	if !chunked {
		if whole, err = io.ReadAll(resp.Body); err != nil {
			return false, err
		}
		if resp.ContentLength >= 0 {
			to.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
		}
	}
	for name, values := range resp.Header {
		if !fcForbidden[name] && !strings.HasPrefix(name, "X-Fc-") {
			to.Header()[name] = values
		}
	}
	to.Header().Set("X-Fc-Request-Id", id)
	to.Header().Set("Content-Disposition", "attachment") // what the default domain does to all
	to.WriteHeader(resp.StatusCode)
	if chunked {
		return true, pour(to, resp.Body)
	}
	_, _ = to.Write(whole)
	return true, nil
}

// fcForbidden are headers that an answer cannot set.
var fcForbidden = map[string]bool{
	"Connection": true, "Content-Length": true, "Date": true, "Keep-Alive": true, "Server": true,
}

// pour passes on what comes, at once. The error is one of reading: a caller who has left is
// noticed by the context that the source hangs on, or not at all.
func pour(to http.ResponseWriter, from io.Reader) error {
	flush := http.NewResponseController(to).Flush
	buffer := make([]byte, 32<<10)
	_ = flush()
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			_, _ = to.Write(buffer[:n])
			_ = flush()
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
