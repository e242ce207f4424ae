package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/sse"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

func TestRefusal(t *testing.T) {
	t.Parallel()
	type told struct {
		Status int
		Code   string
		Detail string
		Wait   time.Duration
	}
	for name, test := range map[string]struct {
		err  error
		want told
	}{
		"Xingchen":             {&xingchen.Error{HTTPStatus: 400, Code: 404, Message: "Not Found"}, told{404, "not_found", "Not Found", 0}},
		"Xingchen, only named": {&xingchen.Error{HTTPStatus: 400, Code: 403, Name: "No Permission"}, told{403, "forbidden", "No Permission", 0}},
		"Xingchen, our key":    {&xingchen.Error{HTTPStatus: 401, Message: "bad token"}, told{502, "upstream_error", "upstream does not accept the credentials of this gateway", 0}},
		"Beebot":               {&beebot.Error{HTTPStatus: 404, Code: "InvalidInstanceId.NotFound", Message: "m"}, told{404, "not_found", "m", 0}},
		"Beebot, throttled":    {&beebot.Error{HTTPStatus: 400, Code: "Throttling", Message: "m", RetryAfter: time.Second}, told{429, "rate_limited", "m", time.Second}},
		"a field":              {&upstream.FieldError{Field: "utterance", Message: "missing"}, told{400, "invalid_field", "", 0}},
		"truncated":            {fmt.Errorf("%w: %w", upstream.ErrTruncated, &upstream.NetworkError{Err: io.ErrUnexpectedEOF}), told{502, "upstream_truncated", "the upstream answer broke off before its end", 0}},
		"idle":                 {fmt.Errorf("stream %w", upstream.ErrIdle), told{504, "upstream_timeout", "upstream did not answer in time", 0}},
		"network":              {&upstream.NetworkError{Err: io.EOF}, told{502, "upstream_unavailable", "upstream cannot be reached", 0}},
		"malformed":            {&upstream.DecodeError{Err: io.EOF}, told{502, "upstream_error", "upstream's answer is not in the documented form", 0}},
		"too large":            {fmt.Errorf("%w: %w", upstream.ErrTooLarge, &sse.TooLargeError{}), told{502, "upstream_error", "upstream's answer is not in the documented form", 0}},
		"the caller's time":    {context.DeadlineExceeded, told{504, "upstream_timeout", "upstream did not answer in time", 0}},
	} {
		got, ok := errors.AsType[*httpapi.Error](relay.Refusal(t.Context(), fmt.Errorf("wrapped: %w", test.err)))
		if !ok {
			t.Errorf("%s: no refusal", name)
			continue
		}
		if diff := cmp.Diff(test.want, told{got.Status, got.Code, got.Detail, got.RetryAfter}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if test.want.Code != "invalid_field" && !errors.Is(got, test.err) {
			t.Errorf("%s: the cause is lost", name)
		}
	}
	for _, err := range []error{nil, context.Canceled, http.ErrHijacked} {
		if got := relay.Refusal(t.Context(), err); !errors.Is(got, err) || got != nil && httpapi.AsError(got).Code != httpapi.CodeInternal {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// Every kind has an answer.
func TestRefusalOfEveryKind(t *testing.T) {
	t.Parallel()
	for status := 100; status < 600; status++ {
		refusal := httpapi.AsError(relay.Refusal(t.Context(), &xingchen.Error{HTTPStatus: status, Code: status, Message: "m"}))
		if refusal.Status < 400 || refusal.Code == "" || refusal.Detail == "" {
			t.Errorf("%d: %+v", status, refusal)
		}
	}
}
