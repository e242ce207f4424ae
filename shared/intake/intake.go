// Package intake takes jobs in for every function that accepts them: it checks what is asked
// for and returns when all of it is durable, so that 202 can be answered. What fails on the
// way is undone: refused means refused.
//
//	exports, err := intake.NewExports(intake.ExportsConfig{Queue: q, Sink: files.Kind()})
//	export, err := exports.Start(ctx, body)
//
// Its errors are refusals of package httpapi. It reads no requests and tells nothing of what
// becomes of jobs: that is the functions' part, as carrying them out is the workers'.
package intake

import (
	"errors"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
)

// defaultTimeout is how long a caller waits for NATS.
const defaultTimeout = 5 * time.Second

// Unavailable refuses because NATS does not answer, or lacks a stream. What says what was not
// done, such as "the picture was not accepted".
func Unavailable(what string, err error) error {
	if missing, ok := errors.AsType[*queue.MissingStreamError](err); ok {
		return httpapi.Unavailable(what+": "+missing.Error(), err)
	}
	return httpapi.Unavailable(what+": NATS does not answer", err)
}
