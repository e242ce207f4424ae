package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StoredEvent is an event as the stream keeps it.
type StoredEvent struct {
	Subject   string
	Data      []byte
	Sequence  uint64
	Published time.Time // when the stream stored it
}

// History is a stretch of the stream of events.
type History struct {
	Events []StoredEvent
	// Created is when the stream was made. Sequences begin anew with it.
	Created time.Time
}

// ReadEvents returns events whose subjects match filter (wildcards allowed) and that come
// after a sequence, in their order and without a gap: those that there are, up to limit of
// them, or if there are none the first that comes within wait. Unlike [Queue.Consume] it keeps nothing in the server: where to
// go on is the caller's business. Errors: [ErrInvalid], [ErrUnavailable], of which
// [*MissingStreamError] is one.
func (q *Queue) ReadEvents(ctx context.Context, filter string, after uint64, limit int, wait time.Duration) (History, error) {
	if !strings.HasPrefix(filter, PrefixEvents) {
		return History{}, fmt.Errorf("read events: filter %q: %w: does not begin with %s", filter, ErrInvalid, PrefixEvents)
	}
	ctx, cancel := context.WithTimeout(ctx, wait+q.cfg.Timeout)
	defer cancel()
	var history History
	err := q.on(ctx, StreamEvents, func(exchange context.Context, stream jetstream.Stream) error {
		history = History{Created: stream.CachedInfo().Created}
		consumer, err := stream.CreateConsumer(exchange, jetstream.ConsumerConfig{
			FilterSubject: filter, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: wait + time.Minute,
		})
		if err != nil {
			return err
		}
		defer func() {
			forget, cancel := context.WithTimeout(context.WithoutCancel(ctx), try)
			defer cancel()
			_ = stream.DeleteConsumer(forget, consumer.CachedInfo().Name) // it vanishes by itself, too
		}()
		history.Events, err = fetch(ctx, consumer, limit, wait) // which may take longer than an exchange
		return err
	})
	if err != nil {
		return History{}, fmt.Errorf("read events: %w", err)
	}
	return history, nil
}

// fetch takes what comes in a row; what follows a gap is left to the next time.
func fetch(ctx context.Context, consumer jetstream.Consumer, limit int, wait time.Duration) ([]StoredEvent, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	batch, err := consumer.Fetch(limit, jetstream.FetchContext(waiting))
	if err != nil {
		return nil, err
	}
	var events []StoredEvent
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != uint64(len(events))+1 {
			return events, nil
		}
		events = append(events, StoredEvent{Subject: msg.Subject(), Data: msg.Data(), Sequence: meta.Sequence.Stream, Published: meta.Timestamp})
		if meta.NumPending == 0 {
			return events, nil
		}
	}
	if err := batch.Error(); err != nil && len(events) == 0 && waiting.Err() == nil {
		return nil, err
	}
	return events, ctx.Err()
}
