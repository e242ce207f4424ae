package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"xinghe/shared/sign"
)

// MediaType is the content type without its parameters, in lower case.
func MediaType(h http.Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// RetryAfter reads the header of that name, in seconds or as a date; 0 if it asks for no
// wait.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// Describe says what came where upstream has not said a sentence of its own, such as "Bad
// Gateway (text/html)".
func Describe(status int, h http.Header, body []byte) string {
	kind := h.Get("Content-Type")
	switch {
	case len(body) == 0:
		kind = "no body"
	case kind == "":
		kind = "no content type"
	}
	return strings.TrimSpace(http.StatusText(status) + " (" + sign.Redact(kind) + ")")
}
