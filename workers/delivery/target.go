package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"xinghe/shared/egress"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// maxWait is how long a target may ask to be left alone, and the longest time between two
// attempts.
const maxWait = 24 * time.Hour

// handBack is how soon what this worker did not begin comes to another one.
const handBack = 10 * time.Millisecond

// target delivers events to one address.
type target struct {
	Subscription
	w       *Worker
	client  *egress.Client
	health  *health
	log     *attemptLog
	limiter *rate.Limiter // nil for no bound
	slots   chan struct{} // one for each request under way
}

func newTarget(w *Worker, s Subscription) (*target, error) {
	outside := w.cfg.Egress
	outside.Connections = s.Concurrency
	client, err := egress.New(outside) // of its own, so that no pool is shared
	if err != nil {
		return nil, err
	}
	t := &target{
		Subscription: s, w: w, client: client, health: w.healths.add(newHealth(w, s.Name)),
		log: newAttemptLog(w, s.Name), slots: make(chan struct{}, s.Concurrency),
	}
	if s.Rate > 0 {
		t.limiter = rate.NewLimiter(rate.Limit(s.Rate), 1)
	}
	return t, nil
}

// run delivers until ctx ends, and drains.
func (t *target) run(ctx context.Context) error {
	defer t.client.Close()
	if err := t.register(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	lane := func(cfg queue.ConsumerConfig) {
		cfg.Workers, cfg.MaxAttempts, cfg.Drain, cfg.AckWait = t.Concurrency, -1, t.w.cfg.Drain, t.w.cfg.AckWait
		group.Go(func() error {
			return t.w.cfg.Queue.Consume(ctx, cfg, func(handling context.Context, d *queue.Delivery) error {
				return t.deliver(handling, ctx, d)
			})
		})
	}
	lane(queue.ConsumerConfig{
		Name: jobs.DeliveryConsumer(t.Name), Subjects: t.filters, OnlyNew: true,
		Prefetch: 4 * t.Concurrency, Ack: queue.AckUnconfirmed,
	})
	lane(queue.ConsumerConfig{Name: jobs.RedeliveryConsumer(t.Name), Subjects: []string{jobs.SubjectDelivery + t.Name}})
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		t.log.run(context.WithoutCancel(ctx)) // what the drain has done is written too
	}()
	err := group.Wait()
	close(t.log.in)
	<-logged
	return err
}

// register writes down what the target is, and reads how it is.
func (t *target) register(ctx context.Context) error {
	return t.health.write(ctx, func(record jobs.Webhook) jobs.Webhook {
		record.Name, record.Host, record.Types = t.Name, t.host, t.Types
		return record
	})
}

// deliver makes one attempt. What it has not begun when lane ends comes again, without that
// having been an attempt.
func (t *target) deliver(ctx, lane context.Context, d *queue.Delivery) error {
	m, err := read(d)
	if err != nil {
		return queue.Discard(err)
	}
	if m.paused == t.Name {
		return nil // it would be told of its own pause when that is over
	}
	if wait := m.due.Sub(t.w.cfg.Now()); wait > 0 {
		return queue.Snooze(min(wait, t.w.cfg.Recheck))
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-lane.Done():
		return queue.Snooze(handBack)
	}
	probe, err := t.health.enter(lane)
	if err != nil {
		return queue.Snooze(handBack)
	}
	defer t.health.left(probe)
	r, err := t.attempt(ctx, lane, m)
	if err != nil {
		return err
	}
	return t.settle(ctx, d, m, r, probe)
}

// attempt sends the message when the rate permits it. It returns an error if there was no
// attempt, or the drain has cut it short.
func (t *target) attempt(ctx, lane context.Context, m message) (result, error) {
	if t.limiter != nil && t.limiter.Wait(lane) != nil {
		return result{}, queue.Snooze(handBack)
	}
	r := t.send(ctx, m)
	if r.text != "" && ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	return r, nil
}

// settle notes what came of an attempt, and sees to the next one.
func (t *target) settle(ctx context.Context, d *queue.Delivery, m message, r result, probe bool) error {
	attempt := jobs.DeliveryAttempt{
		Target: t.Name, EventID: m.id, Type: m.kind, Attempt: m.failed + 1, Time: r.at.UTC(),
		DurMs: r.took.Milliseconds(), Status: r.status, Error: r.text,
	}
	if r.text == "" {
		t.log.add(attempt)
		t.health.succeeded(ctx, probe)
		return nil
	}
	m.failed++
	after := t.w.cfg.retry(m.failed)
	var err error
	if after > 0 {
		m.due = t.w.cfg.Now().Add(max(after, r.after))
		due := m.due.UTC()
		attempt.Next = &due
		if err = t.w.cfg.Queue.Publish(ctx, m.again(t.Name, d)); err != nil {
			err = fmt.Errorf("note the next attempt for %s: %w", t.Name, err)
		}
	}
	t.log.add(attempt)
	level := zerolog.WarnLevel
	if after == 0 {
		level = zerolog.ErrorLevel
	}
	zerolog.Ctx(ctx).WithLevel(level).Str("target", t.Name).Str("event", m.id).Str("type", m.kind).Int("attempt", m.failed).Int("status", r.status).
		Str("error", r.text).Bool("given_up", after == 0).Msg("event was not delivered")
	f := failure{text: r.text, gone: r.gone, probe: probe}
	if r.busy {
		f.after = r.after
	}
	t.health.failed(ctx, f)
	return err
}
