package xingchen

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"xinghe/shared/sign"
)

// DefaultBaseURL is the address of the service.
const DefaultBaseURL = "https://nlp.aliyuncs.com"

const (
	defaultTimeout     = 60 * time.Second
	defaultIdleTimeout = 60 * time.Second
	defaultMaxBytes    = 8 << 20
	// dialTimeout leaves room for one lost SYN, which is repeated after a second.
	dialTimeout = 2500 * time.Millisecond
)

// Config says how to reach the service. The zero value of each field but APIKey means its
// default.
type Config struct {
	// BaseURL is the address with its scheme, default [DefaultBaseURL]. A path in it is kept
	// and stands before the paths of the API.
	BaseURL string
	// APIKey is sent as the bearer token. Required.
	APIKey sign.Secret
	// Transport carries the requests; default a transport of this package's that all clients
	// share. It must honour the context of a request.
	Transport http.RoundTripper
	// Timeout bounds a call that is not a stream, from dialling to the last byte; default 60 s,
	// because the answer of a model comes only when it is complete.
	Timeout time.Duration
	// IdleTimeout bounds the silence of a stream, before its first frame and between two;
	// default 60 s. Comments do not count as frames. A stream has no other time limit.
	IdleTimeout time.Duration
	// MaxResponseBytes caps an answer, and a single frame of a stream; default 8 MiB.
	MaxResponseBytes int
}

// Client calls the service. It is safe for concurrent use and needs no closing.
type Client struct {
	base        *url.URL
	key         sign.Secret
	transport   http.RoundTripper
	timeout     time.Duration
	idleTimeout time.Duration
	maxBytes    int
}

// New returns a client. All faults of the configuration are reported at once.
func New(cfg Config) (*Client, error) {
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL
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
	base, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("xingchen: configuration: %w", err)
	}
	return &Client{
		base: base, key: cfg.APIKey, transport: cfg.Transport,
		timeout: cfg.Timeout, idleTimeout: cfg.IdleTimeout, maxBytes: cfg.MaxResponseBytes,
	}, nil
}

func (cfg Config) validate() (*url.URL, error) {
	var faults []error
	base, err := url.Parse(cfg.BaseURL)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		faults = append(faults, &FieldError{Field: "BaseURL", Message: "not an address that begins with http:// or https://"})
	} else {
		base.Path = strings.TrimRight(base.Path, "/")
		base.RawPath, base.RawQuery, base.Fragment = "", "", ""
	}
	if cfg.APIKey.IsZero() {
		faults = append(faults, &FieldError{Field: "APIKey", Message: "missing"})
	}
	if strings.ContainsFunc(cfg.APIKey.Reveal(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		faults = append(faults, &FieldError{Field: "APIKey", Message: "contains blanks or other characters that a header cannot carry"})
	}
	if cfg.Timeout < 0 || cfg.IdleTimeout < 0 || cfg.MaxResponseBytes < 0 {
		faults = append(faults, &FieldError{Field: "Timeout, IdleTimeout, MaxResponseBytes", Message: "must not be negative"})
	}
	return base, errors.Join(faults...)
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
