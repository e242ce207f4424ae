package xingchen

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"xinghe/shared/upstream"
)

// Call is a request as a relay hands it on.
type Call struct {
	Route Route
	// Path replaces the route's where that ends in a parameter. It is escaped as in a request
	// line.
	Path string
	// Service replaces the route's service name, for services that this package does not know
	// by path.
	Service string
	Query   url.Values
	// Body is sent as it is and must not change until the call is over.
	Body []byte
	// DataInspection asks for the content check.
	DataInspection bool
	// RequestID is the caller's trace id, sent as x-request-id.
	RequestID string
}

// CallOption adds to a typed call what does not stand in its body.
type CallOption func(*Call)

// WithRequestID sends a trace id.
func WithRequestID(id string) CallOption { return func(c *Call) { c.RequestID = id } }

// WithDataInspection asks for the content check.
func WithDataInspection() CallOption { return func(c *Call) { c.DataInspection = true } }

// Answer is a success as it came.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes a call that is not a stream and returns the answer as it came. It returns an
// [*Error] where status, content type or the envelope say that upstream refused, whose Body
// may be passed on; a [*upstream.NetworkError]; [upstream.ErrTooLarge]; or the context's
// error.
func (c *Client) Do(ctx context.Context, call *Call) (*Answer, error) {
	callCtx, attempt := c.service.Begin(ctx, call.op())
	defer attempt.End()
	req, err := c.request(callCtx, call, false)
	if err != nil {
		return nil, err
	}
	resp, err := c.service.Transport.RoundTrip(req)
	if err != nil {
		return nil, attempt.Failure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := c.service.ReadAll(resp)
	if err != nil {
		return nil, attempt.Broken(err)
	}
	if err := c.check(call.Route, resp, body); err != nil {
		return nil, err
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

func (c *Call) op() string { return c.Route.Method + " " + c.path() }

func (c *Call) path() string {
	if c.Path != "" {
		return c.Path
	}
	return c.Route.Path
}

func (c *Call) service(stream bool) string {
	switch {
	case c.Service != "":
		return c.Service
	case stream:
		return c.Route.StreamService
	}
	return c.Route.Service
}

// request builds the HTTP request with the headers that the gateway wants. The body stands
// in memory, so that net/http can send it again on a fresh connection if the one it picked
// turns out to be dead before a byte was written.
func (c *Client) request(ctx context.Context, call *Call, stream bool) (*http.Request, error) {
	path := call.path()
	if !strings.HasPrefix(path, "/v2/api/") || strings.Contains(path, "/..") || strings.ContainsAny(path, "?#{") {
		return nil, &upstream.FieldError{Field: "path", Message: "not a path of the API"}
	}
	address := c.base + path
	if len(call.Query) > 0 {
		address += "?" + call.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.Route.Method, address, bytes.NewReader(call.Body))
	if err != nil {
		return nil, &upstream.FieldError{Field: "path", Message: "not a path of the API"}
	}
	if len(call.Body) == 0 {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	c.setHeaders(req.Header, call, stream)
	return req, nil
}

func (c *Client) setHeaders(h http.Header, call *Call, stream bool) {
	h.Set("Authorization", "Bearer "+c.key.Reveal())
	h.Set(HeaderService, call.service(stream))
	h["Content-Type"], h["Accept"], h[headerApp] = asJSON, asJSON, app
	if stream {
		h["Accept"], h[headerStream] = asStream, enabling
	}
	if call.DataInspection {
		h[headerInspection] = enabling
	}
	if call.RequestID != "" {
		h.Set(headerRequestID, call.RequestID)
	}
}

// check tells a success from a refusal. The envelope is decoded only if a glance does not
// settle it: what ends in success:true, as upstream's envelopes do, and holds no field of an
// error. Quotation marks inside a text are escaped.
func (c *Client) check(route Route, resp *http.Response, body []byte) error {
	if resp.StatusCode < 200 || resp.StatusCode > 299 || !isJSON(resp.Header) {
		return c.newError(resp.StatusCode, resp.Header, body)
	}
	if bytes.HasSuffix(body, []byte(`,"success":true}`)) &&
		!bytes.Contains(body, []byte(`Code"`)) && !bytes.Contains(body, []byte(`"success":false`)) {
		return nil
	}
	var r refusal
	if err := json.Unmarshal(body, &r); err != nil {
		return &upstream.DecodeError{Service: name, What: "answer", Err: err}
	}
	if r.failed() {
		return c.newError(resp.StatusCode, resp.Header, body)
	}
	if !route.Bare && r.Success == nil && r.code() != http.StatusOK {
		return c.newError(resp.StatusCode, resp.Header, body)
	}
	return nil
}

// isJSON also takes an answer without a content type: it will be decoded anyway.
func isJSON(h http.Header) bool {
	kind := upstream.MediaType(h)
	return kind == "" || strings.HasSuffix(kind, "json")
}

// call makes a typed call that is answered in the envelope.
func call[T any](ctx context.Context, c *Client, route Route, query url.Values, body any, opts []CallOption) (T, error) {
	var (
		none     T
		envelope struct {
			Data T `json:"data"`
		}
	)
	request := &Call{Route: route, Query: query}
	for _, opt := range opts {
		opt(request)
	}
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return none, fmt.Errorf("xingchen: encode request: %w", err)
		}
		request.Body = encoded
	}
	answer, err := c.Do(ctx, request)
	if err != nil {
		return none, err
	}
	if err := json.Unmarshal(answer.Body, &envelope); err != nil {
		return none, &upstream.DecodeError{Service: name, What: "answer", Err: err}
	}
	return envelope.Data, nil
}

// done turns the answer of a call that reports a bare true into an error or none. An answer
// without data counts as done: the documents show none.
func done(ok *bool, err error) error {
	if err == nil && ok != nil && !*ok {
		return &Error{HTTPStatus: http.StatusOK, Message: "upstream reports that nothing was done"}
	}
	return err
}
