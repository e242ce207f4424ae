package upstream_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"xinghe/shared/upstream"
)

// After a freeze no call goes out on a connection from before.
func TestCloseIdle(t *testing.T) {
	t.Parallel()
	var dialled atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialled.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	var service upstream.Service
	if err := service.Complete(); err != nil {
		t.Fatal(err)
	}
	call := func() {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := service.Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	call()
	upstream.CloseIdle()
	call()
	if got := dialled.Load(); got != 2 {
		t.Errorf("%d connections, want another one after CloseIdle", got)
	}
}
