package stack_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"xinghe/shared/httpapi"
)

// contract is the OpenAPI document, to which exchanges with the front door are held.
type contract struct {
	doc *openapi3.T
	mux *http.ServeMux // finds the operation of a request

	mu   sync.Mutex
	seen map[string][]int // statuses of each route's pattern
}

// specification is the document, read once: as one that tells all, so that where a schema has no word on further
// fields, there must be none.
var specification = sync.OnceValues(func() (*openapi3.T, error) {
	// The validator does not know these types. What stands in streams and lines is looked at
	// in parts.
	for _, kind := range []string{
		"text/event-stream", "text/csv", "application/x-ndjson", "application/ndjson", "application/gzip", "application/zstd", "image/png",
	} {
		openapi3filter.RegisterBodyDecoder(kind, openapi3filter.PlainBodyDecoder)
	}
	text, err := os.ReadFile("../../shared/openapi/openapi.json")
	if err != nil {
		return nil, err
	}
	var raw map[string]any
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	shut(raw)
	name(raw)
	if text, err = json.Marshal(raw); err != nil {
		return nil, err
	}
	return openapi3.NewLoader().LoadFromData(text)
})

// newContract is the contract of these routes, all of which must be in the document.
func newContract(t *testing.T, routes []httpapi.Route) *contract {
	t.Helper()
	doc, err := specification()
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{doc: doc, mux: http.NewServeMux(), seen: map[string][]int{}}
	for _, route := range routes {
		method, path := operationOf(route)
		item := c.doc.Paths.Value(path)
		if item == nil || item.GetOperation(method) == nil {
			t.Errorf("%s is served and not in the document", route.Pattern)
			continue
		}
		c.mux.Handle(route.Pattern, &matched{pattern: route.Pattern, route: &routers.Route{
			Spec: c.doc, Path: path, PathItem: item, Method: method, Operation: item.GetOperation(method),
		}})
	}
	return c
}

// operationOf is where a route stands in the document.
func operationOf(route httpapi.Route) (method, path string) {
	method, path, _ = strings.Cut(route.Pattern, " ")
	return method, strings.ReplaceAll(path, "...}", "}")
}

// shut closes the objects of which the document does not say that they are open.
func shut(node any) {
	switch node := node.(type) {
	case map[string]any:
		_, fields := node["properties"]
		if _, told := node["additionalProperties"]; fields && !told && node["type"] == "object" {
			node["additionalProperties"] = false
		}
		for _, inner := range node {
			shut(inner)
		}
	case []any:
		for _, inner := range node {
			shut(inner)
		}
	}
}

// name moves the schemas of events and lines to where the validator takes them for schemas,
// and leaves their names behind.
func name(raw map[string]any) {
	schemas := raw["components"].(map[string]any)["schemas"].(map[string]any)
	moved := func(schema any) string {
		name := "Moved" + strconv.Itoa(len(schemas))
		schemas[name] = schema
		return name
	}
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if events, ok := node["x-events"].(map[string]any); ok {
				for kind, schema := range events {
					events[kind] = moved(schema)
				}
			}
			if line, ok := node["x-lines"]; ok {
				node["x-lines"] = moved(line)
			}
			for _, inner := range node {
				walk(inner)
			}
		case []any:
			for _, inner := range node {
				walk(inner)
			}
		}
	}
	walk(raw["paths"])
}

// matched is the operation of a request; it stands as the handler of its pattern.
type matched struct {
	pattern string
	route   *routers.Route
}

// finder is what a handler answers to.
type finder struct {
	http.ResponseWriter
	operation *matched
	params    map[string]string
}

var parameter = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

func (m *matched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found := w.(*finder)
	found.operation, found.params = m, map[string]string{}
	for _, name := range parameter.FindAllStringSubmatch(m.pattern, -1) {
		found.params[name[1]] = r.PathValue(name[1])
	}
}

// input finds the operation of a request; nil if the front door has none.
func (c *contract) input(r *http.Request, body []byte) (*matched, *openapi3filter.RequestValidationInput) {
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	found := &finder{ResponseWriter: httptest.NewRecorder()}
	c.mux.ServeHTTP(found, r)
	if found.operation == nil {
		return nil, nil
	}
	return found.operation, &openapi3filter.RequestValidationInput{
		Request: r, PathParams: found.params, Route: found.operation.route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	}
}

// request says what the document has against a request.
func (c *contract) request(r *http.Request, body []byte) error {
	_, input := c.input(r, body)
	if input == nil {
		return fmt.Errorf("%s %s has no operation", r.Method, r.URL.Path)
	}
	return openapi3filter.ValidateRequest(r.Context(), input)
}

// response says what the document has against an answer, and notes that it was seen.
func (c *contract) response(r *http.Request, body []byte, a answer) error {
	operation, input := c.input(r, body)
	if operation == nil {
		return nil // of which the document speaks in general
	}
	c.mu.Lock()
	c.seen[operation.pattern] = append(c.seen[operation.pattern], a.status)
	c.mu.Unlock()
	declared := operation.route.Operation.Responses.Value(strconv.Itoa(a.status))
	if declared == nil {
		return fmt.Errorf("status %d is not in the document", a.status)
	}
	for name := range a.header {
		if telling[name] && !has(declared.Value.Headers, name) {
			return fmt.Errorf("the header %s of status %d is not in the document", name, a.status)
		}
	}
	if r.Method == http.MethodHead {
		return nil
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: a.status, Header: a.header}
	out.SetBodyBytes([]byte(a.body))
	if err := openapi3filter.ValidateResponse(r.Context(), out); err != nil {
		return err
	}
	return c.parts(declared.Value.Content.Get(a.header.Get("Content-Type")), a.body)
}

// telling are the headers that answers may have only if the document says so.
var telling = map[string]bool{
	"X-Request-Id": true, "X-Upstream-Request-Id": true, "X-Session-Id": true, "Idempotency-Replayed": true, "Retry-After": true,
	"Location": true, "Www-Authenticate": true, "Etag": true, "Content-Disposition": true, "Last-Modified": true, "Content-Range": true,
}

func has(headers openapi3.Headers, name string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(headers)), func(other string) bool { return strings.EqualFold(other, name) })
}

// parts holds events and lines to their schemas.
func (c *contract) parts(media *openapi3.MediaType, body string) error {
	if media == nil {
		return nil
	}
	if kinds, ok := media.Extensions["x-events"].(map[string]any); ok {
		for i, event := range events(body) {
			schema, known := kinds[or(event.kind, "message")].(string)
			if !known {
				return fmt.Errorf("event %d is of the unknown kind %q", i, event.kind)
			}
			if err := c.fits(schema, event.data); err != nil {
				return fmt.Errorf("event %d, %s: %w", i, event.data, err)
			}
		}
	}
	if schema, ok := media.Extensions["x-lines"].(string); ok {
		for line := range strings.Lines(body) {
			if err := c.fits(schema, line); err != nil {
				return fmt.Errorf("line %s: %w", line, err)
			}
		}
	}
	return nil
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}

func (c *contract) fits(schema, data string) error {
	var value any = strings.TrimSpace(data)
	if value != "[DONE]" {
		if err := json.Unmarshal([]byte(data), &value); err != nil {
			return err
		}
	}
	return c.doc.Components.Schemas[schema].Value.VisitJSON(value, openapi3.EnableJSONSchema2020())
}

// recorder holds all exchanges with a front door to the contract, whichever test has them.
type recorder struct {
	*http.Transport
	t        *testing.T
	contract *contract
	front    string // address of the front door; what goes elsewhere is not looked at
}

func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.GetBody != nil {
		reader, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		if body, err = io.ReadAll(reader); err != nil {
			return nil, err
		}
	}
	resp, err := rec.Transport.RoundTrip(r)
	if err != nil || "http://"+r.URL.Host != rec.front {
		return resp, err
	}
	resp.Body = &recorded{ReadCloser: resp.Body, whole: func(text string) {
		a := answer{resp.StatusCode, resp.Header, text}
		if err := rec.contract.response(r, body, a); err != nil {
			rec.t.Errorf("%s %s: %d %s\nis not as the document says: %v", r.Method, r.URL, a.status, text, err)
		}
		if err := rec.contract.request(r, body); err != nil && a.status < http.StatusBadRequest && !partly(a) {
			rec.t.Errorf("%s %s %s\nis served, and not as the document says: %v", r.Method, r.URL, body, err)
		}
	}}
	return resp, nil
}

// partly tells that only some rows of a request were good.
func partly(a answer) bool {
	var told struct {
		RejectedCount int `json:"rejectedCount"`
	}
	return json.Unmarshal([]byte(a.body), &told) == nil && told.RejectedCount > 0
}

// recorded is a body that is looked at when it has been read to its good end.
type recorded struct {
	io.ReadCloser
	text  bytes.Buffer
	whole func(text string)
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.text.Write(p[:n])
	if errors.Is(err, io.EOF) && r.whole != nil {
		r.whole(r.text.String())
		r.whole = nil
	}
	return n, err
}
