// Package upstream is how a call to an upstream service is carried and how it can fail. The
// clients of the services stand on it, so that whoever is in front of them meets one type
// for each failure, whichever service it was.
//
//	service := upstream.Service{Name: "xingchen", Timeout: time.Minute}
//	if err := service.Complete(); err != nil {
//		...
//	}
//	stream, err := service.Open(req, "POST /v2/api/chat/send", refused, inspect)
//	...
//	defer stream.Close()
//	for event, err := range stream.Events() {
//		...
//	}
//
// A call fails in one of these ways: a [*NetworkError] says that no answer came;
// [ErrTruncated] and [ErrIdle] that a stream broke off; [ErrTooLarge] and [*DecodeError]
// that an answer cannot be used; a [*FieldError] that nothing was sent. If the caller's own
// context is over, the error is that context's. What upstream answered instead of a result
// is each client's own type, which has a [Kind].
//
// It knows no routes, no signatures and no bodies, and it never repeats a call.
package upstream
