// Package relay carries a client's call to an upstream service and its answer back: raw
// answers and streams of Xingchen as they come, Beebot's snapshots as deltas, and what
// goes wrong on the way as refusals in the surface's own form.
//
//	x := &relay.Xingchen{Client: client}
//	outcome := relay.NewOutcome()
//	err := x.Serve(w, r, &xingchen.Call{Route: route, Body: body}, relay.ModeOf(r.Header, false), outcome)
//
// It checks no keys and no bodies; that is the business of the surface in front.
package relay

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// Refusal turns a client's failure into what a front door answers, and notes upstream's
// request id for the log line: what upstream refused keeps its meaning, what upstream did
// not do becomes 502 or 504. Other errors come back as they are.
func Refusal(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*xingchen.Error](err); ok {
		return refuse(ctx, e.Kind(), cmp.Or(e.Message, e.Name), e.RequestID, e.RetryAfter, err)
	}
	if e, ok := errors.AsType[*beebot.Error](err); ok {
		return refuse(ctx, e.Kind(), e.Message, e.RequestID, e.RetryAfter, err)
	}
	if field, ok := errors.AsType[*upstream.FieldError](err); ok {
		return httpapi.Invalid(httpapi.FieldError{Field: field.Field, Message: field.Message})
	}
	var timed interface{ Timeout() bool }
	_, network := errors.AsType[*upstream.NetworkError](err)
	_, malformed := errors.AsType[*upstream.DecodeError](err)
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, upstream.ErrTruncated):
		return &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeUpstreamTrunc, Detail: "the upstream answer broke off before its end", Err: err}
	case errors.As(err, &timed) && timed.Timeout():
		return &httpapi.Error{Status: http.StatusGatewayTimeout, Code: httpapi.CodeUpstreamTimeout, Detail: "upstream did not answer in time", Err: err}
	case network:
		return &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeUpstreamDown, Detail: "upstream cannot be reached", Err: err}
	case malformed, errors.Is(err, upstream.ErrTooLarge):
		return &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeUpstream, Detail: "upstream's answer is not in the documented form", Err: err}
	}
	return err
}

// kinds says how each kind of refusal of upstream's is told. That our credentials are
// refused is our fault, not the caller's: what upstream says of it would mislead.
var kinds = map[upstream.Kind]httpapi.Error{
	upstream.KindInvalid:      {Status: http.StatusBadRequest, Code: httpapi.CodeUpstream},
	upstream.KindUnauthorized: {Status: http.StatusBadGateway, Code: httpapi.CodeUpstream, Detail: "upstream does not accept the credentials of this gateway"},
	upstream.KindForbidden:    {Status: http.StatusForbidden, Code: httpapi.CodeForbidden},
	upstream.KindNotFound:     {Status: http.StatusNotFound, Code: httpapi.CodeNotFound},
	upstream.KindDuplicate:    {Status: http.StatusConflict, Code: httpapi.CodeConflict},
	upstream.KindThrottled:    {Status: http.StatusTooManyRequests, Code: httpapi.CodeRateLimited},
	upstream.KindUnavailable:  {Status: http.StatusBadGateway, Code: httpapi.CodeUpstream},
	upstream.KindUnknown:      {Status: http.StatusBadGateway, Code: httpapi.CodeUpstream},
}

func refuse(ctx context.Context, kind upstream.Kind, message, requestID string, wait time.Duration, err error) error {
	if requestID != "" {
		httpapi.CallFrom(ctx).UpstreamID = requestID
	}
	refusal := kinds[kind]
	if refusal.Detail == "" {
		refusal.Detail = message
	}
	refusal.RetryAfter, refusal.Err = wait, err
	return &refusal
}
