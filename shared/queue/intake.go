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
	others.Go(func() { c.heartbeats(idle) })
	others.Go(func() { c.limitDrain(idle, cancel) })
	c.intake(ctx, consumer)
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

// intake asks for as many jobs as there is room for, until ctx ends.
func (c *consumption) intake(ctx context.Context, consumer jetstream.Consumer) {
	backoff := ExponentialBackoff(50*time.Millisecond, 2*time.Second)
	failures := 0
	for {
		room := c.held.wait(ctx)
		if room == 0 {
			return
		}
		err := c.pull(consumer, room)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		zerolog.Ctx(ctx).Warn().Err(unavailable(err)).Int("attempt", failures).Msg("cannot take jobs")
		if pause(ctx, backoff(failures)) != nil {
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

// pull takes exactly n jobs in, however long that takes, unless the worker is told to stop
// or something fails. What the server has already sent when it ends is taken in as well, so
// that it can be handed back.
func (c *consumption) pull(consumer jetstream.Consumer, n int) error {
	var taken atomic.Int64
	failed := make(chan error, 1)
	pulling, err := consumer.Consume(
		func(msg jetstream.Msg) {
			d := &Delivery{msg: msg, Subject: msg.Subject(), Data: msg.Data()}
			taken.Add(1)
			c.held.add(d)
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
func (c *consumption) heartbeats(idle <-chan struct{}) {
	every := c.cfg.AckWait / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, d := range c.held.since(now.Add(-every / 2)) {
				d.beat()
			}
		case <-idle:
			return
		}
	}
}

// held is the jobs that are in this process, waiting or running.
type held struct {
	limit int           // how many there may be
	low   int           // how much room makes a request worth while
	room  chan struct{} // signalled when so much has become free

	mu    sync.Mutex
	count int
	first *Delivery
	last  *Delivery
}

func (h *held) add(d *Delivery) {
	d.taken = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	if d.before = h.last; h.last == nil {
		h.first = d
	} else {
		h.last.after = d
	}
	h.last = d
}

func (h *held) remove(d *Delivery) {
	h.mu.Lock()
	if d.before == nil {
		h.first = d.after
	} else {
		d.before.after = d.after
	}
	if d.after == nil {
		h.last = d.before
	} else {
		d.after.before = d.before
	}
	d.before, d.after = nil, nil
	h.count--
	signal := h.limit-h.count == h.low
	h.mu.Unlock()
	if signal {
		select {
		case h.room <- struct{}{}:
		default:
		}
	}
}

// wait returns how many jobs there is room for once a request is worth while, or 0 when ctx
// has ended. Until then every worker has something to do.
func (h *held) wait(ctx context.Context) int {
	for ctx.Err() == nil {
		h.mu.Lock()
		room := h.limit - h.count
		h.mu.Unlock()
		if room >= h.low {
			return room
		}
		select {
		case <-h.room:
		case <-ctx.Done():
		}
	}
	return 0
}

// since returns the jobs that were taken before the given time.
func (h *held) since(before time.Time) []*Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var old []*Delivery
	for d := h.first; d != nil && d.taken.Before(before); d = d.after {
		old = append(old, d)
	}
	return old
}

// twin reports whether an earlier delivery of the same job is still here.
func (h *held) twin(of *Delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for d := of.before; d != nil; d = d.before {
		if d.known.Load() == of.Sequence {
			return true
		}
	}
	return false
}
