// Package idempotency keeps the answers of requests that carry an Idempotency-Key, so that
// a request which is sent again, to this instance or another, is answered again and not
// carried out again.
//
//	answers, err := idempotency.New(idempotency.Config{Queue: q})
//	handler, err := httpapi.New(httpapi.Config{Keys: keys, Replays: answers}, routes...)
//
// A record begins as a reservation with a short life of its own, so that the key of a
// process that died comes free, and becomes the answer, which stays for Config.TTL. All of
// it lies in one JetStream bucket. Which requests are alike, and what of an answer counts,
// is the business of package httpapi.
package idempotency

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
)

// Bucket holds a record under each id, unless [Config.Bucket] names another.
const Bucket = "xinghe_idempotency"

// maxBody is the longest body that is kept, in bytes after compression: JetStream takes
// messages of 1 MiB by default, and JSON makes four bytes of three.
const maxBody = 512 << 10

// Config of a [Store]. Zero values mean the defaults.
type Config struct {
	// Queue whose JetStream keeps the records. Required.
	Queue *queue.Queue
	// Bucket that the records lie in; [Bucket] by default. All who use one have the same TTL.
	Bucket string
	// TTL is how long an answer is kept. Default 24h, at least Lease.
	TTL time.Duration
	// Lease is how long an id stays taken by a request whose process has died. Requests must
	// be done within three quarters of it. Default 1m, at least 1s.
	Lease time.Duration
}

// FromEnv reads XINGHE_IDEMPOTENCY_TTL.
func FromEnv(vars *env.Vars, q *queue.Queue) Config {
	cfg := Config{Queue: q, TTL: vars.Duration("XINGHE_IDEMPOTENCY_TTL", 0)}
	_, err := cfg.withDefaults()
	vars.Fault("XINGHE_IDEMPOTENCY_TTL", err)
	return cfg
}

func (c Config) withDefaults() (Config, error) {
	if c.Bucket == "" {
		c.Bucket = Bucket
	}
	if c.TTL == 0 {
		c.TTL = 24 * time.Hour
	}
	if c.Lease == 0 {
		c.Lease = time.Minute
	}
	if c.Lease < time.Second {
		return c, fmt.Errorf("a lease of %s: want at least 1s", c.Lease)
	}
	if c.TTL < c.Lease {
		return c, fmt.Errorf("%s: want at least %s", c.TTL, c.Lease)
	}
	return c, nil
}

// Store is a [httpapi.Replays]. It is safe for concurrent use, by many processes.
type Store struct {
	lease   time.Duration
	records *queue.Store[record]
}

// record is what lies under an id.
type record struct {
	// Digest of the request that came first.
	Digest string `json:"digest"`
	// Answer is nil while the request is under way.
	Answer *answer `json:"answer,omitempty"`
}

type answer struct {
	Status  int         `json:"status"`
	Header  http.Header `json:"header,omitempty"`
	Packed  []byte      `json:"packed,omitempty"` // the body, compressed by gzip
	Omitted bool        `json:"omitted,omitempty"`
}

// New returns a store. It does not touch the network.
func New(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("idempotency: %w", err)
	}
	if cfg.Queue == nil {
		return nil, errors.New("idempotency: no queue")
	}
	records, err := queue.OpenStore[record](cfg.Queue, cfg.Bucket, queue.StoreConfig{TTL: cfg.TTL, KeyTTL: true})
	if err != nil {
		return nil, fmt.Errorf("idempotency: %w", err)
	}
	return &Store{lease: cfg.Lease, records: records}, nil
}

// Ready reports an error that matches [queue.ErrUnavailable] while JetStream does not
// answer.
func (s *Store) Ready(ctx context.Context) error {
	if _, err := s.records.Get(ctx, "ready"); err != nil && !errors.Is(err, queue.ErrNotFound) {
		return httpapi.Unavailable("NATS does not answer", err)
	}
	return nil
}

// Reserve implements [httpapi.Replays].
func (s *Store) Reserve(ctx context.Context, id, digest string) (httpapi.Reservation, error) {
	held := httpapi.Reservation{ID: id, Digest: digest, Lease: s.lease}
	for {
		revision, err := s.records.CreateFor(ctx, id, record{Digest: digest}, s.lease)
		if err == nil {
			held.Revision = revision
			return held, nil
		}
		if !errors.Is(err, queue.ErrExists) {
			return held, fmt.Errorf("reserve idempotency key: %w", err)
		}
		entry, err := s.records.Get(ctx, id)
		if errors.Is(err, queue.ErrNotFound) && ctx.Err() == nil {
			continue // it came free in between
		}
		if err != nil {
			return held, fmt.Errorf("read idempotency key: %w", err)
		}
		held.Earlier, err = entry.Value.earlier()
		return held, err
	}
}

// Keep implements [httpapi.Replays].
func (s *Store) Keep(ctx context.Context, held httpapi.Reservation, given httpapi.Answer) error {
	packed, err := pack(given.Body)
	if err != nil {
		return err
	}
	kept := answer{Status: given.Status, Header: given.Header, Packed: packed}
	if len(packed) > maxBody {
		kept.Packed, kept.Omitted = nil, true
	}
	// The revision is the proof that the lease has not ended, and nobody else has the id.
	if _, err := s.records.Update(ctx, held.ID, record{Digest: held.Digest, Answer: &kept}, held.Revision); err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	return nil
}

// Release implements [httpapi.Replays].
func (s *Store) Release(ctx context.Context, held httpapi.Reservation) error {
	entry, err := s.records.Get(ctx, held.ID)
	if errors.Is(err, queue.ErrNotFound) || err == nil && entry.Revision != held.Revision {
		return nil // the lease has ended, and the id is another's
	}
	if err == nil {
		err = s.records.Delete(ctx, held.ID)
	}
	if err != nil {
		return fmt.Errorf("release idempotency key: %w", err)
	}
	return nil
}

func (r record) earlier() (*httpapi.Earlier, error) {
	earlier := &httpapi.Earlier{Digest: r.Digest}
	if r.Answer == nil {
		return earlier, nil
	}
	body, err := unpack(r.Answer.Packed)
	if err != nil {
		return nil, err
	}
	earlier.Answer = &httpapi.Answer{Status: r.Answer.Status, Header: r.Answer.Header, Body: body, Omitted: r.Answer.Omitted}
	return earlier, nil
}

func pack(body []byte) ([]byte, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("pack answer: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack answer: %w", err)
	}
	return packed.Bytes(), nil
}

func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack answer: %w", err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("unpack answer: %w", err)
	}
	return body, nil
}
