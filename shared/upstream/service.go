package upstream

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Service is an upstream service as its client reaches it. It does not change after
// [Service.Complete] and is safe for concurrent use.
type Service struct {
	// Name stands at the front of every error's text.
	Name string
	// Transport carries the requests; default one that all services share. It must honour the
	// context of a request.
	Transport http.RoundTripper
	// Timeout bounds a call that is not a stream, from dialling to the last byte; default 60 s.
	Timeout time.Duration
	// IdleTimeout bounds the silence of a stream, before its first frame and between two;
	// default 60 s. Only what is handed on counts as a frame. A stream has no other time limit.
	IdleTimeout time.Duration
	// MaxResponseBytes caps an answer, and a single frame of a stream; default 8 MiB.
	MaxResponseBytes int
}

// Complete puts defaults where nothing is set. It returns a [*FieldError] for limits that
// are negative.
func (s *Service) Complete() error {
	if s.Transport == nil {
		s.Transport = sharedTransport
	}
	if s.Timeout == 0 {
		s.Timeout = 60 * time.Second
	}
	if s.IdleTimeout == 0 {
		s.IdleTimeout = 60 * time.Second
	}
	if s.MaxResponseBytes == 0 {
		s.MaxResponseBytes = 8 << 20
	}
	if s.Timeout < 0 || s.IdleTimeout < 0 || s.MaxResponseBytes < 0 {
		return &FieldError{Field: "Timeout, IdleTimeout, MaxResponseBytes", Message: "must not be negative"}
	}
	return nil
}

// ReadAll takes a whole body. It returns [ErrTooLarge] beyond the limit, else the body's own
// error; [Attempt.Failure] makes the best of both.
func (s *Service) ReadAll(resp *http.Response) ([]byte, error) {
	var body bytes.Buffer
	limit := int64(s.MaxResponseBytes)
	if n := resp.ContentLength; n > 0 && n <= limit {
		body.Grow(int(n) + bytes.MinRead)
	}
	n, err := body.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err == nil && n > limit {
		return nil, ErrTooLarge
	}
	return body.Bytes(), err
}

// Address checks the address of a service and trims it to scheme, host and path. Its text is
// not repeated in the [*FieldError]: it might carry credentials.
func Address(field, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, &FieldError{Field: field, Message: "not an address that begins with http:// or https://"}
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}, nil
}

// CloseIdle closes the connections of the shared transport that carry no call, for programs
// that may have stood still for long: a call on a connection that upstream has given up
// fails, and only some calls can be repeated.
func CloseIdle() { sharedTransport.CloseIdleConnections() }

// dialTimeout leaves room for one lost SYN, which is repeated after a second.
const dialTimeout = 2500 * time.Millisecond

// sharedTransport serves all clients that bring none. Go's default keeps two idle
// connections for a host: everything beyond dials and shakes hands anew for each call. How
// long to wait for an answer is each call's own business, by its context.
var sharedTransport = &http.Transport{
	Proxy:               http.ProxyFromEnvironment,
	DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
	ForceAttemptHTTP2:   true,
	MaxIdleConns:        4096,
	MaxIdleConnsPerHost: 4096,
	WriteBufferSize:     2 << 10, // requests are small, open streams many
	// The frames of one read, and the rest of one before, should fit the 4 KiB that a server of
	// net/http writes at once: else there are two writes for each read.
	ReadBufferSize:      3456,
	IdleConnTimeout:     90 * time.Second,
	TLSHandshakeTimeout: 5 * time.Second,
	// Frames must not wait in a decompressor.
	DisableCompression: true,
}
