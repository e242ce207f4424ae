package runtimes

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"strings"
	"unicode/utf8"
)

// joined is a header or parameter that is there more than once, in formats that have one
// value for each.
func joined(values []string) string { return strings.Join(values, ",") }

// asText is a body inside JSON: as it is if its type and its bytes are those of a text,
// Base64 otherwise.
func asText(r *http.Request, body []byte) (text string, encoded bool) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	textual := kind == "" || strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "json") || strings.HasSuffix(kind, "xml") || strings.HasSuffix(kind, "javascript")
	if textual && utf8.Valid(body) {
		return string(body), false
	}
	return base64.StdEncoding.EncodeToString(body), true
}

func contextOf(r *http.Request) httpContext {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	return httpContext{Method: r.Method, Path: r.URL.Path, Protocol: r.Proto, SourceIP: ip, UserAgent: r.UserAgent()}
}

// bufferedAnswer is the answer to a request that came as an event.
type bufferedAnswer struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

// answerHTTP makes a result the answer to a request. A result without a statusCode is the
// body itself.
func answerHTTP(w http.ResponseWriter, payload []byte) {
	var a bufferedAnswer
	if json.Unmarshal(payload, &a) != nil || a.StatusCode == 0 {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(payload)
		return
	}
	body := []byte(a.Body)
	if a.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(a.Body)
		if err != nil {
			http.Error(w, "the function's body is no Base64", http.StatusBadGateway)
			return
		}
		body = decoded
	}
	a.head(w)
	_, _ = w.Write(body)
}

// head writes status and headers.
func (a *bufferedAnswer) head(w http.ResponseWriter) {
	for name, value := range a.Headers {
		if !strings.EqualFold(name, "Content-Length") {
			w.Header().Set(name, value)
		}
	}
	for _, cookie := range a.Cookies {
		w.Header().Add("Set-Cookie", cookie)
	}
	w.WriteHeader(a.StatusCode)
}
