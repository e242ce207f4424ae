package events

import (
	"context"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"xinghe/shared/jobs"
	"xinghe/shared/sign"
	"xinghe/shared/trace"
)

const (
	// maxWidth is how many events are under way at once. One at a time would be bound by the
	// round trip to NATS, to a thousand a second if that takes a millisecond.
	maxWidth = 32
	// warnEvery is how often losses are told.
	warnEvery = time.Second
)

// run publishes until Close, and then what is left, as long as it may.
func (p *Publisher) run(ctx context.Context) {
	defer close(p.ended)
	losses := losses{p: p, timer: time.NewTimer(warnEvery)}
	losses.timer.Stop()
	defer losses.timer.Stop()
	width := 1
	for {
		select {
		case first := <-p.buffer:
			width = p.publish(ctx, p.take(first, width))
		case <-losses.timer.C:
		case <-p.closing:
			p.empty(ctx, width)
			losses.tell()
			return
		}
		losses.look()
	}
}

func (p *Publisher) empty(ctx context.Context, width int) {
	for {
		select {
		case first := <-p.buffer:
			width = p.publish(ctx, p.take(first, width))
		default:
			return
		}
	}
}

// batch is up to width events, and the mark that came after them, if any.
type batch struct {
	events []item
	passed chan<- struct{}
}

func (p *Publisher) take(first item, width int) batch {
	var b batch
	for next := first; ; {
		if next.passed != nil {
			b.passed = next.passed
			return b
		}
		if b.events = append(b.events, next); len(b.events) == width {
			return b
		}
		select {
		case next = <-p.buffer:
		default:
			return b
		}
	}
}

// publish settles a batch and returns the width of the next one: it doubles while all goes
// well, and after a failure a single event tries whether NATS is back, so that an outage
// costs few of those that wait.
func (p *Publisher) publish(ctx context.Context, b batch) (width int) {
	failed := p.failed.Load()
	if len(b.events) == 1 {
		p.settle(ctx, b.events[0])
	} else {
		var group sync.WaitGroup
		for _, event := range b.events {
			group.Go(func() { p.settle(ctx, event) })
		}
		group.Wait()
	}
	if b.passed != nil {
		close(b.passed)
	}
	if p.failed.Load() > failed {
		return 1
	}
	return min(max(2*len(b.events), 1), maxWidth)
}

func (p *Publisher) settle(ctx context.Context, event item) {
	if event.id == "" {
		event.id = "evt_" + ulid.Make().String()
	}
	began := p.cfg.Now()
	err := p.send(ctx, event)
	if err != nil && p.cfg.Now().Sub(began) > 2*p.cfg.Timeout {
		// The process stood still meanwhile: the time that passed was not NATS's. The id keeps
		// the event from being stored twice.
		err = p.send(ctx, event)
	}
	if err != nil {
		p.lastErr.Store(&err)
		p.failed.Add(1)
		return
	}
	p.published.Add(1)
}

func (p *Publisher) send(ctx context.Context, e item) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	event, err := jobs.NewEvent(e.kind, e.id, p.cfg.Source, e.subject, e.at, e.data)
	if err != nil {
		return err
	}
	if e.parent != "" {
		ctx = trace.With(ctx, e.parent)
	}
	return Store(ctx, p.cfg.Queue, event)
}

// losses tells the operator what was lost: at once, but not more often than warnEvery.
type losses struct {
	p       *Publisher
	timer   *time.Timer // rings when what was held back may be told
	told    time.Time
	dropped uint64 // that the operator knows of
	failed  uint64
}

func (l *losses) look() {
	if l.p.dropped.Load() == l.dropped && l.p.failed.Load() == l.failed {
		return
	}
	if wait := warnEvery - time.Since(l.told); !l.told.IsZero() && wait > 0 {
		l.timer.Reset(wait)
		return
	}
	l.tell()
}

func (l *losses) tell() {
	dropped, failed := l.p.dropped.Load(), l.p.failed.Load()
	if dropped == l.dropped && failed == l.failed {
		return
	}
	warning := l.p.cfg.Logger.Warn().Uint64("dropped", dropped-l.dropped).Uint64("failed", failed-l.failed)
	if err := l.p.lastErr.Swap(nil); err != nil {
		warning = warning.Err(sign.RedactError(*err))
	}
	warning.Msg("events lost")
	l.told, l.dropped, l.failed = time.Now(), dropped, failed
}
