package xingchen

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
)

// DefaultBaseURL is the address of the service.
const DefaultBaseURL = "https://nlp.aliyuncs.com"

// name of the service in errors.
const name = "xingchen"

// Config says how to reach the service. The zero value of each field but APIKey means its
// default.
type Config struct {
	// BaseURL is the address with its scheme, default [DefaultBaseURL]. A path in it is kept
	// and stands before the paths of the API.
	BaseURL string
	// APIKey is sent as the bearer token. Required.
	APIKey sign.Secret
	// Transport carries the requests; default one that all clients share. It must honour the
	// context of a request.
	Transport http.RoundTripper
	// Timeout bounds a call that is not a stream, from dialling to the last byte; default 60 s,
	// because the answer of a model comes only when it is complete.
	Timeout time.Duration
	// IdleTimeout bounds the silence of a stream, before its first frame and between two;
	// default 60 s. Comments and unknown events do not count as frames. A stream has no other
	// time limit.
	IdleTimeout time.Duration
	// MaxResponseBytes caps an answer, and a single frame of a stream; default 8 MiB.
	MaxResponseBytes int
}

// Client calls the service. It is safe for concurrent use and needs no closing.
type Client struct {
	base    string
	key     sign.Secret
	service upstream.Service
	// frames and bareFrames are c.inspect and c.inspectBare, made once for all streams.
	frames, bareFrames upstream.Inspect
}

// New returns a client. All faults of the configuration are reported at once.
func New(cfg Config) (*Client, error) {
	c := &Client{key: cfg.APIKey, service: upstream.Service{
		Name: name, Transport: cfg.Transport, Timeout: cfg.Timeout, IdleTimeout: cfg.IdleTimeout, MaxResponseBytes: cfg.MaxResponseBytes,
	}}
	c.frames, c.bareFrames = c.inspect, c.inspectBare
	base, err := upstream.Address("BaseURL", cmp.Or(cfg.BaseURL, DefaultBaseURL))
	if err == nil {
		c.base = base.String()
	}
	if err := errors.Join(err, cfg.checkKey(), c.service.Complete()); err != nil {
		return nil, fmt.Errorf("xingchen: configuration: %w", err)
	}
	return c, nil
}

func (cfg Config) checkKey() error {
	if cfg.APIKey.IsZero() {
		return &upstream.FieldError{Field: "APIKey", Message: "missing"}
	}
	if strings.ContainsFunc(cfg.APIKey.Reveal(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return &upstream.FieldError{Field: "APIKey", Message: "contains blanks or other characters that a header cannot carry"}
	}
	return nil
}
