package faas

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// httpEvent is a request that comes as an event: of an HTTP trigger of Function Compute
// (version "v1"), of a Function URL or an HTTP API (payload format "2.0"). Fields that only
// one of them has are empty in the other's.
type httpEvent struct {
	RawPath         string            `json:"rawPath"`
	RawQuery        string            `json:"rawQueryString"`  // 2.0
	Query           map[string]string `json:"queryParameters"` // v1
	Cookies         []string          `json:"cookies"`         // 2.0
	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	Context         struct {
		DomainName string `json:"domainName"`
		HTTP       struct {
			Method   string `json:"method"`
			Path     string `json:"path"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
	} `json:"requestContext"`
}

// requestOf makes the request that an event describes; the id becomes its X-Request-Id if
// it has none.
func requestOf(ctx context.Context, payload []byte, id string) (*http.Request, error) {
	var e httpEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("the event is no request: %w", err)
	}
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, fmt.Errorf("the event's body is no base64: %w", err)
		}
	}
	target, err := e.target()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, e.Context.HTTP.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the event's method: %w", err)
	}
	r.URL, r.RequestURI = target, target.RequestURI()
	for name, value := range e.Headers {
		r.Header.Set(name, value)
	}
	if len(e.Cookies) > 0 && r.Header.Get("Cookie") == "" {
		r.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	strip(r.Header)
	if r.Header.Get("X-Request-Id") == "" && id != "" {
		r.Header.Set("X-Request-Id", id)
	}
	r.Host = r.Header.Get("Host")
	if r.Host == "" {
		r.Host = e.Context.DomainName
	}
	r.Header.Del("Host")
	r.RemoteAddr = net.JoinHostPort(e.Context.HTTP.SourceIP, "0")
	return r, nil
}

// target is the path and query that were asked for. Some gateways decode the path.
func (e httpEvent) target() (*url.URL, error) {
	path := e.RawPath
	if path == "" {
		path = e.Context.HTTP.Path
	}
	if path == "" {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") {
		return nil, errors.New("the event's path does not begin with a slash")
	}
	target := &url.URL{Path: path}
	if decoded, err := url.PathUnescape(path); err == nil {
		target = &url.URL{Path: decoded, RawPath: path}
	}
	target.RawQuery = e.RawQuery
	if target.RawQuery == "" && len(e.Query) > 0 {
		query := url.Values{}
		for name, value := range e.Query {
			query.Set(name, value)
		}
		target.RawQuery = query.Encode()
	}
	return target, nil
}

// httpAnswer is what such an event is answered with.
type httpAnswer struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies,omitempty"` // 2.0
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

// httpAnswer is the answer as an event's; headers that repeat are joined by commas, which
// for cookies does not do where the platform has no field for them.
func (w *answerWriter) httpAnswer(cookies bool) httpAnswer {
	answer := httpAnswer{StatusCode: max(w.status, http.StatusOK), Body: w.body.String()}
	answer.Headers, answer.Cookies = joined(w.header, cookies)
	if !utf8.Valid(w.body.Bytes()) || w.header.Get("Content-Encoding") != "" {
		answer.Body, answer.IsBase64Encoded = base64.StdEncoding.EncodeToString(w.body.Bytes()), true
	}
	return answer
}

// joined is a header as a flat map, its cookies apart if they can be.
func joined(header http.Header, cookies bool) (map[string]string, []string) {
	flat := make(map[string]string, len(header))
	var apart []string
	for name, values := range header {
		if cookies && name == "Set-Cookie" {
			apart = slices.Clone(values)
			continue
		}
		flat[name] = strings.Join(values, ", ")
	}
	return flat, apart
}
