package xingchen_test

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// refuse returns what the client makes of an answer.
func refuse(t *testing.T, status int, header http.Header, body string) error {
	t.Helper()
	client := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	_, err := client.Do(t.Context(), &xingchen.Call{Route: chatRoute(t)})
	_, openErr := client.Open(t.Context(), &xingchen.Call{Route: chatRoute(t)})
	if got, want := asError(openErr), asError(err); got != nil && want != nil && status != http.StatusOK {
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(xingchen.Error{}, "RetryAfter")); diff != "" {
			t.Errorf("Open and Do disagree (-do +open):\n%s", diff)
		}
	}
	return err
}

func asError(err error) *xingchen.Error {
	e, _ := errors.AsType[*xingchen.Error](err)
	return e
}

func TestErrorDialects(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status    int
		header    http.Header
		body      string
		want      xingchen.Error
		kind      upstream.Kind
		retryable bool
	}{
		"both dialects": {
			status: 400, body: string(fixture(t, "assumed-xingchen-error-response.json")),
			want: xingchen.Error{Code: 404, Key: "aca.error.notfound", Name: "Not Found", Message: "Not Found", RequestID: "e5333034-8f65-44cb-9a73-5c3ccaa8ec01"},
			kind: upstream.KindNotFound,
		},
		"service": {
			status: 400, body: `{"requestId":"r","success":false,"code":400,"errorMessage":"userId","errorMessageKey":"aca.error.invalid.param"}`,
			want: xingchen.Error{Code: 400, Key: "aca.error.invalid.param", Message: "userId", RequestID: "r"}, kind: upstream.KindInvalid,
		},
		"gateway": {
			status: 400, body: `{"requestId":"r","errorCode":400,"errorName":"Invalid Request","httpStatusCode":400}`,
			want: xingchen.Error{Code: 400, Name: "Invalid Request", RequestID: "r"}, kind: upstream.KindInvalid,
		},
		"gateway in a success status": {
			status: 200, body: `{"errorCode":403,"errorName":"No Permission"}`,
			want: xingchen.Error{Code: 403, Name: "No Permission"}, kind: upstream.KindForbidden,
		},
		"service in a success status": {
			status: 200, body: `{"success": false,"code":410,"errorMessage":"No accept","data":null}`,
			want: xingchen.Error{Code: 410, Message: "No accept"}, kind: upstream.KindForbidden,
		},
		"errorCode comes first": {
			status: 400, body: `{"success":false,"code":400,"errorCode":404}`,
			want: xingchen.Error{Code: 404, Message: "Bad Request (application/json)"}, kind: upstream.KindNotFound,
		},
		"the key comes first": {
			status: 500, body: `{"success":false,"code":500,"errorMessageKey":"aca.error.no.permission"}`,
			want: xingchen.Error{Code: 500, Key: "aca.error.no.permission", Message: "Internal Server Error (application/json)"}, kind: upstream.KindForbidden,
		},
		"code 401 is a name taken": {
			status: 400, body: `{"success":false,"code":401,"errorMessage":"Data Duplicate"}`,
			want: xingchen.Error{Code: 401, Message: "Data Duplicate"}, kind: upstream.KindDuplicate,
		},
		"a bad key": {
			status: 400, body: `{"success":false,"code":400,"errorMessage":"Invalid Token","errorMessageKey":"aca.error.invalid.token"}`,
			want: xingchen.Error{Code: 400, Key: "aca.error.invalid.token", Message: "Invalid Token"}, kind: upstream.KindUnauthorized,
		},
		"a bad key in the gateway's words": {
			status: 400, body: `{"errorCode":400,"errorName":"Invalid Token","httpStatusCode":400}`,
			want: xingchen.Error{Code: 400, Name: "Invalid Token"}, kind: upstream.KindUnauthorized,
		},
		"status 401 without a body": {
			status: 401, want: xingchen.Error{Message: "Unauthorized (no body)"}, kind: upstream.KindUnauthorized,
		},
		"throttled": {
			status: 429, header: http.Header{"Retry-After": {"3"}}, body: `{"success":false,"code":429,"errorMessageKey":"aca.error.throttling"}`,
			want: xingchen.Error{Code: 429, Key: "aca.error.throttling", Message: "Too Many Requests (application/json)", RetryAfter: 3 * time.Second},
			kind: upstream.KindThrottled, retryable: true,
		},
		"a second conversation": {
			status: 400, body: `{"success":false,"code":429,"errorMessage":"busy","errorMessageKey":"aca.error.chat.parallel"}`,
			want: xingchen.Error{Code: 429, Key: "aca.error.chat.parallel", Message: "busy"}, kind: upstream.KindThrottled, retryable: true,
		},
		"upstream failed": {
			status: 500, body: `{"success":false,"code":500,"errorMessageKey":"aca.error.system","errorMessage":"oops"}`,
			want: xingchen.Error{Code: 500, Key: "aca.error.system", Message: "oops"}, kind: upstream.KindUnavailable, retryable: true,
		},
		"inspection": {
			status: 400, body: `{"success":false,"code":400,"errorName":"DataInspectionFailed"}`,
			want: xingchen.Error{Code: 400, Name: "DataInspectionFailed"}, kind: upstream.KindInvalid,
		},
		"codes as texts": {
			status: 400, body: `{"success":false,"code":"404","errorMessage":"x","httpStatusCode":{}}`,
			want: xingchen.Error{Code: 404, Message: "x"}, kind: upstream.KindNotFound,
		},
		"HTML": {
			status: 502, header: http.Header{"Content-Type": {"text/html"}, "X-Request-Id": {"h"}}, body: "<html>bad gateway</html>",
			want: xingchen.Error{Message: "Bad Gateway (text/html)", RequestID: "h"}, kind: upstream.KindUnavailable, retryable: true,
		},
		"HTML in a success status": {
			status: 200, header: http.Header{"Content-Type": {"text/html; charset=x"}}, body: "<html>log in</html>",
			want: xingchen.Error{Message: "OK (text/html; charset=x)"}, kind: upstream.KindUnknown,
		},
		"empty": {
			status: 503, header: http.Header{"Content-Type": nil}, want: xingchen.Error{Message: "Service Unavailable (no body)"},
			kind: upstream.KindUnavailable, retryable: true,
		},
		"redirect": {
			status: 302, header: http.Header{"Location": {"http://elsewhere/"}}, want: xingchen.Error{Message: "Found (no body)"}, kind: upstream.KindUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := refuse(t, test.status, test.header, test.body)
			got := asError(err)
			if got == nil {
				t.Fatalf("got %v, want *Error", err)
			}
			test.want.HTTPStatus = test.status
			if diff := cmp.Diff(&test.want, got, cmpopts.IgnoreFields(xingchen.Error{}, "Body")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Kind() != test.kind || got.Retryable() != test.retryable || got.NotFound() != (test.kind == upstream.KindNotFound) {
				t.Errorf("kind %s, retryable %v, want %s, %v", got.Kind(), got.Retryable(), test.kind, test.retryable)
			}
			if strings.HasPrefix(test.body, "{") && string(got.Body) != test.body {
				t.Errorf("Body = %s, want it as it came", got.Body)
			}
			if !strings.HasPrefix(test.body, "{") && got.Body != nil {
				t.Errorf("Body = %s, want none", got.Body)
			}
		})
	}
}

func TestAnswersThatAreNoErrors(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"success":true}`, `{"code":200,"data":{}}`, `{"success": true,"data":"\"success\":false"}`,
		`{"success":true,"errorCode":200,"data":1}`, `{"success":true,"errorCode":0,"data":1}`,
	} {
		if err := refuse(t, http.StatusOK, nil, body); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, body := range []string{`{}`, `{"data":1}`, `{"code":500}`} {
		if asError(refuse(t, http.StatusOK, nil, body)) == nil {
			t.Errorf("%s: passes for a success", body)
		}
	}
	err := refuse(t, http.StatusOK, nil, `{"success":tr`)
	if _, ok := errors.AsType[*upstream.DecodeError](err); !ok {
		t.Errorf("half an answer: %v, want *DecodeError", err)
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	got := asError(refuse(t, 429, http.Header{"Retry-After": {at}}, "{}"))
	if got == nil || got.RetryAfter < 59*time.Minute || got.RetryAfter > time.Hour {
		t.Errorf("got %+v", got)
	}
	for _, odd := range []string{"-5", "soon", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)} {
		if got := asError(refuse(t, 429, http.Header{"Retry-After": {odd}}, "{}")); got == nil || got.RetryAfter != 0 {
			t.Errorf("Retry-After %q: got %+v", odd, got)
		}
	}
}

// No text that leaves the package may show the key, even if upstream repeats it.
func TestNoErrorShowsTheKey(t *testing.T) {
	t.Parallel()
	echo := `{"success":false,"code":400,"errorName":"` + canary + `","errorMessage":"bad token Bearer ` + canary + `"}`
	broken := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"x":"`+canary)
	}
	handlers := map[string]http.HandlerFunc{
		"echo":        func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400); answerJSON(echo)(w, r) },
		"frame":       answerSSE("event:error\ndata:" + echo + "\n\n"),
		"broken off":  broken,
		"bad frame":   answerSSE("data:{\"" + canary + "\n\n"),
		"bad answer":  answerJSON(`{"success":true,"data":"` + canary),
		"wrong shape": answerJSON(`{"success":true,"data":"` + canary + `"}`),
	}
	for name, handler := range handlers {
		client := setup(t, handler)
		_, chatErr := client.Chat(t.Context(), chatRequest())
		stream, streamErr := client.Stream(t.Context(), chatRequest())
		if streamErr == nil {
			_, streamErr = stream.Next()
			_ = stream.Close()
		}
		for _, err := range []error{chatErr, streamErr} {
			if err == nil {
				t.Errorf("%s: no error", name)
				continue
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%s: the key shows in: %v", name, err)
			}
			if e := asError(err); e != nil && strings.Contains(string(e.Body), canary) {
				t.Errorf("%s: the key shows in the body %s", name, e.Body)
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	err := &xingchen.Error{Code: 404, Key: "aca.error.notfound", Message: "Not Found", HTTPStatus: 400, RequestID: "r"}
	if got, want := err.Error(), "xingchen: upstream answered 400 with code 404 aca.error.notfound: Not Found (upstream request r)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
