package runtimes

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate is what the probe asks before it goes on: by it a test knows where a call is, and
// decides when it goes on, without a clock.
type gate struct {
	tb     testing.TB
	url    string
	asked  chan string // the points, as they are asked for
	mu     sync.Mutex
	points map[string]chan struct{} // closed when open
}

// open points let everybody pass: the probe only tells something by them.
func isTold(point string) bool { return strings.HasPrefix(point, "end: ") || point == "closed" }

func newGate(tb testing.TB) *gate {
	tb.Helper()
	g := &gate{tb: tb, asked: make(chan string, 1024), points: map[string]chan struct{}{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		point, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
		g.asked <- point
		if isTold(point) {
			return
		}
		select {
		case <-g.at(point):
		case <-r.Context().Done():
		}
	}))
	g.url = server.URL
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return g
}

func (g *gate) at(point string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.points[point] == nil {
		g.points[point] = make(chan struct{})
	}
	return g.points[point]
}

// open lets pass all that wait at the point, or will.
func (g *gate) open(point string) { close(g.at(point)) }

// await waits until a point is asked for that begins so, and returns it.
func (g *gate) await(prefix string) string {
	g.tb.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case point := <-g.asked:
			if strings.HasPrefix(point, prefix) {
				return point
			}
		case <-late.C:
			g.tb.Fatalf("nobody asked for %q", prefix)
			return ""
		}
	}
}
