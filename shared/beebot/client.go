package beebot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"xinghe/shared/sign"
)

// Where the service is.
const (
	DefaultEndpoint  = "https://chatbot.cn-shanghai.aliyuncs.com"
	DefaultStreamURL = "https://alime-ws.aliyuncs.com"
	DefaultRegion    = "cn-shanghai"
)

const (
	defaultTimeout     = 10 * time.Second
	defaultIdleTimeout = 60 * time.Second
	defaultMaxBytes    = 8 << 20
	// dialTimeout leaves room for one lost SYN, which is repeated after a second.
	dialTimeout = 2500 * time.Millisecond
)

// Credentials are an access key pair, and with temporary ones their security token.
type Credentials struct {
	AccessKeyID     string
	AccessKeySecret sign.Secret
	SecurityToken   sign.Secret
}

// CredentialsProvider gives the credentials for one call. On Function Compute they change
// from request to request; the context is that of the caller, without its cancellation where
// the result serves several callers.
type CredentialsProvider func(ctx context.Context) (Credentials, error)

// StaticCredentials provides the same credentials always.
func StaticCredentials(c Credentials) CredentialsProvider {
	return func(context.Context) (Credentials, error) { return c, nil }
}

// Config says how to reach the service. The zero value of each field but Credentials means
// its default.
type Config struct {
	// Endpoint is the address of the RPC calls with its scheme, default [DefaultEndpoint]. It
	// has no path.
	Endpoint string
	// StreamURL is the address of the streams with its scheme, default [DefaultStreamURL].
	StreamURL string
	// Region is signed into RPC calls, default [DefaultRegion].
	Region string
	// Credentials sign the RPC calls. Required.
	Credentials CredentialsProvider
	// AgentKey chooses the business space; default the account's default space.
	AgentKey sign.Secret
	// Transport carries all requests; default a transport of this package's that all clients
	// share. It must honour the context of a request.
	Transport http.RoundTripper
	// Timeout bounds an RPC call, default 10 s.
	Timeout time.Duration
	// IdleTimeout bounds the silence of a stream, before its first frame and between two;
	// default 60 s. Comments do not count as frames. A stream has no other time limit.
	IdleTimeout time.Duration
	// MaxResponseBytes caps an answer, and a single frame of a stream; default 8 MiB.
	MaxResponseBytes int
	// Now is the clock of tokens and stream signatures, default time.Now. RPC signatures carry
	// the SDK's own time.
	Now func() time.Time
	// NewID makes message ids, default a ULID.
	NewID func() string
}

// Client calls the service. It is safe for concurrent use.
type Client struct {
	cfg       Config
	endpoint  *url.URL
	streamURL string
	tokens    *tokens
}

// New returns a client. All faults of the configuration are reported at once.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	endpoint, endpointErr := address("Endpoint", cfg.Endpoint)
	streamURL, streamErr := address("StreamURL", cfg.StreamURL)
	faults := []error{endpointErr, streamErr}
	if endpointErr == nil && endpoint.Path != "" {
		faults = append(faults, fault("Endpoint", "must have no path"))
	}
	if cfg.Credentials == nil {
		faults = append(faults, fault("Credentials", "missing"))
	}
	if cfg.Timeout < 0 || cfg.IdleTimeout < 0 || cfg.MaxResponseBytes < 0 {
		faults = append(faults, fault("Timeout, IdleTimeout, MaxResponseBytes", "must not be negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("beebot: configuration: %w", err)
	}
	c := &Client{cfg: cfg, endpoint: endpoint, streamURL: streamURL.String() + streamPath}
	c.tokens = &tokens{apply: c.ApplyForStreamAccessToken, now: cfg.Now}
	return c, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.Endpoint == "" {
		cfg.Endpoint = DefaultEndpoint
	}
	if cfg.StreamURL == "" {
		cfg.StreamURL = DefaultStreamURL
	}
	if cfg.Region == "" {
		cfg.Region = DefaultRegion
	}
	if cfg.Transport == nil {
		cfg.Transport = sharedTransport
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = defaultIdleTimeout
	}
	if cfg.MaxResponseBytes == 0 {
		cfg.MaxResponseBytes = defaultMaxBytes
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = func() string { return ulid.Make().String() }
	}
	return cfg
}

// address checks and trims an address. Its text is not repeated in the error: it might
// carry credentials.
func address(field, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fault(field, "not an address that begins with http:// or https://")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}, nil
}

func fault(field, message string) error { return &FieldError{Field: field, Message: message} }

// Close cancels a renewal of the token that is under way and waits for it. Streams are the
// business of those who opened them.
func (c *Client) Close() error {
	c.tokens.close()
	return nil
}

// sharedTransport serves all clients that bring none. Go's default keeps two idle
// connections for a host: everything beyond dials and shakes hands anew for each call. How
// long to wait for an answer is each call's own business, by its context.
var sharedTransport = &http.Transport{
	Proxy:               http.ProxyFromEnvironment,
	DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
	ForceAttemptHTTP2:   true,
	MaxIdleConns:        4096,
	MaxIdleConnsPerHost: 4096,
	IdleConnTimeout:     90 * time.Second,
	TLSHandshakeTimeout: 5 * time.Second,
	// Frames must not wait in a decompressor.
	DisableCompression: true,
}
