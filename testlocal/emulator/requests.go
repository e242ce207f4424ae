package emulator

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/fault"
)

// Request is one request that arrived, as GET /_emulator/requests shows it. No key, signature or token is in it.
type Request struct {
	Time    time.Time         `json:"time"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	// Body is the beginning of the request's body, at most 4 KB.
	Body string `json:"body,omitempty"`
	// Key is the beginning of the SHA-256 of the caller's key, to tell callers apart.
	Key    string        `json:"key,omitempty"`
	User   string        `json:"user,omitempty"`
	Route  string        `json:"route,omitempty"`
	Faults []fault.Name  `json:"faults,omitempty"`
	Status int           `json:"status"`
	Bytes  int64         `json:"bytes"`
	Took   time.Duration `json:"tookNanos"`
	// Done is false while the answer is still being written.
	Done bool `json:"done"`
}

// keptBody is how much of a body the log keeps.
const keptBody = 4 << 10

// requestLog keeps the last requests in a ring.
type requestLog struct {
	mu    sync.Mutex
	ring  []*logged
	next  int
	count int
}

// logged is a request while it runs and after.
type logged struct {
	mu      sync.Mutex
	entry   Request
	trace   fault.Trace
	started time.Time
}

func newRequestLog(size int) *requestLog { return &requestLog{ring: make([]*logged, max(size, 0))} }

// begin notes a request; done completes the note.
func (l *requestLog) begin(now time.Time, w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, func()) {
	if len(l.ring) == 0 {
		return w, r, func() {}
	}
	note := &logged{started: time.Now(), entry: Request{
		Time: now, Method: r.Method, URL: maskText(sign.RedactURL(r.URL.RequestURI())), Headers: maskHeaders(r.Header),
	}}
	l.mu.Lock()
	l.ring[l.next] = note
	l.next = (l.next + 1) % len(l.ring)
	l.count++
	l.mu.Unlock()

	body := &tee{source: r.Body}
	r = r.WithContext(fault.WithTrace(r.Context(), &note.trace))
	r.Body = body
	counter := &counter{ResponseWriter: w}
	return counter, r, func() { note.complete(counter, body) }
}

func (n *logged) complete(w *counter, body *tee) {
	req, faults := n.trace.Seen()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entry.Body = maskText(sign.Redact(string(body.kept)))
	n.entry.Key, n.entry.User, n.entry.Route, n.entry.Faults = maskKey(req.Key), req.User, req.Route, faults
	n.entry.Status, n.entry.Bytes, n.entry.Took, n.entry.Done = w.status, w.bytes, time.Since(n.started), true
}

// list returns the requests that are remembered, the oldest first.
func (l *requestLog) list() []Request {
	l.mu.Lock()
	notes := slices.Concat(l.ring[l.next:], l.ring[:l.next])
	l.mu.Unlock()
	entries := make([]Request, 0, len(notes))
	for _, note := range notes {
		if note == nil {
			continue
		}
		note.mu.Lock()
		entry := note.entry
		note.mu.Unlock()
		entry.Headers = maps.Clone(entry.Headers)
		entries = append(entries, entry)
	}
	return entries
}

func (l *requestLog) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.ring)
	l.next, l.count = 0, 0
}

// Requests returns what arrived, the oldest first, as GET /_emulator/requests does.
func (e *Emulator) Requests() []Request { return e.requests.list() }

// maskKey replaces a key by the beginning of its SHA-256.
func maskKey(key string) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:4])
}

// secretHeaders never show their value.
var secretHeaders = map[string]bool{
	"Authorization": true, "Cookie": true, "X-Acs-Signature-Nonce": true, "X-Acs-Security-Token": true,
	"X-Acs-Accesskey-Id": true, "Proxy-Authorization": true,
}

func maskHeaders(header http.Header) map[string]string {
	masked := make(map[string]string, len(header))
	for name, values := range header {
		text := strings.Join(values, ", ")
		if secretHeaders[name] {
			text = sign.Redacted
		}
		masked[name] = text
	}
	return masked
}

// secretParameters finds what package sign does not count among secrets of an address: the name of a business space, which
// opens it.
var secretParameters = regexp.MustCompile(`(?i)\b(AgentKey|streamSecret|AccessToken)=[^&\s"]+`)

func maskText(text string) string {
	return secretParameters.ReplaceAllString(text, "${1}="+sign.Redacted)
}

// tee keeps the beginning of a body that is read through it.
type tee struct {
	source io.ReadCloser
	kept   []byte
}

func (t *tee) Read(p []byte) (int, error) {
	if t.source == nil {
		return 0, io.EOF
	}
	n, err := t.source.Read(p)
	if room := keptBody - len(t.kept); room > 0 {
		t.kept = append(t.kept, p[:min(n, room)]...)
	}
	return n, err
}

func (t *tee) Close() error {
	if t.source == nil {
		return nil
	}
	return t.source.Close()
}

// counter counts what is written through it.
type counter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *counter) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the writer below.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
