// Package relay carries a client's call to an upstream service and its answer back: raw
// answers and streams of Xingchen as they come, Beebot's snapshots as deltas, and what
// goes wrong on the way as refusals in the surface's own form.
//
//	x := relay.Xingchen{Client: client}
//	err := x.Serve(w, r, xingchen.Call{Route: route, Body: body}, wantsStream)
//
// It checks no keys and no bodies; that is the business of the surface in front.
package relay

import (
	"context"
	"errors"
	"io"
	"net/http"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/xingchen"
)

// Refusal turns a client's failure into what a front door answers: what upstream refused
// keeps its meaning, what upstream did not do becomes 502 or 504. Other errors come back
// as they are.
func Refusal(err error) error {
	if refusal := fromXingchen(err); refusal != nil {
		return refusal
	}
	if refusal := fromBeebot(err); refusal != nil {
		return refusal
	}
	var timed interface{ Timeout() bool }
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, xingchen.ErrTruncated), errors.Is(err, beebot.ErrTruncated):
		return &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeUpstreamTrunc, Detail: "the upstream stream broke off before its end", Err: err}
	case errors.As(err, &timed) && timed.Timeout():
		return &httpapi.Error{Status: http.StatusGatewayTimeout, Code: httpapi.CodeUpstreamTimeout, Detail: "upstream did not answer in time", Err: err}
	case isNetwork(err):
		return &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeUpstreamDown, Detail: "upstream cannot be reached", Err: err}
	case isMalformed(err):
		return &httpapi.Error{Status: http.StatusBadGateway, Code: httpapi.CodeUpstream, Detail: "upstream's answer is not in the documented form", Err: err}
	}
	return err
}

func fromXingchen(err error) error {
	if field, ok := errors.AsType[*xingchen.FieldError](err); ok {
		return httpapi.Invalid(httpapi.FieldError{Field: field.Field, Message: field.Message})
	}
	upstream, ok := errors.AsType[*xingchen.Error](err)
	if !ok {
		return nil
	}
	refusal := kinds[string(upstream.Kind())]
	refusal.Detail, refusal.RetryAfter, refusal.Err = upstream.Message, upstream.RetryAfter, err
	return &refusal
}

func fromBeebot(err error) error {
	if field, ok := errors.AsType[*beebot.FieldError](err); ok {
		return httpapi.Invalid(httpapi.FieldError{Field: field.Field, Message: field.Message})
	}
	upstream, ok := errors.AsType[*beebot.Error](err)
	if !ok {
		return nil
	}
	refusal := kinds[string(upstream.Kind())]
	refusal.Detail, refusal.RetryAfter, refusal.Err = upstream.Message, upstream.RetryAfter, err
	return &refusal
}

// kinds says how each kind of refusal of upstream's is told. That our credentials are
// refused is our fault, not the caller's.
var kinds = map[string]httpapi.Error{
	"invalid":      {Status: http.StatusBadRequest, Code: httpapi.CodeUpstream},
	"unauthorized": {Status: http.StatusBadGateway, Code: httpapi.CodeUpstream},
	"forbidden":    {Status: http.StatusForbidden, Code: httpapi.CodeForbidden},
	"not_found":    {Status: http.StatusNotFound, Code: httpapi.CodeNotFound},
	"duplicate":    {Status: http.StatusConflict, Code: httpapi.CodeConflict},
	"throttled":    {Status: http.StatusTooManyRequests, Code: httpapi.CodeRateLimited},
	"unavailable":  {Status: http.StatusBadGateway, Code: httpapi.CodeUpstream},
	"unknown":      {Status: http.StatusBadGateway, Code: httpapi.CodeUpstream},
}

func isNetwork(err error) bool {
	if _, ok := errors.AsType[*xingchen.NetworkError](err); ok {
		return true
	}
	_, ok := errors.AsType[*beebot.NetworkError](err)
	return ok
}

func isMalformed(err error) bool {
	if errors.Is(err, xingchen.ErrTooLarge) || errors.Is(err, beebot.ErrTooLarge) {
		return true
	}
	if _, ok := errors.AsType[*xingchen.DecodeError](err); ok {
		return true
	}
	_, ok := errors.AsType[*beebot.DecodeError](err)
	return ok
}

// ended reports whether a stream has come to its proper end.
func ended(err error) bool {
	return errors.Is(err, io.EOF) && !errors.Is(err, xingchen.ErrTruncated) && !errors.Is(err, beebot.ErrTruncated)
}
