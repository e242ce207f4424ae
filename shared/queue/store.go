package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrNotFound means that there is no such key or dead letter.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that the value has another revision by now.
	ErrConflict = errors.New("changed by someone else")
)

// StoreConfig says how a bucket is created. A bucket that exists is brought in line with it
// by the first write of a process.
type StoreConfig struct {
	// TTL removes keys that were not written for so long. Default: never.
	TTL time.Duration
	// History is how many revisions of a key are kept, 1 to 64. Default 1.
	History int
	// KeyTTL permits [Store.CreateFor].
	KeyTTL bool
}

// Store keeps JSON values of one type in a key-value bucket. The bucket is created by the
// first write; until then it reads as empty. Keys consist of letters, digits and -_=/ in
// parts separated by dots; filters may have * for a part and > for the rest. With several
// replicas a read may be a little behind: Update and Modify notice. It is safe for
// concurrent use.
type Store[T any] struct {
	q      *Queue
	bucket string
	cfg    StoreConfig

	mu       sync.Mutex
	kv       jetstream.KeyValue // nil until found
	writable bool               // kv has been created or updated by this process
}

// Entry is a value with its key and revision.
type Entry[T any] struct {
	Key      string
	Value    T // the zero value if Deleted
	Revision uint64
	Time     time.Time // when this revision was written
	Deleted  bool      // only seen by Watch
}

// OpenStore returns a store over a bucket. It does not touch the network. Bucket names
// consist of letters, digits, - and _.
func OpenStore[T any](q *Queue, bucket string, cfg StoreConfig) (*Store[T], error) {
	if !validName(bucket) {
		return nil, fmt.Errorf("bucket %q: %w: letters, digits, - and _ only", bucket, ErrInvalid)
	}
	if cfg.History < 0 || cfg.History > jetstream.KeyValueMaxHistory {
		return nil, fmt.Errorf("bucket %s: %w: history %d, at most %d", bucket, ErrInvalid, cfg.History, jetstream.KeyValueMaxHistory)
	}
	return &Store[T]{q: q, bucket: bucket, cfg: cfg}, nil
}

// Get returns the value under key, or [ErrNotFound].
func (s *Store[T]) Get(ctx context.Context, key string) (Entry[T], error) {
	entry, _, err := s.get(ctx, key)
	return entry, s.wrap("get", key, err)
}

// Create writes a key that must not exist, else the error is [ErrExists].
func (s *Store[T]) Create(ctx context.Context, key string, value T) (revision uint64, err error) {
	return s.write(ctx, "create", key, value, func(ctx context.Context, kv jetstream.KeyValue, data []byte) (uint64, error) {
		return kv.Create(ctx, key, data)
	})
}

// CreateFor is Create for a key that vanishes by itself after ttl (at least 1s): leases and
// idempotency records. It needs StoreConfig.KeyTTL. Writing the key again by any other
// method makes it stay.
func (s *Store[T]) CreateFor(ctx context.Context, key string, value T, ttl time.Duration) (revision uint64, err error) {
	return s.write(ctx, "create", key, value, func(ctx context.Context, kv jetstream.KeyValue, data []byte) (uint64, error) {
		return kv.Create(ctx, key, data, jetstream.KeyTTL(ttl))
	})
}

// Put writes a key whatever it held before.
func (s *Store[T]) Put(ctx context.Context, key string, value T) (revision uint64, err error) {
	return s.write(ctx, "put", key, value, func(ctx context.Context, kv jetstream.KeyValue, data []byte) (uint64, error) {
		return kv.Put(ctx, key, data)
	})
}

// Update writes a key that must still have the given revision, else the error is
// [ErrConflict].
func (s *Store[T]) Update(ctx context.Context, key string, value T, revision uint64) (uint64, error) {
	return s.write(ctx, "update", key, value, func(ctx context.Context, kv jetstream.KeyValue, data []byte) (uint64, error) {
		return kv.Update(ctx, key, data, revision)
	})
}

// Modify changes the value under key by reading, calling change, and writing, again and
// again until nobody came in between; change must bear being called more than once. An
// error of change ends it and is returned as it is; nothing is written if nothing changed.
// Without the key the error is [ErrNotFound].
func (s *Store[T]) Modify(ctx context.Context, key string, change func(*T) error) (Entry[T], error) {
	return s.modify(ctx, key, false, change)
}

// Upsert is Modify for a key that begins as the zero value if it does not exist.
func (s *Store[T]) Upsert(ctx context.Context, key string, change func(*T) error) (Entry[T], error) {
	return s.modify(ctx, key, true, change)
}

func (s *Store[T]) modify(ctx context.Context, key string, create bool, change func(*T) error) (Entry[T], error) {
	ctx, cancel := s.q.bounded(ctx)
	defer cancel()
	for try := 0; ; try++ {
		entry, before, err := s.get(ctx, key)
		missing := create && errors.Is(err, ErrNotFound)
		if err != nil && !missing {
			return entry, s.wrap("modify", key, err)
		}
		if err := change(&entry.Value); err != nil {
			return entry, err
		}
		after, err := json.Marshal(entry.Value)
		if err != nil {
			return entry, s.wrap("modify", key, err)
		}
		if bytes.Equal(before, after) {
			return entry, nil
		}
		if missing {
			entry.Revision, err = s.Create(ctx, key, entry.Value)
		} else {
			entry.Revision, err = s.Update(ctx, key, entry.Value, entry.Revision)
		}
		if err == nil {
			entry.Time = time.Now()
			return entry, nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			return entry, err
		}
		if err := pause(ctx, time.Duration(rand.Int64N(int64(time.Millisecond)<<min(try, 6)))); err != nil {
			return entry, s.wrap("modify", key, fmt.Errorf("%w: %w", ErrConflict, err))
		}
	}
}

// Delete removes a key with its history; a key that is not there is no error.
func (s *Store[T]) Delete(ctx context.Context, key string) error {
	ctx, cancel := s.q.bounded(ctx)
	defer cancel()
	kv, err := s.open(ctx, false)
	if err == nil {
		err = s.failed(kv.Purge(ctx, key))
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return s.wrap("delete", key, err)
}

func (s *Store[T]) get(ctx context.Context, key string) (Entry[T], []byte, error) {
	ctx, cancel := s.q.bounded(ctx)
	defer cancel()
	kv, err := s.open(ctx, false)
	if err != nil {
		return Entry[T]{Key: key}, nil, err
	}
	found, err := kv.Get(ctx, key)
	if err != nil {
		return Entry[T]{Key: key}, nil, s.failed(err)
	}
	entry, err := decode[T](found)
	return entry, found.Value(), err
}

func (s *Store[T]) write(ctx context.Context, verb, key string, value T, do func(context.Context, jetstream.KeyValue, []byte) (uint64, error)) (uint64, error) {
	ctx, cancel := s.q.bounded(ctx)
	defer cancel()
	data, err := json.Marshal(value)
	if err != nil {
		return 0, s.wrap(verb, key, err)
	}
	kv, err := s.open(ctx, true)
	if err != nil {
		return 0, s.wrap(verb, key, err)
	}
	revision, err := do(ctx, kv, data)
	return revision, s.wrap(verb, key, s.failed(err))
}

// open returns the bucket, which is created if create is set, and otherwise ErrNotFound
// while there is none.
func (s *Store[T]) open(ctx context.Context, create bool) (jetstream.KeyValue, error) {
	s.mu.Lock()
	kv, writable := s.kv, s.writable
	s.mu.Unlock()
	js, err := s.q.js(ctx)
	if err != nil {
		return nil, err
	}
	if kv != nil && (writable || !create) {
		return kv, nil
	}
	if create {
		kv, err = s.ensure(ctx, js)
	} else {
		kv, err = js.KeyValue(ctx, s.bucket)
	}
	if err != nil {
		return nil, s.failed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv, s.writable = kv, s.writable || create
	return kv, nil
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

// failed translates an error of the client into one of ours, and forgets a bucket that may
// have been deleted.
func (s *Store[T]) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrBucketNotFound):
		return ErrNotFound
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return ErrConflict
	case errors.Is(err, jetstream.ErrInvalidKey):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrStreamNotFound):
		s.mu.Lock()
		s.kv, s.writable = nil, false
		s.mu.Unlock()
	}
	return unavailable(err)
}

func (s *Store[T]) wrap(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	if verb == "create" && errors.Is(err, ErrConflict) {
		err = ErrExists
	}
	return fmt.Errorf("%s %s in %s: %w", verb, key, s.bucket, err)
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

// validName reports whether JetStream takes the name for a bucket or a consumer.
func validName(name string) bool {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return name != ""
}
