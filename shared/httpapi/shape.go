package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
)

// Shape writes a refusal in the form that a surface's clients expect.
type Shape func(w http.ResponseWriter, requestID string, refusal *Error)

// Problem writes application/problem+json (RFC 9457), the shape of our own routes.
func Problem(w http.ResponseWriter, requestID string, refusal *Error) {
	write(w, refusal, "application/problem+json", ProblemBody(requestID, refusal))
}

// ProblemBody is the JSON document of [Problem], which Beebot streams also carry in an
// event:error.
func ProblemBody(requestID string, refusal *Error) any {
	return struct {
		Type      string       `json:"type"`
		Title     string       `json:"title"`
		Status    int          `json:"status"`
		Detail    string       `json:"detail,omitempty"`
		Code      string       `json:"code"`
		RequestID string       `json:"requestId"`
		Errors    []FieldError `json:"errors,omitempty"`
	}{"about:blank", http.StatusText(refusal.Status), refusal.Status, refusal.message(), refusal.Code, requestID, refusal.Fields}
}

// envelopeKeys are the keys of upstream's error table that fit a refusal of ours.
var envelopeKeys = map[string]string{
	CodeInvalidField:     "aca.error.invalid.param",
	CodeInvalidJSON:      "aca.error.invalid.request.params.unreadable",
	CodeMediaType:        "aca.error.invalid.request",
	CodeUnauthorized:     "aca.error.invalid.token",
	CodeForbidden:        "aca.error.no.permission",
	CodeNotFound:         "aca.error.notfound",
	CodeMethodNotAllowed: "aca.error.invalid.request.method",
}

// Envelope writes Xingchen's answer envelope with success false, in both dialects that
// its clients read (code and errorMessageKey; errorCode and errorName).
func Envelope(w http.ResponseWriter, requestID string, refusal *Error) {
	write(w, refusal, "application/json", EnvelopeBody(requestID, refusal))
}

// EnvelopeBody is the JSON document of [Envelope], which Xingchen streams also carry in an
// event:error.
func EnvelopeBody(requestID string, refusal *Error) any {
	return struct {
		RequestID       string `json:"requestId"`
		Success         bool   `json:"success"`
		Code            int    `json:"code"`
		ErrorCode       int    `json:"errorCode"`
		ErrorName       string `json:"errorName"`
		ErrorMessage    string `json:"errorMessage"`
		ErrorMessageKey string `json:"errorMessageKey,omitempty"`
		HTTPStatusCode  int    `json:"httpStatusCode"`
	}{
		requestID, false, refusal.Status, refusal.Status, refusal.Code, refusal.message(),
		envelopeKeys[refusal.Code], refusal.Status,
	}
}

// OpenAI writes the error object that OpenAI's clients read.
func OpenAI(w http.ResponseWriter, requestID string, refusal *Error) {
	write(w, refusal, "application/json", OpenAIBody(requestID, refusal))
}

// OpenAIBody is the JSON document of [OpenAI], which its streams also carry.
func OpenAIBody(requestID string, refusal *Error) any {
	kind := "api_error"
	switch status := refusal.Status; {
	case status == http.StatusUnauthorized:
		kind = "authentication_error"
	case status == http.StatusForbidden:
		kind = "permission_error"
	case status == http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case status < http.StatusInternalServerError:
		kind = "invalid_request_error"
	}
	var param *string
	if len(refusal.Fields) > 0 {
		param = &refusal.Fields[0].Field
	}
	type object struct {
		Message   string  `json:"message"`
		Type      string  `json:"type"`
		Param     *string `json:"param"`
		Code      string  `json:"code"`
		RequestID string  `json:"request_id"`
	}
	return map[string]object{"error": {refusal.message(), kind, param, refusal.Code, requestID}}
}

// ofSuccess are headers that a handler may have set before it failed, and that say nothing true
// of a refusal.
var ofSuccess = []string{"Content-Length", "Content-Disposition", "Cache-Control", "Etag", "Last-Modified"}

func write(w http.ResponseWriter, refusal *Error, contentType string, body any) {
	for _, name := range ofSuccess {
		w.Header().Del(name)
	}
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(refusal.RetryAfter.Seconds()))))
	}
	if refusal.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", cmp.Or(refusal.Challenge, "Bearer"))
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(refusal.Status)
	// A client that is gone cannot be told.
	_ = json.NewEncoder(w).Encode(body)
}

// WriteJSON answers with a JSON document.
func WriteJSON(w http.ResponseWriter, status int, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}
