package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A bucket is a stream named KV_<bucket> with the subjects $KV.<bucket>.<key>. Values are
// written to it by the same way as jobs rather than by the client's key-value calls: with
// an id, so that a write whose answer was lost can be repeated, and neither happens twice
// nor conflicts with itself.
const (
	bucketStream  = "KV_"
	bucketSubject = "$KV."
)

func expecting(revision uint64) nats.Header {
	return nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(revision, 10)}}
}

func (s *Store[T]) create(ctx context.Context, key string, value T, ttl time.Duration) (uint64, error) {
	ctx, cancel := s.q.bounded(ctx)
	defer cancel()
	for expected := uint64(0); ; {
		header := expecting(expected)
		if ttl > 0 {
			header.Set(jetstream.MsgTTLHeader, ttl.String())
		}
		revision, err := s.write(ctx, key, value, header)
		if !errors.Is(err, ErrExists) {
			return revision, s.wrap("create", key, err)
		}
		// A key that was deleted is taken by the mark of its deletion.
		mark, deleted := s.deletion(ctx, key)
		if deleted != nil || mark == expected {
			return 0, s.wrap("create", key, errors.Join(err, deleted))
		}
		expected = mark
	}
}

// deletion returns the revision of the mark that a deleted key leaves, or 0 if there is none.
func (s *Store[T]) deletion(ctx context.Context, key string) (revision uint64, err error) {
	err = s.q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, bucketStream+s.bucket)
		if err != nil {
			return err
		}
		msg, err := stream.GetLastMsgForSubject(ctx, bucketSubject+s.bucket+"."+key)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil && (msg.Header.Get("KV-Operation") != "" || msg.Header.Get(jetstream.MarkerReasonHeader) != "") {
			revision = msg.Sequence
		}
		return err
	})
	return revision, err
}

func (s *Store[T]) write(ctx context.Context, key string, value T, header nats.Header) (uint64, error) {
	ctx, cancel := s.q.bounded(ctx)
	defer cancel()
	if !validKey(key) {
		return 0, fmt.Errorf("%w: key", ErrInvalid)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	header.Set(jetstream.MsgIDHeader, nuid.Next())
	msg := &nats.Msg{Subject: bucketSubject + s.bucket + "." + key, Data: data, Header: header}
	for {
		if _, err := s.open(ctx, true); err != nil {
			return 0, err
		}
		revision, err := s.q.store(ctx, bucketStream+s.bucket, msg)
		if _, gone := errors.AsType[*MissingStreamError](err); !gone {
			return revision, err
		}
		s.forget()
	}
}

// reading calls do with the bucket, which is not created: while there is none the error is
// ErrNotFound.
func (s *Store[T]) reading(ctx context.Context, do func(context.Context, jetstream.KeyValue) error) error {
	ctx, cancel := s.q.bounded(ctx)
	defer cancel()
	return s.q.patiently(ctx, func(ctx context.Context, _ jetstream.JetStream) error {
		kv, err := s.open(ctx, false)
		if err != nil {
			return err
		}
		return s.translate(do(ctx, kv))
	})
}

// translate makes an error of the client one of ours.
func (s *Store[T]) translate(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return ErrNotFound
	case errors.Is(err, jetstream.ErrInvalidKey):
		return fmt.Errorf("%w: key", ErrInvalid)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound):
		s.forget() // it may have been deleted: the next try finds out
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, errUnknown, err)
	}
	return unavailable(err)
}

// open returns the bucket, which is created if create is set, and otherwise ErrNotFound
// while there is none.
func (s *Store[T]) open(ctx context.Context, create bool) (jetstream.KeyValue, error) {
	s.mu.Lock()
	kv, writable := s.kv, s.writable
	s.mu.Unlock()
	if kv != nil && (writable || !create) {
		return kv, nil
	}
	err := s.q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) (err error) {
		if create {
			kv, err = s.ensure(ctx, js)
			return err
		}
		if kv, err = js.KeyValue(ctx, s.bucket); errors.Is(err, jetstream.ErrBucketNotFound) {
			return ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv, s.writable = kv, s.writable || create
	return kv, nil
}

func (s *Store[T]) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv, s.writable = nil, false
}

func (s *Store[T]) ensure(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	cfg := jetstream.KeyValueConfig{
		Bucket: s.bucket, TTL: s.cfg.TTL, History: uint8(max(s.cfg.History, 1)), Replicas: max(s.q.cfg.Replicas, 1),
	}
	if s.cfg.KeyTTL {
		cfg.LimitMarkerTTL = time.Second
	}
	for {
		kv, err := js.KeyValue(ctx, s.bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			kv, err = js.CreateKeyValue(ctx, cfg)
			if errors.Is(err, jetstream.ErrBucketExists) {
				continue // another process was faster
			}
			return kv, err
		}
		if err != nil {
			return nil, err
		}
		status, err := kv.Status(ctx)
		if err != nil {
			return nil, err
		}
		have := status.Config()
		if s.q.cfg.Replicas == 0 {
			cfg.Replicas = have.Replicas
		}
		if have.TTL == cfg.TTL && have.History == cfg.History && have.Replicas == cfg.Replicas && have.LimitMarkerTTL == cfg.LimitMarkerTTL {
			return kv, nil
		}
		have.TTL, have.History, have.Replicas, have.LimitMarkerTTL = cfg.TTL, cfg.History, cfg.Replicas, cfg.LimitMarkerTTL
		return js.UpdateKeyValue(ctx, have)
	}
}

func decode[T any](kve jetstream.KeyValueEntry) (Entry[T], error) {
	entry := Entry[T]{Key: kve.Key(), Revision: kve.Revision(), Time: kve.Created(), Deleted: kve.Operation() != jetstream.KeyValuePut}
	if entry.Deleted {
		return entry, nil
	}
	if err := json.Unmarshal(kve.Value(), &entry.Value); err != nil {
		return entry, fmt.Errorf("decode %s: %w", kve.Key(), err)
	}
	return entry, nil
}

// validKey reports whether JetStream takes the key.
func validKey(key string) bool {
	for part := range strings.SplitSeq(key, ".") {
		if !validName(strings.NewReplacer("/", "_", "=", "_").Replace(part)) {
			return false
		}
	}
	return true
}

// validName reports whether JetStream takes the name for a bucket or a consumer.
func validName(name string) bool {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return name != ""
}
