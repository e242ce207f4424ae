package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/trace"
)

// Queue stores events; *queue.Queue does.
type Queue interface {
	PublishEvent(ctx context.Context, subject, id string, data []byte) error
}

// Config of a [Publisher]. Zero values mean the defaults.
type Config struct {
	// Queue that the events go to. Required. Closing it stays with the caller, after Close.
	Queue Queue
	// Source of the CloudEvents: the part of Xinghe that speaks, such as "/xinghe/chat".
	// Required.
	Source string
	// Buffer is how many events may wait; more are dropped. Default 1024.
	Buffer int
	// Timeout is how long NATS may take to confirm an event. Default 200ms.
	Timeout time.Duration
	// Drain is how long Close may go on publishing what waits. Default 1s.
	Drain time.Duration
	// Logger gets the warnings. Default: none.
	Logger zerolog.Logger
	// Now is the clock by which it is noticed that the process stood still. Default: the wall
	// clock, since another may stand still with it.
	Now func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	if c.Queue == nil || c.Source == "" {
		return c, errors.New("event publisher: Queue and Source are required")
	}
	if c.Buffer < 0 || c.Timeout < 0 || c.Drain < 0 {
		return c, fmt.Errorf("event publisher: negative: buffer %d, timeout %s, drain %s", c.Buffer, c.Timeout, c.Drain)
	}
	if c.Buffer == 0 {
		c.Buffer = 1024
	}
	if c.Timeout == 0 {
		c.Timeout = 200 * time.Millisecond
	}
	if c.Drain == 0 {
		c.Drain = time.Second
	}
	if c.Now == nil {
		c.Now = func() time.Time { return time.Now().Round(0) }
	}
	return c, nil
}

// Publisher publishes events in the background. All its methods may be called at any time,
// by many goroutines, and do nothing if it is nil: so it is where there is no NATS.
type Publisher struct {
	cfg    Config
	buffer chan item

	cancel  context.CancelFunc // ends what is under way
	once    sync.Once
	drain   *time.Timer   // set by once
	closing chan struct{} // closed when nothing more is taken
	ended   chan struct{} // closed when the goroutine has ended

	published, dropped, failed atomic.Uint64
	lastErr                    atomic.Pointer[error]
}

// item is an event that waits, or a mark that Flush has set.
type item struct {
	kind, id, subject string
	at                time.Time
	data              any
	parent            trace.Parent
	passed            chan<- struct{} // of a mark: closed when all before it are settled
}

// New starts a publisher. It does not touch the network. Call [Publisher.Close] in the end.
func New(cfg Config) (*Publisher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg: cfg, buffer: make(chan item, cfg.Buffer),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
	// A publisher serves many requests and belongs to none: Close ends it.
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go p.run(ctx)
	return p, nil
}

// Publish takes an event of one of the types in package jobs, to be published as of now.
// The id names it, and makes a repetition count once; give "" for a fresh one, and never a
// request id, which callers may choose and use again. Subject is the thing it speaks of.
// Data is encoded later, by another goroutine: the caller must not change it any more. Of
// ctx only the trace counts that the event belongs to.
//
// It never blocks and never fails; if there is no room, the event is lost.
func (p *Publisher) Publish(ctx context.Context, kind, id, subject string, data any) {
	if p == nil {
		return
	}
	select {
	case <-p.closing:
		p.dropped.Add(1)
		return
	default:
	}
	select {
	case p.buffer <- item{kind: kind, id: id, subject: subject, at: time.Now(), data: data, parent: trace.From(ctx)}:
	default:
		p.dropped.Add(1)
	}
}

// Flush waits until all that was published before is stored or given up, or returns the
// error of ctx when that ends first; nothing is lost by that.
func (p *Publisher) Flush(ctx context.Context) error {
	if p == nil {
		return nil
	}
	passed := make(chan struct{})
	select {
	case p.buffer <- item{passed: passed}:
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush events: %w", ctx.Err())
	}
	select {
	case <-passed:
		return nil
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush events: %w", ctx.Err())
	}
}

// Close takes no more events, publishes those that wait for up to Config.Drain, and returns
// when the publisher's goroutine has ended. It can be called more than once.
func (p *Publisher) Close() {
	if p == nil {
		return
	}
	p.once.Do(func() {
		close(p.closing)
		p.drain = time.AfterFunc(p.cfg.Drain, p.cancel)
	})
	<-p.ended
	p.drain.Stop()
	p.cancel()
}

// Stats counts events since the publisher was made.
type Stats struct {
	Published uint64 // stored by NATS
	Dropped   uint64 // lost for want of room, or after Close
	Failed    uint64 // lost because NATS did not confirm them in time, or refused them
	Waiting   int    // in the buffer now, marks of Flush included
}

// Stats returns the counts, for metrics.
func (p *Publisher) Stats() Stats {
	if p == nil {
		return Stats{}
	}
	return Stats{Published: p.published.Load(), Dropped: p.dropped.Load(), Failed: p.failed.Load(), Waiting: len(p.buffer)}
}
