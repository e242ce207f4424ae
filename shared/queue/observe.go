package queue

import (
	"context"

	"xinghe/shared/trace"
)

// Observer hears of every call of a handler, from many goroutines at once. It is what
// metrics and traces are made from.
type Observer interface {
	// Begin is called before a handler is. The handler gets the context that it returns, and
	// end is called once it is known what becomes of the job.
	Begin(ctx context.Context, job *Delivery) (handling context.Context, end func(Outcome, error))
}

// Outcome is what becomes of a job after a call of its handler.
type Outcome string

// The outcomes.
const (
	OutcomeDone    Outcome = "done"
	OutcomeRetried Outcome = "retried" // failed, and put off
	OutcomeSnoozed Outcome = "snoozed"
	OutcomeDead    Outcome = "dead"    // failed for good
	OutcomeStopped Outcome = "stopped" // cut short, and given to another worker
)

// begin prepares a handler's context: the trace that the job belongs to, and the observer.
func (c *consumption) begin(ctx context.Context, d *Delivery) (context.Context, func(Outcome, error)) {
	if parent, ok := trace.Parse(d.Header(trace.Header)); ok {
		ctx = trace.With(ctx, parent)
	}
	if c.q.cfg.Observer == nil {
		return ctx, func(Outcome, error) {}
	}
	return c.q.cfg.Observer.Begin(ctx, d)
}

// Consumer is the name of the consumer that the job was given to.
func (d *Delivery) Consumer() string { return d.consumer }
