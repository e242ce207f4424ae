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
	return s.create(ctx, key, value, 0)
}

// CreateFor is Create for a key that vanishes by itself after ttl (at least 1s): leases and
// idempotency records. It needs StoreConfig.KeyTTL. Writing the key again by any other
// method makes it stay.
func (s *Store[T]) CreateFor(ctx context.Context, key string, value T, ttl time.Duration) (revision uint64, err error) {
	return s.create(ctx, key, value, max(ttl, time.Second))
}

// Put writes a key whatever it held before.
func (s *Store[T]) Put(ctx context.Context, key string, value T) (revision uint64, err error) {
	revision, err = s.write(ctx, key, value, nats.Header{})
	return revision, s.wrap("put", key, err)
}

// Update writes a key that must still have the given revision, else the error is
// [ErrConflict].
func (s *Store[T]) Update(ctx context.Context, key string, value T, revision uint64) (uint64, error) {
	revision, err := s.write(ctx, key, value, expecting(revision))
	if errors.Is(err, ErrExists) {
		err = ErrConflict
	}
	return revision, s.wrap("update", key, err)
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
		if err := Pause(ctx, time.Duration(rand.Int64N(int64(time.Millisecond)<<min(try, 6)))); err != nil {
			return entry, s.wrap("modify", key, fmt.Errorf("%w: %w", ErrConflict, err))
		}
	}
}

// Delete removes a key with its history; a key that is not there is no error.
func (s *Store[T]) Delete(ctx context.Context, key string) error {
	err := s.reading(ctx, func(ctx context.Context, kv jetstream.KeyValue) error { return kv.Purge(ctx, key) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return s.wrap("delete", key, err)
}

func (s *Store[T]) get(ctx context.Context, key string) (entry Entry[T], data []byte, err error) {
	var found jetstream.KeyValueEntry
	err = s.reading(ctx, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		found, err = kv.Get(ctx, key)
		return err
	})
	if err != nil {
		return Entry[T]{Key: key}, nil, err
	}
	entry, err = decode[T](found)
	return entry, found.Value(), err
}

func (s *Store[T]) wrap(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s in %s: %w", verb, key, s.bucket, err)
}
