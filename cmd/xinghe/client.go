package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/sse"
)

const (
	// callTimeout bounds a call whose answer is one document.
	callTimeout = time.Minute
	// headTimeout bounds the wait for an answer to begin.
	headTimeout = 30 * time.Second
	// idleTimeout is the longest silence of a stream; deployments send a heartbeat every 15 s.
	idleTimeout = time.Minute
	// maxTries is how often in a row something may fail: with the pauses, about two minutes.
	maxTries = 15
	// maxAnswer bounds what is held of an answer, in bytes.
	maxAnswer = 64 << 20
)

// client calls a deployment. Its fields are set before a command runs.
type client struct {
	address string
	key     sign.Secret
	http    *http.Client
	// backoff is the pause after a try, by its number from 1.
	backoff func(try int) time.Duration
}

func newClient() *client {
	return &client{
		http:    &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: headTimeout}},
		backoff: func(try int) time.Duration { return min(time.Second<<min(try-1, 4), 10*time.Second) },
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// request is what a call is made of; the body is JSON unless header has a Content-Type.
type request struct {
	method, path string
	body         []byte
	header       http.Header
}

// refusal is an answer that says no.
type refusal struct {
	status     int
	retryAfter time.Duration
	code       string
	detail     string
	requestID  string
}

func (e *refusal) Error() string {
	text := cmp.Or(e.detail, http.StatusText(e.status))
	about := []string{strconv.Itoa(e.status)}
	if e.code != "" {
		about = append(about, e.code)
	}
	if e.requestID != "" {
		about = append(about, "request "+e.requestID)
	}
	return text + " (" + strings.Join(about, ", ") + ")"
}

// temporary reports whether the same request may succeed later.
func (e *refusal) temporary() bool {
	return e.status == http.StatusTooManyRequests || e.status >= http.StatusInternalServerError && e.status != http.StatusNotImplemented
}

// send makes a request; the caller closes the answer's body. An answer of 400 and above is
// returned as a [*refusal].
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	if c.key.IsZero() {
		return nil, usageError(errors.New("no key: set XINGHE_KEY or XINGHE_KEY_FILE"))
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.address+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, usageError(err)
	}
	req.Header.Set("Content-Type", "application/json")
	maps.Copy(req.Header, r.header)
	req.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refused(resp)
}

// refused reads a refusal: a problem document, upstream's envelope, or whatever a proxy says.
func refused(resp *http.Response) error {
	e := &refusal{status: resp.StatusCode, requestID: resp.Header.Get("X-Request-Id")}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.retryAfter = time.Duration(seconds) * time.Second
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var known struct {
		Code         any
		Detail       string
		ErrorMessage string
		RequestID    string
	}
	if err != nil || json.Unmarshal(body, &known) != nil {
		e.detail = strings.TrimSpace(strings.ToValidUTF8(string(body[:min(len(body), 200)]), ""))
		return e
	}
	e.code, _ = known.Code.(string)
	e.detail = cmp.Or(known.Detail, known.ErrorMessage)
	e.requestID = cmp.Or(e.requestID, known.RequestID)
	return e
}

// call makes a request whose answer is one JSON document, which it returns as it came and
// decodes into answer, unless that is nil.
func (c *client) call(ctx context.Context, r request, answer any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	if answer == nil {
		return body, nil
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	return body, nil
}

// errIdle ends a stream that says nothing at all any more.
var errIdle = errors.New("the stream has gone silent")

// follow reads the events of a stream until each returns false. A stream that breaks off is
// taken up again behind its last event; what the deployment refuses for good, or fails to
// give many times in a row, is an error.
func (c *client) follow(ctx context.Context, path string, each func(sse.Event) (more bool, err error)) error {
	var last string
	for try := 1; ; try++ {
		seen, ended, err := c.stream(ctx, path, &last, each)
		if ended {
			return err
		}
		if seen {
			try = 1
		}
		wait, again := c.again(try, err)
		if !again {
			return err
		}
		if err := queue.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// stream reads one connection's events; seen tells whether there were any, ended that no
// other connection is wanted.
func (c *client) stream(ctx context.Context, path string, last *string, each func(sse.Event) (bool, error)) (seen, ended bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{"Accept": {"text/event-stream"}}
	if *last != "" {
		header.Set("Last-Event-ID", *last)
	}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: path, header: header})
	if err != nil {
		return false, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return false, true, nil // all has been told
	}
	idle := time.AfterFunc(idleTimeout, func() { cancel(errIdle) })
	defer idle.Stop()
	for event, err := range sse.NewReader(&watched{resp.Body, idle}, sse.ReaderConfig{}).Events() {
		if err != nil {
			return seen, false, err
		}
		seen, *last = true, event.ID
		if more, err := each(event); !more || err != nil {
			return seen, true, err
		}
	}
	return seen, false, io.ErrUnexpectedEOF
}

// watched puts off the end of a stream while bytes come, heartbeats included.
type watched struct {
	io.Reader
	idle *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.idle.Reset(idleTimeout)
	}
	return n, err
}

// patiently does what may fail for a while, again and again, until it succeeds or is refused
// for good.
func (c *client) patiently(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil {
			return nil
		}
		wait, again := c.again(try, err)
		if !again || ctx.Err() != nil {
			return err
		}
		if err := queue.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// again says whether, after a failed try, another may help, and how long to wait before.
func (c *client) again(try int, err error) (wait time.Duration, again bool) {
	wait = c.backoff(try)
	if no, ok := errors.AsType[*refusal](err); ok {
		if !no.temporary() {
			return 0, false
		}
		wait = max(wait, no.retryAfter)
	}
	_, wrong := errors.AsType[*outcomeError](err)
	return wait, !wrong && try < maxTries
}

// lasting marks an error that no other try mends.
func lasting(err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{code: exitFailed, err: err}
}
