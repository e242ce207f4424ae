package runtimes

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// What the emulated account is called by.
const (
	fcRegion  = "cn-hangzhou"
	fcAccount = "1234567890123456"
	fcMemory  = "512"
)

// Limits of a request on Function Compute.
const (
	fcHeaderLimit = 8 << 10
	fcPathLimit   = 4 << 10
	fcBodyLimit   = 32 << 20
)

// fcEnv is what Function Compute sets; the function's own variables come last and prevail,
// so that the credentials of its role can be given.
func fcEnv(cfg Config, more ...string) []string {
	env := []string{
		"FC_FUNC_CODE_PATH=/code", "FC_ACCOUNT_ID=" + fcAccount, "FC_FUNCTION_NAME=" + cfg.Name, "FC_FUNCTION_HANDLER=bootstrap",
		"FC_FUNCTION_MEMORY_SIZE=" + fcMemory, "FC_REGION=" + fcRegion, "FC_INSTANCE_ID=c-" + ulid.Make().String(), "FC_FUNCTION_VERSION=LATEST",
		"ALIBABA_CLOUD_ACCESS_KEY_ID=STS.local", "ALIBABA_CLOUD_ACCESS_KEY_SECRET=local", "ALIBABA_CLOUD_SECURITY_TOKEN=local",
		"XINGHE_ENTRY=" + cfg.Entry,
	}
	return append(append(env, more...), cfg.Env...)
}

// fcHeaders are what each call of Function Compute carries. Credentials and tracing are
// there and empty, as on runtimes that get theirs from the environment.
func fcHeaders(cfg Config, id string, attempt int) http.Header {
	h := http.Header{}
	for name, value := range map[string]string{
		"request-id": id, "function-name": cfg.Name, "function-handler": "bootstrap", "function-memory": fcMemory,
		"function-timeout": strconv.Itoa(max(int(cfg.Timeout/time.Second), 1)),
		"region":           fcRegion, "account-id": fcAccount, "qualifier": "LATEST", "version-id": "", "retry-count": strconv.Itoa(attempt - 1),
		"access-key-id": "", "access-key-secret": "", "security-token": "",
		"service-name": "", "service-logproject": "", "service-logstore": "",
		"tracing-opentracing-span-context": "", "tracing-opentracing-span-baggages": "", "tracing-jaeger-endpoint": "",
	} {
		h.Set("X-Fc-"+name, value)
	}
	return h
}

// fcRefusal says why a request does not reach the function; empty if it does. The body's
// length is told by whoever has read it.
func fcRefusal(r *http.Request, body int) string {
	size := 0
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	switch {
	case size > fcHeaderLimit:
		return "the headers are longer than 8 KB"
	case len(r.URL.RequestURI()) > fcPathLimit:
		return "the path is longer than 4 KB"
	case body > fcBodyLimit:
		return "the body is longer than 32 MB"
	}
	return ""
}

// fcRefuse answers in Function Compute's name.
func fcRefuse(w http.ResponseWriter, id string, status int, code, message string) {
	w.Header().Set("X-Fc-Request-Id", id)
	w.Header().Set("X-Fc-Error-Type", code)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"RequestId": id, "ErrorCode": code, "ErrorMessage": message})
}

// fcFail tells the caller of a call that came to no end of its own.
func fcFail(w http.ResponseWriter, id, word string) {
	status := http.StatusBadGateway
	if word == ErrorTimeout {
		status = http.StatusGatewayTimeout
	}
	fcRefuse(w, id, status, word, "the function gave no answer")
}

// fcID is the id of a call.
func fcID() string { return "1-" + strings.ToLower(ulid.Make().String()) }
