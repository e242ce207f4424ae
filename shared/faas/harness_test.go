package faas

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// clock is one that only moves when told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// lines is a log that several goroutines write to.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// bundle is a function in service.
type bundle struct {
	*instance
	t     *testing.T
	clock *clock
	log   *lines
}

func setup(t *testing.T, cfg Config, fn Function) *bundle {
	t.Helper()
	b := &bundle{t: t, clock: newClock(), log: &lines{}}
	cfg.Logger, cfg.Now = zerolog.New(b.log), b.clock.Now
	if cfg.Lines == nil {
		cfg.Lines = b.log
	}
	b.instance = newInstance(t.Context(), cfg.withDefaults(), fn)
	t.Cleanup(func() { _ = b.stop() })
	return b
}

// mirror answers with what it was asked, and does what its path says.
func mirror(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/panic":
		panic("for a test")
	case "/panic-later":
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		panic("for a test")
	case "/abort":
		_, _ = io.WriteString(w, "first")
		panic(http.ErrAbortHandler)
	case "/nothing":
	case "/teapot":
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	case "/broken":
		w.WriteHeader(http.StatusBadGateway)
	case "/binary":
		_, _ = w.Write([]byte{0, 0xff, 0xfe, 1})
	case "/cookies":
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2; Path=/")
		w.Header().Add("Vary", "Origin")
		w.Header().Add("Vary", "Accept")
		w.WriteHeader(http.StatusNoContent)
	case "/until":
		<-r.Context().Done()
		_, _ = io.WriteString(w, r.Context().Err().Error())
	default:
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"method": r.Method, "uri": r.RequestURI, "path": r.URL.Path, "host": r.Host, "remote": r.RemoteAddr,
			"length": r.ContentLength, "header": r.Header, "body": fmt.Sprintf("%q", body),
		})
	}
}

// record notes events, and fails those whose payload is "fail".
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) event(_ context.Context, e Event) (json.RawMessage, error) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	switch string(e.Payload) {
	case `"fail"`:
		return nil, fmt.Errorf("told to, Bearer %s", "sk-secret-secret-secret")
	case `"panic"`:
		panic("told to")
	}
	return json.RawMessage(`{"done":true}`), nil
}
