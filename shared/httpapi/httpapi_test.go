package httpapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/httpapi"
)

// bundle is a surface with one route of each shape, and its log.
type bundle struct {
	handler http.Handler
	log     *bytes.Buffer
}

func setup(t *testing.T, routes ...httpapi.Route) bundle {
	t.Helper()
	keys, err := httpapi.ParseKeys(fmt.Sprintf(`[
		{"name":"all","sha256":%q,"scopes":["chat","export"]},
		{"name":"chat-only","sha256":%q,"scopes":["chat"]},
		{"name":"slow","sha256":%q,"scopes":["chat"],"rps":1}]`, digest("all-key"), digest("chat-key"), digest("slow-key")))
	if err != nil {
		t.Fatal(err)
	}
	b := bundle{log: new(bytes.Buffer)}
	b.handler, err = httpapi.New(httpapi.Config{Keys: keys, Origins: []string{"https://app.example"}, Logger: zerolog.New(b.log)}, routes...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func (b bundle) do(method, path, key, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

func ok(w http.ResponseWriter, _ *http.Request) error {
	return httpapi.WriteJSON(w, http.StatusOK, map[string]bool{"ok": true})
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	b := setup(t,
		httpapi.Route{Pattern: "POST /v1/exports", Scope: httpapi.ScopeExport, Handler: ok},
		httpapi.Route{Pattern: "POST /v2/api/chat/send", Scope: httpapi.ScopeChat, Shape: httpapi.Envelope, Handler: ok},
		httpapi.Route{Pattern: "POST /v1/chat/completions", Scope: httpapi.ScopeChat, Shape: httpapi.OpenAI, Handler: ok},
	)
	for _, tc := range []struct {
		name, method, path, key string
		status                  int
		want                    []string
	}{
		{"good key", "POST", "/v1/exports", "all-key", 200, []string{`"ok":true`}},
		{"no key", "POST", "/v1/exports", "", 401, []string{`"code":"unauthorized"`, `"status":401`, `"requestId":"req_`}},
		{"wrong key", "POST", "/v1/exports", "nope", 401, []string{`"code":"unauthorized"`}},
		{"key without the scope", "POST", "/v1/exports", "chat-key", 403, []string{`"code":"forbidden"`, `export`}},
		{"envelope", "POST", "/v2/api/chat/send", "nope", 401, []string{`"success":false`, `"code":401`, `"errorCode":401`, `"errorMessageKey":"aca.error.invalid.token"`}},
		{"openai", "POST", "/v1/chat/completions", "nope", 401, []string{`{"error":{"message":`, `"type":"authentication_error"`, `"param":null`}},
		{"unknown route", "GET", "/nope", "", 404, []string{`"code":"not_found"`, `GET /nope`}},
		{"unknown upstream route", "POST", "/v2/api/nope", "", 404, []string{`"errorMessageKey":"aca.error.notfound"`}},
		{"unknown openai route", "POST", "/v1/chat/nope", "", 404, []string{`"type":"invalid_request_error"`}},
		{"wrong method", "GET", "/v1/exports", "", 405, []string{`"code":"method_not_allowed"`, `use POST`}},
		{"path to be cleaned", "POST", "//v1/exports", "all-key", 404, []string{`"code":"not_found"`}},
		{"health", "GET", "/healthz", "", 200, []string{`"status":"ok"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := b.do(tc.method, tc.path, tc.key, "{}")
			if w.Code != tc.status {
				t.Errorf("status %d, want %d: %s", w.Code, tc.status, w.Body)
			}
			for _, want := range tc.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("no %s in %s", want, w.Body)
				}
			}
			if w.Header().Get("X-Request-Id") == "" {
				t.Error("no X-Request-Id")
			}
			if tc.status != 200 && !json.Valid(w.Body.Bytes()) {
				t.Errorf("not JSON: %s", w.Body)
			}
		})
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	b := setup(t, httpapi.Route{Pattern: "GET /x", Scope: httpapi.ScopeChat, Handler: ok})
	if w := b.do("GET", "/x", "slow-key", ""); w.Code != http.StatusOK {
		t.Fatalf("first call: %d", w.Code)
	}
	w := b.do("GET", "/x", "slow-key", "")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
		t.Errorf("second call: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if w := b.do("GET", "/x", "all-key", ""); w.Code != http.StatusOK {
		t.Errorf("another key pays for it: %d", w.Code)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	b := setup(t, httpapi.Route{Pattern: "GET /x", Handler: ok})
	for given, kept := range map[string]bool{
		"abc-123": true, strings.Repeat("x", 128): true,
		"": false, "with space": false, "line\nbreak": false, "中文": false, strings.Repeat("x", 129): false,
	} {
		got := b.do("GET", "/x", "", "", "X-Request-Id", given).Header().Get("X-Request-Id")
		if (got == given) != kept || got == "" {
			t.Errorf("id %q was answered as %q", given, got)
		}
	}
}

func TestErrorsBecomeRefusals(t *testing.T) {
	t.Parallel()
	fail := func(err error) httpapi.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) error { return err }
	}
	b := setup(t,
		httpapi.Route{Pattern: "GET /fields", Handler: fail(httpapi.Invalid(
			httpapi.FieldError{Field: "from", Message: "missing"}, httpapi.FieldError{Field: "to", Message: "before from"}))},
		httpapi.Route{Pattern: "GET /inner", Handler: fail(errors.New("password=hunter2 is wrong"))},
		httpapi.Route{Pattern: "GET /wrapped", Handler: fail(fmt.Errorf("start: %w", httpapi.NotFound("export exp_1")))},
		httpapi.Route{Pattern: "GET /panic", Handler: func(http.ResponseWriter, *http.Request) error { panic("boom") }},
	)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/fields":  {400, `"detail":"from: missing; to: before from","code":"invalid_field"`},
		"/inner":   {500, `"code":"internal"`},
		"/wrapped": {404, `export exp_1 does not exist`},
		"/panic":   {500, `"code":"internal"`},
	} {
		w := b.do("GET", path, "", "")
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.body) {
			t.Errorf("%s: %d %s, want %d %s", path, w.Code, w.Body, want.status, want.body)
		}
		if strings.Contains(w.Body.String(), "hunter2") || strings.Contains(w.Body.String(), "boom") {
			t.Errorf("%s: the inside is shown: %s", path, w.Body)
		}
	}
	for _, want := range []string{`"level":"error"`, `"stack":"panic(`, `"error":"panic: boom"`, `"route":"GET /panic"`} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("no %s in the log: %s", want, b.log)
		}
	}
}

func TestPanicAfterFirstByteAborts(t *testing.T) {
	t.Parallel()
	b := setup(t, httpapi.Route{Pattern: "GET /x", Handler: func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("boom")
	}})
	server := httptest.NewServer(b.handler)
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the client takes %q for a whole answer", body)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	type spec struct {
		Name string    `json:"name"`
		From time.Time `json:"from"`
		List []string  `json:"list"`
	}
	b := setup(t, httpapi.Route{Pattern: "POST /x", Handler: func(w http.ResponseWriter, r *http.Request) error {
		body, err := httpapi.ReadBody(r)
		if err != nil {
			return err
		}
		var s spec
		if err := httpapi.DecodeStrict(body, &s); err != nil {
			return err
		}
		return ok(w, r)
	}})
	for _, tc := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"good", `{"name":"a","from":"2024-05-01T00:00:00Z"}`, 200, ""},
		{"empty", ``, 400, "the body is empty"},
		{"cut", `{"name":`, 400, "ends too early"},
		{"broken", `{"name":}`, 400, "not valid JSON at byte 9"},
		{"comment", "{//x\n}", 400, "not valid JSON at byte 2"},
		{"two documents", `{} {}`, 400, "more follows"},
		{"wrong type", `{"list":5}`, 400, `"field":"list"`},
		{"wrong type at the top", `[]`, 400, `"field":"body"`},
		{"unknown field", `{"colour":"a"}`, 400, `"field":"colour"`},
		{"bad time", `{"from":"yesterday"}`, 400, `from: want a time such as`},
		{"too long", `{"name":"` + strings.Repeat("x", 7<<20) + `"}`, 413, "body_too_large"},
		{"just short enough", `{"name":"` + strings.Repeat("x", httpapi.MaxBody-11) + `"}`, 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := b.do("POST", "/x", "", tc.body)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, tc.status, tc.want)
			}
		})
	}
	t.Run("too long, length not announced", func(t *testing.T) {
		r := httptest.NewRequest("POST", "/x", io.MultiReader(strings.NewReader(strings.Repeat("x", 7<<20))))
		r.ContentLength = -1
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", w.Code)
		}
	})
}
