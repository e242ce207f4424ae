package beebot

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
)

const (
	// tokenLifetime is how long stream credentials are good for. The answer does not say, the
	// documentation does.
	tokenLifetime = 2 * time.Hour
	// renewBefore is how long before that they are renewed.
	renewBefore = 10 * time.Minute
	// renewPause is how long a renewal is not tried again after it failed, while the old
	// credentials are still good.
	renewPause = 30 * time.Second
)

// Access are the credentials of streams.
type Access struct {
	Token     sign.Secret
	ChannelID sign.Secret
	Secret    sign.Secret
	RequestID string
	// ExpiresAt is two hours after the credentials were asked for.
	ExpiresAt time.Time
}

// ApplyForStreamAccessToken asks for stream credentials of one's own, past the cache that
// [Client.Stream] uses. It follows Beebot, ApplyForStreamAccessToken.
func (c *Client) ApplyForStreamAccessToken(ctx context.Context) (Access, error) {
	var answer struct {
		RequestID    string `json:"RequestId"`
		AccessToken  sign.Secret
		ChannelID    sign.Secret `json:"ChannelId"`
		StreamSecret sign.Secret
	}
	// The two hours count from before the call: better a little early than late.
	asked := c.cfg.Now()
	const action = "ApplyForStreamAccessToken"
	if err := c.rpc(ctx, action, map[string]string{"AgentKey": c.cfg.AgentKey.Reveal()}, &answer); err != nil {
		return Access{}, err
	}
	if answer.AccessToken.IsZero() || answer.ChannelID.IsZero() || answer.StreamSecret.IsZero() {
		return Access{}, &upstream.DecodeError{Service: name, What: action + " answer", Err: errors.New("AccessToken, ChannelId or StreamSecret is missing")}
	}
	return Access{
		Token: answer.AccessToken, ChannelID: answer.ChannelID, Secret: answer.StreamSecret,
		RequestID: answer.RequestID, ExpiresAt: asked.Add(tokenLifetime),
	}, nil
}

// address returns where a stream is opened. It gives access: never print it.
func (a Access) address(base string, now time.Time) string {
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	return base + url.PathEscape(a.Token.Reveal()) + "/" + url.PathEscape(a.ChannelID.Reveal()) + "/" +
		sign.Stream(a.Secret.Reveal(), timestamp) + "/" + timestamp
}

func (a Access) same(b Access) bool { return a.Token.Reveal() == b.Token.Reveal() }

// tokens keeps stream credentials and renews them, once however many callers wait.
type tokens struct {
	apply func(context.Context) (Access, error) // ends within the time of an RPC call
	now   func() time.Time

	mu      sync.Mutex
	current Access // zero if there is none
	pausing time.Time
	running *renewal
	closed  bool
}

type renewal struct {
	done   chan struct{}
	cancel context.CancelFunc
	access Access // these two once done is closed
	err    error
}

var errClosed = errors.New("beebot: client is closed")

// get returns credentials that are good, waiting for a renewal where there are none. The
// caller may give up waiting; the renewal goes on for the others.
func (t *tokens) get(ctx context.Context) (Access, error) {
	t.mu.Lock()
	if t.fresh() {
		defer t.mu.Unlock()
		return t.current, nil
	}
	if t.closed {
		t.mu.Unlock()
		return Access{}, errClosed
	}
	if t.running == nil {
		t.start(ctx)
	}
	r := t.running
	t.mu.Unlock()
	select {
	case <-r.done:
		return r.access, r.err
	case <-ctx.Done():
		return Access{}, fmt.Errorf("beebot: wait for stream credentials: %w", ctx.Err())
	}
}

// fresh reports whether the credentials need no renewal, or cannot have one just now and
// still serve.
func (t *tokens) fresh() bool {
	if t.current.Token.IsZero() {
		return false
	}
	now := t.now()
	if now.Before(t.current.ExpiresAt.Add(-renewBefore)) {
		return true
	}
	return now.Before(t.pausing) && now.Before(t.current.ExpiresAt)
}

// start begins a renewal. It keeps the first caller's values, which may hold credentials,
// but not its cancellation: others wait for the same result.
func (t *tokens) start(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &renewal{done: make(chan struct{}), cancel: cancel}
	t.running = r
	go func() {
		defer cancel()
		access, err := t.apply(ctx)
		t.finish(r, access, err)
	}()
}

func (t *tokens) finish(r *renewal, access Access, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	switch {
	case err == nil:
		t.current = access
	case !t.current.Token.IsZero() && now.Before(t.current.ExpiresAt):
		t.pausing = now.Add(renewPause)
		access, err = t.current, nil
	case t.closed:
		err = errClosed
	}
	r.access, r.err = access, err
	t.running = nil
	close(r.done)
}

// drop forgets credentials that were refused, unless others have taken their place already.
func (t *tokens) drop(refused Access) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.same(refused) {
		t.current = Access{}
	}
}

// close cancels a running renewal and waits for it.
func (t *tokens) close() {
	t.mu.Lock()
	t.closed = true
	r := t.running
	t.mu.Unlock()
	if r != nil {
		r.cancel()
		<-r.done
	}
}
