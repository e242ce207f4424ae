package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"code.dny.dev/ssrf"

	"xinghe/shared/env"
	"xinghe/shared/sign"
)

// ErrTooLarge means that an answer is longer than Config.MaxBytes.
var ErrTooLarge = errors.New("larger than allowed")

// Config says where requests may go and what they may cost. Zero values mean the defaults.
type Config struct {
	// Allow names the hosts that may be dialled though they are not public, on any port:
	// "host", or "host:port" for that port only. A name stands for whatever it resolves to.
	// Default: none.
	Allow []string
	// Ports of public hosts that may be dialled. Default 80 and 443.
	Ports []uint16
	// Timeout bounds a request from resolving the name to the last byte of the answer,
	// redirects included. Default 60 s.
	Timeout time.Duration
	// DialTimeout bounds making one connection, and AnswerTimeout the silence until the
	// headers of an answer. Default 10 s each.
	DialTimeout, AnswerTimeout time.Duration
	// MaxBytes bounds the body of an answer. Default 20 MiB.
	MaxBytes int64
	// Redirects is how many are followed, each checked as the first address. Default 3;
	// negative: none, which is an error.
	Redirects int
	// Connections is how many are kept to a host while they are idle. Default 8.
	Connections int
	// Resolver of names; the system's by default.
	Resolver *net.Resolver
}

// FromEnv reads XINGHE_ALLOW_HOSTS.
func FromEnv(vars *env.Vars) Config {
	cfg := Config{Allow: vars.List("XINGHE_ALLOW_HOSTS")}
	_, err := parseAllowed(cfg.Allow)
	vars.Fault("XINGHE_ALLOW_HOSTS", err)
	return cfg
}

func (c Config) withDefaults() Config {
	if len(c.Ports) == 0 {
		c.Ports = []uint16{80, 443}
	}
	if c.Connections == 0 {
		c.Connections = 8
	}
	for field, def := range map[*time.Duration]time.Duration{
		&c.Timeout: time.Minute, &c.DialTimeout: 10 * time.Second, &c.AnswerTimeout: 10 * time.Second,
	} {
		if *field <= 0 {
			*field = def
		}
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 20 << 20
	}
	if c.Redirects == 0 {
		c.Redirects = 3
	}
	return c
}

// Client makes requests. It is safe for concurrent use.
type Client struct {
	http      *http.Client
	transport *http.Transport
	guard     *ssrf.Guardian
	allow     map[string]bool
	ports     map[uint16]bool
	maxBytes  int64
	redirects int
}

// azureMetadata is the one metadata service that hides behind a public address.
var azureMetadata = netip.MustParsePrefix("168.63.129.16/32")

// New returns a client, which is to be closed in the end.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	allow, err := parseAllowed(cfg.Allow)
	if err != nil {
		return nil, fmt.Errorf("egress: allowed hosts: %w", err)
	}
	c := &Client{
		guard: ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(azureMetadata)),
		allow: allow, ports: make(map[uint16]bool), maxBytes: cfg.MaxBytes, redirects: max(cfg.Redirects, 0),
	}
	for _, port := range cfg.Ports {
		c.ports[port] = true
	}
	guarded := &net.Dialer{Timeout: cfg.DialTimeout, Resolver: cfg.Resolver, Control: c.guard.Safe}
	free := &net.Dialer{Timeout: cfg.DialTimeout, Resolver: cfg.Resolver}
	c.transport = &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, port, err := net.SplitHostPort(address); err == nil && c.allowed(host, port) {
				return free.DialContext(ctx, network, address)
			}
			return guarded.DialContext(ctx, network, address)
		},
		DisableCompression: true, ForceAttemptHTTP2: true, TLSHandshakeTimeout: cfg.DialTimeout,
		ResponseHeaderTimeout: cfg.AnswerTimeout, MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns: 8 * cfg.Connections, MaxIdleConnsPerHost: cfg.Connections, IdleConnTimeout: 30 * time.Second,
	}
	c.http = &http.Client{Transport: c.transport, Timeout: cfg.Timeout, CheckRedirect: c.redirect}
	return c, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Do makes a request. The body of the answer ends in [ErrTooLarge] where it is longer than
// Config.MaxBytes; it must be closed. Errors: a [*RefusedError], ErrTooLarge at once where
// the answer says how long it is, the context's, or of the network; none of them repeats
// the address, whose query may give access.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if err := c.check(req.URL); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req) //nolint:gosec // this client is the guard against such requests
	if err != nil {
		return nil, plain(req.URL.Hostname(), err)
	}
	if resp.ContentLength > c.maxBytes {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, resp.ContentLength, c.maxBytes)
	}
	resp.Body = &capped{body: resp.Body, left: c.maxBytes, limit: c.maxBytes}
	return resp, nil
}

// redirect decides whether to go where an answer points.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > c.redirects {
		return &RefusedError{Host: req.URL.Hostname(), Reason: fmt.Sprintf("more than %d redirects", c.redirects)}
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &RefusedError{Host: req.URL.Hostname(), Reason: "a redirect from https to http"}
	}
	req.Header.Del("Referer") // it would tell the next host the address, with what gives access
	return c.check(req.URL)
}

// plain takes the address out of an error, and says what the guard refused.
func plain(host string, err error) error {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused
	}
	if located, ok := errors.AsType[*url.Error](err); ok {
		err = located.Err
		if u, parseErr := url.Parse(located.URL); parseErr == nil {
			host = u.Hostname() // of the last stop
		}
	}
	for _, prohibited := range []error{ssrf.ErrProhibitedIP, ssrf.ErrProhibitedNetwork, ssrf.ErrInvalidHostPort} {
		if errors.Is(err, prohibited) {
			reason := err
			if dialled, ok := errors.AsType[*net.OpError](err); ok {
				reason = dialled.Err
			}
			return &RefusedError{Host: host, Reason: reason.Error()}
		}
	}
	return fmt.Errorf("ask %s: %w", host, sign.RedactError(err))
}

// capped is a body that may not be longer than it should.
type capped struct {
	body  io.ReadCloser
	left  int64
	limit int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, c.tooLarge()
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1] // one more tells whether it goes on
	}
	n, err := c.body.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return n - 1, c.tooLarge()
	}
	return n, err
}

func (c *capped) tooLarge() error {
	return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, c.limit)
}

func (c *capped) Close() error { return c.body.Close() }
