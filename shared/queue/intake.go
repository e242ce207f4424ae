package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// pullHeartbeat is how often the server tells that a request for jobs is alive; after two
// that are missing the request is made again.
const pullHeartbeat = 2 * time.Second

// quiet is how long nothing must have come before a request for jobs is withdrawn.
const quiet = 20 * time.Millisecond

// errDrained is the cause of a handler's cancellation when the drain takes too long.
var errDrained = errors.New("the worker is stopping")

// consumption is one running call of Consume.
type consumption struct {
	q        *Queue
	cfg      ConsumerConfig
	handle   Handler
	work     chan *Delivery // nil ends a worker
	held     held
	stopping <-chan struct{} // closed when Consume's context ends
}

func newConsumption(q *Queue, cfg ConsumerConfig, handle Handler, stopping <-chan struct{}) *consumption {
	limit := cfg.Workers + cfg.Prefetch
	return &consumption{
		q: q, cfg: cfg, handle: handle, work: make(chan *Delivery, limit), stopping: stopping,
		held: held{limit: limit, low: max(cfg.Prefetch/2, 1), room: make(chan struct{}, 1)},
	}
}

// run returns when intake, workers, heartbeats and the drain's timer have all ended.
func (c *consumption) run(ctx context.Context, consumer jetstream.Consumer) {
	settling := context.WithoutCancel(ctx) // jobs are acknowledged after ctx has ended
	handling, cancel := context.WithCancelCause(settling)
	defer cancel(nil)

	var workers, others sync.WaitGroup
	idle := make(chan struct{}) // closed when the last worker has ended
	for range c.cfg.Workers {
		workers.Go(func() {
			for d := <-c.work; d != nil; d = <-c.work {
				c.do(settling, handling, d)
			}
		})
	}
	others.Go(func() { c.heartbeats(settling, idle) })
	others.Go(func() { c.limitDrain(idle, cancel) })
	var pullers sync.WaitGroup
	for range c.pullers() {
		pullers.Go(func() { c.intake(ctx, consumer) })
	}
	pullers.Wait()
	for range c.cfg.Workers {
		c.work <- nil // not closed: what comes too late must find a channel to be lost in
	}
	workers.Wait()
	close(idle)
	others.Wait()
	c.flush(settling)
}

func (c *consumption) limitDrain(idle <-chan struct{}, cancel context.CancelCauseFunc) {
	select {
	case <-c.stopping:
	case <-idle:
		return
	}
	timer := time.NewTimer(max(c.cfg.Drain, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		cancel(errDrained)
	case <-idle:
	}
}

// flush makes sure that acknowledgements have left before the process may exit.
func (c *consumption) flush(ctx context.Context) {
	if !c.q.link.up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if js, err := c.q.js(ctx); err == nil {
		_ = js.Conn().FlushWithContext(ctx) // what did not leave is delivered again
	}
}

// pullers is how many requests for jobs there are at once. Where jobs are to wait here, the
// next one is on its way while the one before it is still being served.
func (c *consumption) pullers() int {
	if c.cfg.Prefetch > 0 {
		return 2
	}
	return 1
}

// intake asks for as many jobs as there is room for, until ctx ends.
func (c *consumption) intake(ctx context.Context, consumer jetstream.Consumer) {
	backoff := ExponentialBackoff(50*time.Millisecond, 2*time.Second)
	failures := 0
	for {
		asked := c.held.ask(ctx)
		if asked == nil {
			return
		}
		err := c.pull(consumer, asked)
		c.held.withdraw(asked)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		zerolog.Ctx(ctx).Warn().Err(unavailable(err)).Int("attempt", failures).Msg("cannot take jobs")
		if Pause(ctx, backoff(failures)) != nil {
			return
		}
		// The consumer may have been deleted, or the server begun with an empty store.
		again, err := c.q.consumer(ctx, c.cfg)
		if err != nil {
			zerolog.Ctx(ctx).Error().Err(err).Msg("cannot recreate the consumer")
			continue
		}
		if again == nil {
			return
		}
		consumer = again
	}
}

// pull takes exactly as many jobs in as were asked for, however long that takes, unless the worker is told to stop
// or something fails. What the server has already sent when it ends is taken in as well, so
// that it can be handed back.
func (c *consumption) pull(consumer jetstream.Consumer, asked *request) error {
	n := asked.left
	var taken atomic.Int64
	failed := make(chan error, 1)
	pulling, err := consumer.Consume(
		func(msg jetstream.Msg) {
			d := &Delivery{msg: msg, Subject: msg.Subject(), Data: msg.Data()}
			taken.Add(1)
			c.held.add(d, asked)
			c.work <- d // does not block: it has room for all that is held
		},
		jetstream.StopAfter(n), jetstream.PullMaxMessages(n), jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			select {
			case failed <- err:
			default:
			}
		}))
	if err != nil {
		return err
	}
	select {
	case <-pulling.Closed():
		return nil
	case <-c.stopping:
		untilQuiet(pulling, &taken)
	case err = <-failed:
	}
	if c.q.link.up() {
		pulling.Drain()
	} else {
		pulling.Stop()
	}
	timer := time.NewTimer(try)
	defer timer.Stop()
	select {
	case <-pulling.Closed():
	case <-timer.C: // the connection was lost meanwhile: what still comes is redelivered
	}
	return err
}

// untilQuiet waits until nothing more is on its way: what the server sends while the request
// is withdrawn goes nowhere, and counts as delivered.
func untilQuiet(pulling jetstream.ConsumeContext, taken *atomic.Int64) {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for before := taken.Load(); ; before = taken.Load() {
		select {
		case <-timer.C:
			if taken.Load() == before {
				return
			}
			timer.Reset(quiet)
		case <-pulling.Closed():
			return
		}
	}
}

// heartbeats keeps what is held from being delivered elsewhere: one ticker for all jobs.
func (c *consumption) heartbeats(ctx context.Context, idle <-chan struct{}) {
	every := c.cfg.AckWait / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			running := c.held.since(now.Add(-every / 2))
			for _, d := range running {
				d.beat()
			}
			if c.cfg.Ordered {
				c.keepOrder(ctx, running, now, every)
			}
		case <-idle:
			return
		}
	}
}
