package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"xinghe/shared/sign"
	"xinghe/shared/trace"
	"xinghe/shared/upstream"
	"xinghe/shared/webhook"
)

const (
	contentType = "application/cloudevents+json"
	userAgent   = "xinghe-webhooks"
	// maxAnswer is how much of an answer is read, to keep the connection.
	maxAnswer = 16 << 10
	// maxText is how many bytes are kept of what was wrong.
	maxText = 300
)

// result is what came of an attempt.
type result struct {
	at     time.Time
	took   time.Duration
	status int
	text   string        // what was wrong; empty if the event was taken
	after  time.Duration // that the target asks for
	gone   bool          // it wants no more
	busy   bool          // it wants less
}

// send makes an attempt: 2xx is what it is for, anything else a failure.
func (t *target) send(ctx context.Context, m message) result {
	r := result{at: t.w.cfg.Now()}
	start := time.Now()
	resp, err := t.post(ctx, m, r.at)
	r.took = time.Since(start)
	if err != nil {
		r.text = clip(sign.RedactError(err).Error())
		return r
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the answer is its status
	r.status = resp.StatusCode
	if r.status >= 200 && r.status <= 299 {
		return r
	}
	r.text = strings.TrimSpace(fmt.Sprintf("answered %d %s", r.status, http.StatusText(r.status)))
	r.gone = r.status == http.StatusGone
	r.busy = r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable
	r.after = min(max(upstream.RetryAfter(resp.Header, r.at), 0), maxWait)
	return r
}

func (t *target) post(ctx context.Context, m message, at time.Time) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL.Reveal(), bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", userAgent)
	if parent := trace.From(ctx); parent != "" {
		req.Header.Set(trace.Header, string(parent))
	}
	if err := t.keys.Sign(req.Header, webhook.ID(m.id), at, m.body); err != nil {
		return nil, err
	}
	return t.client.Do(req)
}

func clip(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ToValidUTF8(text, "")
}
