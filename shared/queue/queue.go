package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/sign"
)

// The streams, what their subjects begin with, and the bucket that holds failed attempts.
const (
	StreamJobs   = "XINGHE_JOBS"
	StreamEvents = "XINGHE_EVENTS"
	StreamDead   = "XINGHE_DEAD"

	PrefixJobs   = "xinghe.jobs."
	PrefixEvents = "xinghe.events."
	PrefixDead   = "xinghe.dead."

	BucketAttempts = "xinghe_attempts"
)

// deadDedupe is how long a job that was copied to the dead letters, but not yet removed from
// its stream when its worker died, is recognised. It costs memory for each dead letter only.
const deadDedupe = 24 * time.Hour

// retryPause keeps what fails at once from spinning.
const retryPause = 25 * time.Millisecond

var (
	// ErrExists means that a unique subject or a key is taken.
	ErrExists = errors.New("exists already")
	// ErrUnavailable means that JetStream did not answer in time: nothing is known about
	// whether the operation was done. [MissingStreamError] is one too.
	ErrUnavailable = errors.New("JetStream is not available")
	// ErrTooLarge means that a job is larger than the server takes.
	ErrTooLarge = errors.New("too large")
	// ErrInvalid means that a subject, name, header or setting cannot be used.
	ErrInvalid = errors.New("invalid")
)

// MissingStreamError tells that a stream was never created, which a worker does when it
// starts. It matches [ErrUnavailable].
type MissingStreamError struct{ Stream string }

func (e *MissingStreamError) Error() string {
	return fmt.Sprintf("stream %s does not exist: is a worker running?", e.Stream)
}

// Is reports true for [ErrUnavailable].
func (e *MissingStreamError) Is(target error) bool { return target == ErrUnavailable }

// Config says how streams and buckets are created. Zero values mean the defaults.
type Config struct {
	// Replicas of streams and buckets. 0 creates them with one and leaves existing ones as
	// they are.
	Replicas int
	// EventRetention is how long events are kept. Default 720h.
	EventRetention time.Duration
	// DeadRetention is how long dead letters are kept. Default 8760h, at least 24h.
	DeadRetention time.Duration
	// AttemptRetention is how long the record of failed attempts is kept after the last one;
	// make it longer than any delay of a retry. Default 720h.
	AttemptRetention time.Duration
	// DedupeWindow is how long a second publication with the same id is recognised.
	// Default 2m. The server keeps the ids in memory.
	DedupeWindow time.Duration
	// Timeout bounds each operation whose context has no deadline. Default 5s.
	Timeout time.Duration
	// Observer hears of every call of a handler; nobody by default.
	Observer Observer
}

func (c Config) withDefaults() (Config, error) {
	if c.Replicas < 0 || c.Replicas > 5 {
		return c, fmt.Errorf("replicas %d: %w: 0 to 5", c.Replicas, ErrInvalid)
	}
	for _, field := range []struct {
		name     string
		value    *time.Duration
		min, def time.Duration
	}{
		{"event retention", &c.EventRetention, time.Second, 720 * time.Hour},
		{"dead letter retention", &c.DeadRetention, deadDedupe, 8760 * time.Hour},
		{"attempt retention", &c.AttemptRetention, time.Minute, 720 * time.Hour},
		{"dedupe window", &c.DedupeWindow, 100 * time.Millisecond, 2 * time.Minute},
		{"timeout", &c.Timeout, time.Millisecond, 5 * time.Second},
	} {
		if *field.value == 0 {
			*field.value = field.def
		}
		if *field.value < field.min {
			return c, fmt.Errorf("%s %s: %w: at least %s", field.name, *field.value, ErrInvalid, field.min)
		}
	}
	return c, nil
}

// Queue publishes and consumes jobs and events. It is safe for concurrent use.
type Queue struct {
	cfg      Config
	link     link
	attempts *Store[attempts]
}

// New returns a queue over an existing JetStream context. It does not touch the network,
// and closing the connection stays with the caller.
func New(js jetstream.JetStream, cfg Config) (*Queue, error) {
	if js == nil {
		return nil, fmt.Errorf("queue without JetStream: %w", ErrInvalid)
	}
	return newQueue(&fixedLink{given: js}, cfg)
}

func newQueue(l link, cfg Config) (*Queue, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure queue: %w", err)
	}
	q := &Queue{cfg: cfg, link: l}
	q.attempts, err = OpenStore[attempts](q, BucketAttempts, StoreConfig{TTL: cfg.AttemptRetention})
	return q, err
}

// Close closes the connection that [Open] made; it does nothing for a queue made by [New].
// It can be called more than once.
func (q *Queue) Close() { q.link.close() }

// Renew replaces the connection that [Open] made, if there is one, for programs that may have
// stood still for long: a server or a proxy has given up the old one by then, perhaps without
// a word. It does not wait; operations wait for the new connection. It does nothing for a
// queue made by [New].
func (q *Queue) Renew() { q.link.renew() }

// Ensure creates the streams and the attempts bucket, or brings existing ones in line with
// the configuration, leaving settings that this package has no opinion on as they are. It
// can run any number of times and in several processes at once.
func (q *Queue) Ensure(ctx context.Context) error {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	for _, want := range q.streams() {
		err := q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) error {
			return q.ensureStream(ctx, js, want)
		})
		if err != nil {
			return fmt.Errorf("ensure stream %s: %w", want.Name, err)
		}
	}
	if _, err := q.attempts.open(ctx, true); err != nil {
		return fmt.Errorf("ensure bucket %s: %w", BucketAttempts, err)
	}
	return nil
}

func (q *Queue) streams() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{{
		Name: StreamJobs, Description: "jobs waiting or running", Subjects: []string{PrefixJobs + ">"},
		Retention: jetstream.WorkQueuePolicy, Duplicates: q.cfg.DedupeWindow,
	}, {
		Name: StreamEvents, Description: "what happened", Subjects: []string{PrefixEvents + ">"},
		Retention: jetstream.LimitsPolicy, MaxAge: q.cfg.EventRetention, Duplicates: min(q.cfg.DedupeWindow, q.cfg.EventRetention),
	}, {
		Name: StreamDead, Description: "jobs that failed for good", Subjects: []string{PrefixDead + ">"},
		Retention: jetstream.LimitsPolicy, MaxAge: q.cfg.DeadRetention, Duplicates: deadDedupe,
	}}
}

// ensureStream changes only what differs, so that an operator's own limits survive.
func (q *Queue) ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	for {
		stream, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			create := want
			create.Storage, create.Replicas, create.AllowDirect = jetstream.FileStorage, max(q.cfg.Replicas, 1), true
			_, err = js.CreateStream(ctx, create)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				continue // another process, with another configuration, was faster
			}
			return err
		}
		if err != nil {
			return err
		}
		have := stream.CachedInfo().Config
		merged := have
		merged.Subjects, merged.MaxAge, merged.Duplicates = want.Subjects, want.MaxAge, want.Duplicates
		if q.cfg.Replicas > 0 {
			merged.Replicas = q.cfg.Replicas
		}
		if slices.Equal(have.Subjects, merged.Subjects) && have.MaxAge == merged.MaxAge &&
			have.Duplicates == merged.Duplicates && have.Replicas == merged.Replicas {
			return nil
		}
		_, err = js.UpdateStream(ctx, merged)
		return err
	}
}

// js returns the JetStream context once its connection is up, or an error that matches
// [ErrUnavailable] when ctx ends before.
func (q *Queue) js(ctx context.Context) (jetstream.JetStream, error) { return q.link.js(ctx) }

// try bounds one exchange with a server, which may be lost without a word when a server of
// a cluster goes away.
const try = 2 * time.Second

// patiently does what can be done twice without harm, again and again while the answer is
// lost and ctx allows. The error says whether it was about the server.
func (q *Queue) patiently(ctx context.Context, do func(context.Context, jetstream.JetStream) error) error {
	for {
		js, err := q.js(ctx)
		if err != nil {
			return err
		}
		once, cancel := context.WithTimeout(ctx, try)
		err = do(once, js)
		cancel()
		if !lost(err) || Pause(ctx, retryPause) != nil {
			return unavailable(err)
		}
	}
}

// Codes of a cluster that has not enough servers or no leader at the moment.
const (
	codeClusterNoPeers      = 10005
	codeClusterNotAvailable = 10008
	codeClusterNotLeader    = 10009
)

// lost reports whether err leaves open if something was done, and the next try may know.
func lost(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode == codeClusterNoPeers || api.ErrorCode == codeClusterNotAvailable || api.ErrorCode == codeClusterNotLeader
	}
	for _, target := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrReconnectBufExceeded, nats.ErrDisconnected,
		jetstream.ErrNoStreamResponse, errUnknown,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// Pause waits for d, or returns the error of ctx if that ends first.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bounded gives ctx a deadline if it has none.
func (q *Queue) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, q.cfg.Timeout)
}

// streamOf returns the stream that a subject or filter lies in.
func streamOf(subject string) (string, error) {
	for prefix, stream := range prefixes {
		if strings.HasPrefix(subject, prefix) {
			return stream, nil
		}
	}
	return "", fmt.Errorf("subject %q: %w: begins with none of %s, %s and %s", subject, ErrInvalid, PrefixJobs, PrefixEvents, PrefixSchedules)
}

var prefixes = map[string]string{PrefixJobs: StreamJobs, PrefixEvents: StreamEvents, PrefixDead: StreamDead, PrefixSchedules: StreamSchedules}

// unavailable marks an error that is about the server and not about what was asked of it.
func unavailable(err error) error {
	var api jetstream.JetStreamError
	var answered *jetstream.APIError
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.Is(err, ErrConflict),
		errors.Is(err, ErrTooLarge), errors.Is(err, ErrInvalid):
		return err
	case errors.As(err, &answered) && answered.Code < 500 && !lost(err):
		return err
	case errors.As(err, &api) && api.APIError() != nil && api.APIError().Code < 500:
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, sign.RedactError(err))
}
