package queue

import (
	"context"
	"errors"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"xinghe/shared/sign"
)

// minDeliveries is how often a job of which nothing is heard is delivered at least, as not
// every delivery reaches a worker.
const minDeliveries = 3

// handBackDelay lets a worker that stops go before its jobs come back.
const handBackDelay = 10 * time.Millisecond

// Delivery is a job as a handler gets it. Handlers must not keep it.
type Delivery struct {
	Subject   string
	ID        string // as published; else <stream>:<sequence>
	Data      []byte
	Attempt   int       // from 1; snoozes do not count
	Published time.Time // when the stream stored it
	Stream    string
	Sequence  uint64 // in the stream

	msg       jetstream.Msg
	consumer  string
	delivered int // how often the server has delivered it, from 1
	past      attempts

	mu      sync.Mutex
	settled bool                    // no heartbeat may follow
	lost    bool                    // of an ordered consumer: another worker may have the job
	cancel  context.CancelCauseFunc // of an ordered consumer's running handler

	known atomic.Uint64 // Sequence, for others to see

	before, after *Delivery // guarded by held.mu
	taken         time.Time
	contact       time.Time // when the server last heard of it for sure; for heartbeats only
}

// Header returns the value of a header that was published with the job, or "".
func (d *Delivery) Header(name string) string {
	if d.msg == nil {
		return ""
	}
	return d.msg.Headers().Get(name)
}

// MarshalZerologObject names the job in a log line: subject, job (its id) and attempt.
func (d *Delivery) MarshalZerologObject(e *zerolog.Event) {
	e.Str("subject", d.Subject).Str("job", d.ID).Int("attempt", d.Attempt)
}

func (d *Delivery) identify() error {
	meta, err := d.msg.Metadata()
	if err != nil {
		return err
	}
	d.Stream, d.Sequence, d.consumer = meta.Stream, meta.Sequence.Stream, meta.Consumer
	d.known.Store(d.Sequence)
	d.Published, d.delivered = meta.Timestamp, int(meta.NumDelivered)
	header := d.msg.Headers()
	if d.ID = header.Get(headerJobID); d.ID == "" {
		d.ID = header.Get(jetstream.MsgIDHeader)
	}
	if d.ID == "" {
		d.ID = d.Stream + ":" + strconv.FormatUint(d.Sequence, 10)
	}
	return nil
}

// beat tells the server that the job is being worked on.
func (d *Delivery) beat() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.settled {
		_ = d.msg.InProgress() // while the connection is down nothing can be done about it
	}
}

// release ends the heartbeats: one that came after a delayed redelivery was asked for would
// put it off.
func (d *Delivery) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled = true
}

// do brings one delivery to its end; the handler gets a context of its own, which a drain
// may cancel.
func (c *consumption) do(ctx, handling context.Context, d *Delivery) {
	defer c.held.remove(d)
	if err := d.identify(); err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Str("subject", d.Subject).Msg("not a job of a stream")
		return
	}
	if err := c.q.recall(ctx, d); err != nil {
		// Without its history the job might be buried too early: better later than wrong.
		c.warn(ctx, d, err).Msg("cannot read earlier attempts, will retry")
		c.again(ctx, d, c.cfg.Backoff(1))
		return
	}
	if d.delivered > 1 && c.held.twin(d) {
		// The connection was away for longer than the ack wait, and the handler did not notice.
		if err := c.q.note(ctx, d, func(past *attempts) { past.Uncounted++ }); err != nil {
			c.warn(ctx, d, err).Msg("cannot note that a delivery was no attempt")
		}
		zerolog.Ctx(ctx).Warn().EmbedObject(d).Msg("job delivered again while it runs here, left to the first handler")
		return
	}
	select {
	case <-c.stopping:
		c.handBack(ctx, d)
		return
	default:
	}
	if d.past.Dead != "" {
		c.bury(ctx, d, errors.New(d.past.Dead))
		return
	}
	if c.cfg.MaxAttempts > 0 && d.Attempt > max(c.cfg.MaxAttempts, minDeliveries) {
		// Its last worker died, or was cut off, without saying what became of it.
		d.Attempt--
		c.bury(ctx, d, errNoAnswer)
		return
	}
	start := time.Now()
	observed, end := c.begin(handling, d)
	if err := c.call(observed, d); err != nil {
		if d.abandoned(ctx) {
			end(OutcomeStopped, err)
			return
		}
		end(c.undone(ctx, d, err, handling.Err() != nil, time.Since(start)), err)
		return
	}
	c.done(ctx, handling, d)
	end(OutcomeDone, nil)
}

var errNoAnswer = errors.New("delivered again and again without an outcome: its workers died or were cut off")

func (c *consumption) call(ctx context.Context, d *Delivery) (err error) {
	if c.cfg.Ordered {
		var cancel context.CancelFunc
		ctx, cancel = d.losable(ctx)
		defer cancel()
	}
	if c.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return c.handle(ctx, d)
}

// undone does what the handler's error asks for, and tells what that was.
func (c *consumption) undone(ctx context.Context, d *Delivery, err error, cut bool, took time.Duration) Outcome {
	if snooze, ok := errors.AsType[*snoozeError](err); ok {
		c.uncounted(ctx, d, snooze.after)
		return OutcomeSnoozed
	}
	_, final := errors.AsType[*discardError](err)
	switch {
	case cut && !final:
		c.handBack(ctx, d) // the drain cut it short; that is no fault of the job
		return OutcomeStopped
	case final, c.cfg.MaxAttempts > 0 && d.Attempt >= c.cfg.MaxAttempts:
		c.bury(ctx, d, err)
		return OutcomeDead
	}
	c.failed(ctx, d, err, took)
	return OutcomeRetried
}

// done acknowledges the job and forgets what was remembered of it.
func (c *consumption) done(ctx, handling context.Context, d *Delivery) {
	if err := c.ack(ctx, d); err != nil {
		c.insist(handling, d, err)
	}
	d.release()
	if err := c.q.forget(ctx, d); err != nil {
		c.warn(ctx, d, err).Msg("cannot forget the attempts of a job that is done")
	}
}

// insist acknowledges until the server has it, would have delivered the job again anyway,
// or the drain is over.
func (c *consumption) insist(ctx context.Context, d *Delivery, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckWait)
	defer cancel()
	for err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		if _, down := c.q.js(ctx); down != nil || Pause(ctx, retryPause) != nil {
			c.warn(ctx, d, err).Msg("job done but not acknowledged, it will run again")
			return
		}
		err = c.ack(ctx, d)
	}
}

func (c *consumption) ack(ctx context.Context, d *Delivery) error {
	if c.cfg.Ack == AckUnconfirmed {
		return d.msg.Ack()
	}
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	return d.msg.DoubleAck(ctx)
}

func (c *consumption) failed(ctx context.Context, d *Delivery, err error, took time.Duration) {
	delay := c.cfg.Backoff(d.Attempt)
	if hint, ok := errors.AsType[*retryError](err); ok {
		delay = max(delay, hint.after)
	}
	event := c.warn(ctx, d, err).Dur("dur_ms", took).Dur("retry_in_ms", delay)
	if crash, ok := errors.AsType[*panicError](err); ok {
		event = event.Str("stack", sign.Redact(string(crash.stack)))
	}
	event.Msg("job failed, will retry")
	at := time.Now()
	if err := c.q.note(ctx, d, func(past *attempts) { past.fail(d.Attempt, at, err) }); err != nil {
		c.warn(ctx, d, err).Msg("cannot note a failed attempt")
	}
	c.again(ctx, d, delay)
}

// uncounted asks for the job to be delivered again without this delivery being an attempt.
func (c *consumption) uncounted(ctx context.Context, d *Delivery, delay time.Duration) {
	if err := c.q.note(ctx, d, func(past *attempts) { past.Uncounted++ }); err != nil {
		c.warn(ctx, d, err).Msg("cannot note that a delivery was no attempt")
	}
	c.again(ctx, d, delay)
}

// handBack gives a job to the next worker. Without a connection nobody can be told, and a
// worker that stops does not wait for one.
func (c *consumption) handBack(ctx context.Context, d *Delivery) {
	if c.q.link.up() {
		c.uncounted(ctx, d, handBackDelay)
	}
}

// again asks for redelivery after a delay. A delay of 0 would be a bare negative
// acknowledgement, which redelivers before the record of the attempt can matter.
func (c *consumption) again(ctx context.Context, d *Delivery, delay time.Duration) {
	d.release()
	if err := d.msg.NakWithDelay(max(delay, time.Millisecond)); err != nil {
		c.warn(ctx, d, err).Msg("cannot put the job off, it comes back after the ack wait")
	}
}

// bury moves the job to the dead letters: noted, copied, removed, forgotten.
func (c *consumption) bury(ctx context.Context, d *Delivery, reason error) {
	log := zerolog.Ctx(ctx)
	if d.past.Dead == "" {
		at := time.Now()
		if err := c.q.note(ctx, d, func(past *attempts) {
			past.fail(d.Attempt, at, reason)
			past.Dead = errorText(reason)
		}); err != nil {
			c.warn(ctx, d, err).Msg("cannot note that a job is dead")
		}
	}
	if err := c.q.copyDead(ctx, d); err != nil {
		log.Error().EmbedObject(d).Err(sign.RedactError(err)).Msg("cannot write a dead letter, the job stays")
		c.again(ctx, d, c.cfg.Backoff(d.Attempt))
		return
	}
	d.release()
	if err := d.msg.TermWithReason(d.past.Dead); err != nil {
		c.warn(ctx, d, err).Msg("cannot remove a job that is in the dead letters, will retry")
		return
	}
	event := log.Error().EmbedObject(d).Str("error", d.past.Dead)
	if crash, ok := errors.AsType[*panicError](reason); ok {
		event = event.Str("stack", sign.Redact(string(crash.stack)))
	}
	event.Msg("job moved to the dead letters")
	if err := c.q.attempts.Delete(ctx, d.attemptsKey()); err != nil {
		c.warn(ctx, d, err).Msg("cannot forget the attempts of a dead job")
	}
}

func (c *consumption) warn(ctx context.Context, d *Delivery, err error) *zerolog.Event {
	return zerolog.Ctx(ctx).Warn().EmbedObject(d).Str("error", errorText(err)) //nolint:zerologlint // the caller sends it
}
