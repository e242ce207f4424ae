// Package trace carries the caller's trace through Xinghe: from the header of a request to
// jobs, events and webhooks, and into log lines. It makes no spans; programs that do take
// the parent from here.
//
//	if parent, ok := trace.Parse(r.Header.Get(trace.Header)); ok {
//		ctx = trace.With(ctx, parent)
//	}
//
// It follows W3C Trace Context, level 1; tracestate is not carried.
package trace

import (
	"context"
	"strings"
)

// Header is the name of the header, of requests and of messages alike.
const Header = "traceparent"

// Parent is the value of the header: version, trace id, id of the caller's span, and flags.
// The zero Parent means that nobody traces.
type Parent string

const (
	version  = "00"
	length   = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	traceEnd = len("00-0af7651916cd43dd8448eb211c80319c")
	spanEnd  = traceEnd + len("-b7ad6b7169203331")
)

// Parse reads the value of the header. One that does not follow the standard is not carried
// on; one of a later version is, as far as version 00 goes.
func Parse(text string) (Parent, bool) {
	if len(text) < length || text[2] != '-' || text[traceEnd] != '-' || text[spanEnd] != '-' {
		return "", false
	}
	later := text[:2] != version
	if later && (text[:2] == "ff" || !hex(text[:2])) || !later && len(text) != length || len(text) > length && text[length] != '-' {
		return "", false
	}
	traceID, spanID, flags := text[3:traceEnd], text[traceEnd+1:spanEnd], text[spanEnd+1:length]
	if !hex(traceID) || !hex(spanID) || !hex(flags) || zero(traceID) || zero(spanID) {
		return "", false
	}
	return Parent(version + text[2:length]), true
}

func hex(text string) bool {
	return strings.Trim(text, "0123456789abcdef") == ""
}

func zero(text string) bool { return strings.Trim(text, "0") == "" }

// TraceID is what is the same in all parts of a trace: 32 digits, or "" if nobody traces.
func (p Parent) TraceID() string {
	if p == "" {
		return ""
	}
	return string(p[3:traceEnd])
}

type key struct{}

// With returns a context that carries the parent.
func With(ctx context.Context, parent Parent) context.Context {
	return context.WithValue(ctx, key{}, parent)
}

// From returns the parent that the context carries, if any.
func From(ctx context.Context) Parent {
	parent, _ := ctx.Value(key{}).(Parent)
	return parent
}
