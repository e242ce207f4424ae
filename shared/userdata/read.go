package userdata

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamPrefix = "XINGHE_"
	bucketStream = "KV_"
	bucketPrefix = "xinghe_"
	subjectKV    = "$KV."
	// batch is how many messages are asked for at once: up to 1 MiB each by default.
	batch = 64
)

// message is one message of a stream.
type message struct {
	stream, subject string
	sequence        uint64
	header          nats.Header
	data            []byte
}

// bucket and key of a message in the stream of a bucket.
func (m message) bucket() string { return strings.TrimPrefix(m.stream, bucketStream) }

func (m message) key() string {
	return strings.TrimPrefix(m.subject, subjectKV+m.bucket()+".")
}

// mark reports whether the message only tells that a key was deleted.
func (m message) mark() bool {
	return m.header.Get("KV-Operation") != "" || m.header.Get(jetstream.MarkerReasonHeader) != ""
}

// streams yields those that are Xinghe's, buckets included.
func (h *Holder) streams(ctx context.Context) ([]jetstream.Stream, error) {
	names := h.js.StreamNames(ctx)
	var streams []jetstream.Stream
	for name := range names.Name() {
		if !strings.HasPrefix(name, streamPrefix) && !strings.HasPrefix(name, bucketStream+bucketPrefix) {
			continue
		}
		stream, err := h.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		streams = append(streams, stream)
	}
	return streams, names.Err()
}

// messages yields what a stream holds now.
func (h *Holder) messages(ctx context.Context, stream jetstream.Stream, filter string) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		info, err := stream.Info(ctx)
		if err != nil {
			yield(message{}, fmt.Errorf("ask for stream %s: %w", stream.CachedInfo().Config.Name, err))
			return
		}
		if info.State.Msgs == 0 {
			return
		}
		read := h.consumed
		if info.Config.Retention == jetstream.WorkQueuePolicy {
			read = h.picked // a second consumer would take from the workers
		}
		for msg, err := range read(ctx, stream, filter, info.State.LastSeq) {
			if err != nil {
				err = fmt.Errorf("read stream %s: %w", info.Config.Name, err)
			}
			if !yield(msg, err) || err != nil {
				return
			}
		}
	}
}

// consumed reads by a consumer of its own.
func (h *Holder) consumed(ctx context.Context, stream jetstream.Stream, filter string, last uint64) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		name := stream.CachedInfo().Config.Name
		consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
			AckPolicy: jetstream.AckNonePolicy, FilterSubject: filter, MemoryStorage: true, Replicas: 1,
		})
		if err != nil {
			yield(message{}, err)
			return
		}
		defer func() { _ = stream.DeleteConsumer(context.WithoutCancel(ctx), consumer.CachedInfo().Name) }() // else it expires
		for {
			got, err := consumer.FetchNoWait(batch)
			if err != nil {
				yield(message{}, err)
				return
			}
			count := 0
			for msg := range got.Messages() {
				count++
				meta, err := msg.Metadata()
				if err == nil && meta.Sequence.Stream > last {
					return // it came since
				}
				found := message{stream: name, subject: msg.Subject(), header: msg.Headers(), data: msg.Data()}
				if err == nil {
					found.sequence = meta.Sequence.Stream
				}
				if !yield(found, err) || err != nil {
					return
				}
			}
			if err := errors.Join(got.Error(), ctx.Err()); err != nil {
				yield(message{}, err)
				return
			}
			if count == 0 {
				return
			}
		}
	}
}

// picked reads one message after another without a consumer.
func (h *Holder) picked(ctx context.Context, stream jetstream.Stream, filter string, last uint64) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for next := uint64(1); next <= last; {
			raw, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(message{}, err)
				return
			}
			next = raw.Sequence + 1
			if !yield(message{stream.CachedInfo().Config.Name, raw.Subject, raw.Sequence, raw.Header, raw.Data}, nil) {
				return
			}
		}
	}
}
