package beebot

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"xinghe/shared/sign"
)

type rpcVector struct {
	Name, Method, AccessKeyID, AccessKeySecret string
	Params                                     map[string]string
	CanonicalizedQuery, StringToSign           string
	Signature                                  string
}

type acs3Vector struct {
	Name, Method, Path, AccessKeyID, AccessKeySecret string
	Query, Headers                                   map[string]string
	Body, CanonicalRequest, HashedCanonicalRequest   string
	StringToSign, Signature, Authorization           string
}

func readVectors[T any](t *testing.T, name string) []T {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []T
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatalf("%s: no vectors", name)
	}
	return vectors
}

func TestRPCVectors(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors[rpcVector](t, "rpc-v1-signature-vectors.json") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			if got := canonicalQuery(v.Params, "Signature"); got != v.CanonicalizedQuery {
				t.Errorf("canonical query\ngot  %s\nwant %s", got, v.CanonicalizedQuery)
			}
			text := rpcStringToSign(v.Method, v.Params)
			if text != v.StringToSign {
				t.Errorf("string to sign\ngot  %s\nwant %s", text, v.StringToSign)
			}
			if got := rpcSignature(v.AccessKeySecret, text); got != v.Signature {
				t.Errorf("signature: got %s, want %s", got, v.Signature)
			}
		})
	}
}

// vectorServer knows the caller of a vector and stands at its time.
func vectorServer(t *testing.T, keyID, secret, date, agentKey string) *Server {
	t.Helper()
	at, err := time.Parse(timestampLayout, date)
	if err != nil {
		t.Fatal(err)
	}
	server, err := New(Config{
		Accounts: []Account{{AccessKeyID: keyID, AccessKeySecret: sign.NewSecret(secret)}},
		AgentKey: agentKey, Now: func() time.Time { return at },
		Bots: []Bot{{ID: "chatbot-cn-mp90s2lrk00050", Fallback: Texts{"x"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func answerTo(serve http.HandlerFunc, req *http.Request) (int, string) {
	recorder := httptest.NewRecorder()
	serve(recorder, req)
	var answer struct{ Code string }
	_ = json.Unmarshal(recorder.Body.Bytes(), &answer)
	return recorder.Code, answer.Code
}

// foreign reports whether a vector calls an action of another product, whose signature only the
// unit tests can check: the gateway refuses the version before it looks at the signature.
func foreign(action string) bool { return action != actionApply && action != actionChat }

func TestRPCVectorsOverHTTP(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors[rpcVector](t, "rpc-v1-signature-vectors.json") {
		if foreign(v.Params["Action"]) {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			call := func(change func(url.Values), inForm bool) (int, string) {
				server := vectorServer(t, v.AccessKeyID, v.AccessKeySecret, v.Params["Timestamp"], v.Params["AgentKey"])
				values := url.Values{"Signature": {v.Signature}}
				for name, value := range v.Params {
					values.Set(name, value)
				}
				change(values)
				req := httptest.NewRequest(v.Method, "/?"+values.Encode(), nil)
				if inForm {
					req = httptest.NewRequest(v.Method, "/", strings.NewReader(values.Encode()))
					req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
				return answerTo(server.ServeRPC, req)
			}
			keep := func(url.Values) {}
			if status, code := call(keep, false); status != http.StatusOK {
				t.Errorf("in the query: refused with %d %s", status, code)
			}
			if status, code := call(keep, v.Method == http.MethodPost); status != http.StatusOK {
				t.Errorf("in the form: refused with %d %s", status, code)
			}
			for i := range v.Signature {
				status, code := call(func(p url.Values) { p.Set("Signature", changed(v.Signature, i)) }, false)
				if status != http.StatusBadRequest || code != "SignatureDoesNotMatch" {
					t.Errorf("byte %d of the signature changed: %d %s", i, status, code)
				}
			}
			for name, value := range v.Params {
				if status, _ := call(func(p url.Values) { p.Set(name, changed(value, len(value)-1)) }, false); status == http.StatusOK {
					t.Errorf("a byte of %s changed: accepted", name)
				}
			}
		})
	}
}

// changed replaces one byte by another; of an empty text it makes one.
func changed(text string, at int) string {
	if at < 0 {
		return "x"
	}
	next := byte('A')
	if text[at] == next {
		next = 'B'
	}
	return text[:at] + string(next) + text[at+1:]
}

func acs3Request(v acs3Vector) *http.Request {
	query := url.Values{}
	for name, value := range v.Query {
		query.Set(name, value)
	}
	req := httptest.NewRequest(v.Method, "/?"+query.Encode(), strings.NewReader(v.Body))
	for name, value := range v.Headers {
		if name == "host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	req.Header.Set("Authorization", v.Authorization)
	return req
}

func TestACS3Vectors(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors[acs3Vector](t, "acs3-signature-vectors.json") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			c, no := readCall(httptest.NewRecorder(), acs3Request(v))
			if no != nil {
				t.Fatal(no.message)
			}
			authorization := parseACS3(v.Authorization)
			canonical := acs3CanonicalRequest(c, authorization.signed)
			if canonical != v.CanonicalRequest {
				t.Errorf("canonical request\ngot  %q\nwant %q", canonical, v.CanonicalRequest)
			}
			if got := acs3StringToSign(canonical); got != v.StringToSign {
				t.Errorf("string to sign: got %q, want %q", got, v.StringToSign)
			}
			if got := acs3Signature(v.AccessKeySecret, v.StringToSign); got != v.Signature || got != authorization.signature {
				t.Errorf("signature: got %s, want %s", got, v.Signature)
			}
		})
	}
}

func TestACS3VectorsOverHTTP(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors[acs3Vector](t, "acs3-signature-vectors.json") {
		if foreign(v.Headers["x-acs-action"]) {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			call := func(change func(*http.Request)) (int, string) {
				server := vectorServer(t, v.AccessKeyID, v.AccessKeySecret, v.Headers["x-acs-date"], v.Query["AgentKey"])
				req := acs3Request(v)
				change(req)
				return answerTo(server.ServeRPC, req)
			}
			if status, code := call(func(*http.Request) {}); status != http.StatusOK {
				t.Errorf("refused with %d %s", status, code)
			}
			for i := range v.Signature {
				altered := strings.Replace(v.Authorization, v.Signature, changed(v.Signature, i), 1)
				status, code := call(func(r *http.Request) { r.Header.Set("Authorization", altered) })
				if status != http.StatusBadRequest || code != "SignatureDoesNotMatch" {
					t.Errorf("byte %d of the signature changed: %d %s", i, status, code)
				}
			}
			for name, value := range v.Headers {
				status, _ := call(func(r *http.Request) {
					r.Header.Set(name, changed(value, len(value)-1))
					if name == "host" {
						r.Host = changed(value, 0)
					}
				})
				if status == http.StatusOK {
					t.Errorf("a byte of %s changed: accepted", name)
				}
			}
			status, code := call(func(r *http.Request) {
				*r = *httptest.NewRequest(r.Method, r.URL.String(), strings.NewReader("x")).WithContext(r.Context())
			})
			if status == http.StatusOK {
				t.Errorf("unsigned: accepted (%s)", code)
			}
		})
	}
}
