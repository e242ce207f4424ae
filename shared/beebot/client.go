package beebot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/oklog/ulid/v2"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
)

// Where the service is.
const (
	DefaultEndpoint  = "https://chatbot.cn-shanghai.aliyuncs.com"
	DefaultStreamURL = "https://alime-ws.aliyuncs.com"
	DefaultRegion    = "cn-shanghai"
)

// defaultTimeout is that of RPC calls.
const defaultTimeout = 10 * time.Second

// name of the service in errors.
const name = "beebot"

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
	// Transport carries all requests; default one that all clients share. It must honour the
	// context of a request.
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
	service   upstream.Service
	endpoint  *url.URL
	streamURL string
	tokens    *tokens
}

// New returns a client. All faults of the configuration are reported at once.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	c := &Client{cfg: cfg, service: upstream.Service{
		Name: name, Transport: cfg.Transport, Timeout: cfg.Timeout, IdleTimeout: cfg.IdleTimeout, MaxResponseBytes: cfg.MaxResponseBytes,
	}}
	endpoint, endpointErr := upstream.Address("Endpoint", cfg.Endpoint)
	streamURL, streamErr := upstream.Address("StreamURL", cfg.StreamURL)
	faults := []error{endpointErr, streamErr, c.service.Complete()}
	if endpointErr == nil && endpoint.Path != "" {
		faults = append(faults, &upstream.FieldError{Field: "Endpoint", Message: "must have no path"})
	}
	if cfg.Credentials == nil {
		faults = append(faults, &upstream.FieldError{Field: "Credentials", Message: "missing"})
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("beebot: configuration: %w", err)
	}
	c.endpoint, c.streamURL = endpoint, streamURL.String()+streamPath
	c.tokens = &tokens{apply: c.ApplyForStreamAccessToken, now: cfg.Now}
	return c, nil
}

func (cfg Config) withDefaults() Config {
	cfg.Endpoint = cmp.Or(cfg.Endpoint, DefaultEndpoint)
	cfg.StreamURL = cmp.Or(cfg.StreamURL, DefaultStreamURL)
	cfg.Region = cmp.Or(cfg.Region, DefaultRegion)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = func() string { return ulid.Make().String() }
	}
	return cfg
}

// Close cancels a renewal of the token that is under way and waits for it. Streams are the
// business of those who opened them.
func (c *Client) Close() error {
	c.tokens.close()
	return nil
}
