package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// AckMode says how a job that is done leaves the stream.
type AckMode int

const (
	// AckConfirmed waits until the server has removed the job: it does not run again once
	// its handler's worker is free for the next. The default.
	AckConfirmed AckMode = iota
	// AckUnconfirmed sends the acknowledgement without waiting. It is nearly twice as fast
	// for handlers that do next to nothing; if the connection breaks at the wrong moment,
	// the job is delivered again.
	AckUnconfirmed
)

// ConsumerConfig describes a consumer. All processes that consume under one name share its
// jobs and should agree on everything but Workers, Prefetch, Timeout and Drain. Zero values
// mean the defaults.
//
// For strict order set Ordered; the package comment tells what that costs.
type ConsumerConfig struct {
	// Name of the durable consumer: letters, digits, - and _. Required.
	Name string
	// Subjects that are consumed, wildcards allowed, all of one stream. Required. In the
	// jobs stream no two consumers may share a subject.
	Subjects []string
	// Workers is how many handlers run at once in this process. Default 1.
	Workers int
	// Prefetch is how many jobs wait in this process beside those that run. Default 0: a
	// job is asked for when a worker is free, and none waits here that another process
	// could do. For handlers of microseconds set some hundreds.
	Prefetch int
	// AckWait is how long after the death of a worker its jobs are delivered elsewhere.
	// Default 10s. Running handlers send heartbeats three times as often, so that they keep
	// their jobs however slow they are. A server that restarts knows its deliveries to the
	// second only: below 3s it may redeliver at once.
	AckWait time.Duration
	// MaxAttempts is after how many attempts a job that fails goes to the dead letters.
	// Default 10; negative: never. A job of which nothing is heard, since its workers died or
	// the connection broke, is delivered so often as well, and three times at least.
	MaxAttempts int
	// Backoff returns the delay after the given attempt (from 1) has failed. Default
	// ExponentialBackoff(1s, 5m).
	Backoff func(attempt int) time.Duration
	// Timeout cancels a handler's context after so long. Default 0: never, so that a
	// handler that hangs keeps its job.
	Timeout time.Duration
	// Drain is how long running handlers may go on once Consume's context has ended, before
	// theirs is cancelled as well. Default 20s; negative: at once.
	Drain time.Duration
	// MaxAckPending is how many jobs may be in flight in all processes together, those that
	// wait for a retry or are snoozed included. Default 20000.
	MaxAckPending int
	// Ordered does the jobs of one partition one after another, in the order of their
	// publication, in all processes together, and those of different partitions side by
	// side. Subjects are then prefixes without wildcards, below which jobs have subjects as
	// [OrderedSubject] makes them. Workers, Prefetch and MaxAckPending must be 0.
	Ordered bool
	// Ack says how jobs are acknowledged. Default AckConfirmed.
	Ack AckMode
	// OnlyNew begins with what is published after the consumer was first created. Only for
	// events; default: with the oldest that is kept.
	OnlyNew bool

	stream string
}

// Handler does a job. Its context outlives that of Consume until the drain is over, and
// carries its logger. The package comment lists what the returned error decides.
type Handler func(ctx context.Context, job *Delivery) error

func (c ConsumerConfig) withDefaults() (ConsumerConfig, error) {
	if !validName(c.Name) {
		return c, fmt.Errorf("name %q: %w: letters, digits, - and _ only", c.Name, ErrInvalid)
	}
	if len(c.Subjects) == 0 {
		return c, fmt.Errorf("subjects: %w: none", ErrInvalid)
	}
	for _, subject := range c.Subjects {
		stream, err := streamOf(subject)
		if err != nil {
			return c, err
		}
		if c.stream != "" && c.stream != stream {
			return c, fmt.Errorf("subject %q: %w: in %s, others in %s", subject, ErrInvalid, stream, c.stream)
		}
		c.stream = stream
	}
	for name, n := range map[string]int{"workers": c.Workers, "prefetch": c.Prefetch, "max ack pending": c.MaxAckPending} {
		if n < 0 {
			return c, fmt.Errorf("%s %d: %w: negative", name, n, ErrInvalid)
		}
	}
	if c.OnlyNew && c.stream == StreamJobs {
		return c, fmt.Errorf("only new: %w: not for jobs", ErrInvalid)
	}
	if c.Ordered {
		if err := c.checkOrdered(); err != nil {
			return c, err
		}
	}
	c.Workers = orDefault(c.Workers, 1)
	c.AckWait = orDefault(c.AckWait, 10*time.Second)
	c.MaxAttempts = orDefault(c.MaxAttempts, 10)
	c.Drain = orDefault(c.Drain, 20*time.Second)
	c.MaxAckPending = orDefault(c.MaxAckPending, 20_000)
	if c.AckWait < 100*time.Millisecond {
		return c, fmt.Errorf("ack wait %s: %w: at least 100ms", c.AckWait, ErrInvalid)
	}
	if c.Backoff == nil {
		c.Backoff = ExponentialBackoff(time.Second, 5*time.Minute)
	}
	return c, nil
}

func orDefault[T comparable](value, def T) T {
	var zero T
	if value == zero {
		return def
	}
	return value
}

// Consume calls handle for each job until ctx ends. Then it takes no more jobs, hands back
// those that wait in this process, lets running handlers finish for up to Drain, cancels
// their contexts, and returns nil when the last one is gone; what a cancelled handler did
// not finish is delivered elsewhere, without that counting as an attempt.
//
// It waits for a server that is not there yet, and goes on after lost connections. It
// returns an error only if it cannot begin: [ErrInvalid] or the server's refusal for the
// configuration, [*MissingStreamError] if [Queue.Ensure] has not been run.
//
// It logs through the logger of ctx: retries as warnings, dead letters as errors, and
// nothing about jobs that are done.
func (q *Queue) Consume(ctx context.Context, cfg ConsumerConfig, handle Handler) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	log := zerolog.Ctx(ctx).With().Str("consumer", cfg.Name).Logger()
	ctx = log.WithContext(ctx)
	lanes := cfg.lanes()
	consumers := make([]jetstream.Consumer, len(lanes))
	for i, lane := range lanes {
		if consumers[i], err = q.consumer(ctx, lane); err != nil {
			return fmt.Errorf("consume as %s: %w", lane.Name, err)
		}
		if consumers[i] == nil {
			return nil
		}
	}
	var running sync.WaitGroup
	for i, lane := range lanes {
		running.Go(func() { newConsumption(q, lane, handle, ctx.Done()).run(ctx, consumers[i]) })
	}
	running.Wait()
	return nil
}

// consumer creates the durable consumer or brings it in line with cfg, waiting for the
// server for as long as ctx lasts; then it returns nil.
func (q *Queue) consumer(ctx context.Context, cfg ConsumerConfig) (jetstream.Consumer, error) {
	want := jetstream.ConsumerConfig{
		Durable: cfg.Name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: cfg.AckWait,
		MaxDeliver: -1, MaxAckPending: cfg.MaxAckPending,
	}
	if len(cfg.Subjects) == 1 {
		want.FilterSubject = cfg.Subjects[0]
	} else {
		want.FilterSubjects = cfg.Subjects
	}
	if cfg.OnlyNew {
		want.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	backoff := ExponentialBackoff(100*time.Millisecond, 5*time.Second)
	for try := 1; ; try++ {
		consumer, err := q.createConsumer(ctx, cfg.stream, want)
		var missing *MissingStreamError
		if err == nil || errors.As(err, &missing) || !errors.Is(err, ErrUnavailable) {
			return consumer, err
		}
		zerolog.Ctx(ctx).Warn().Err(err).Int("attempt", try).Msg("cannot reach the job stream yet")
		if Pause(ctx, backoff(try)) != nil {
			return nil, nil //nolint:nilerr // told to stop while waiting, which is no fault
		}
	}
}

func (q *Queue) createConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	var consumer jetstream.Consumer
	err := q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) (err error) {
		consumer, err = js.CreateOrUpdateConsumer(ctx, stream, want)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return &MissingStreamError{Stream: stream}
		}
		return err
	})
	return consumer, err
}
