package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Watch yields the values that keys matching filter have now, each once, and then every
// change, deletions included, until the loop is left or ctx ends, whose error comes last.
// Of changes in quick succession it may yield the last one only. It outlives lost
// connections; the bucket is created if there is none.
func (s *Store[T]) Watch(ctx context.Context, filter string) iter.Seq2[Entry[T], error] {
	return func(yield func(Entry[T], error) bool) {
		var last uint64 // the highest revision seen
		each := func(kve jetstream.KeyValueEntry) bool {
			if kve == nil {
				return true
			}
			last = max(last, kve.Revision())
			return yield(decode[T](kve))
		}
		var opts []jetstream.WatchOpt
		backoff := ExponentialBackoff(20*time.Millisecond, time.Second)
		for try := 1; ; try++ {
			err := s.watch(ctx, filter, true, each, opts...)
			if errors.Is(err, errReconnected) {
				try = 1
			} else if err == nil || opts == nil || !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
				if err != nil {
					yield(Entry[T]{}, s.wrap("watch", filter, err))
				}
				return
			}
			// The client by itself would go on as well, but only after some missed heartbeats.
			opts = []jetstream.WatchOpt{jetstream.ResumeFromRevision(last + 1)}
			_ = Pause(ctx, backoff(try)) // the next try tells of ctx
		}
	}
}

// List yields the values of all keys matching filter (">" for all), in no particular order.
// An entry that cannot be decoded comes with its key and an error, and does not end the
// loop; any other error does.
func (s *Store[T]) List(ctx context.Context, filter string) iter.Seq2[Entry[T], error] {
	return func(yield func(Entry[T], error) bool) {
		err := s.watch(ctx, filter, false, func(kve jetstream.KeyValueEntry) bool {
			return kve != nil && yield(decode[T](kve))
		}, jetstream.IgnoreDeletes())
		if err != nil && !errors.Is(err, ErrNotFound) {
			yield(Entry[T]{}, s.wrap("list", filter, err))
		}
	}
}

// Keys yields the names of all keys matching filter (">" for all), in no particular order.
func (s *Store[T]) Keys(ctx context.Context, filter string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := s.watch(ctx, filter, false, func(kve jetstream.KeyValueEntry) bool {
			return kve != nil && yield(kve.Key(), nil)
		}, jetstream.IgnoreDeletes(), jetstream.MetaOnly())
		if err != nil && !errors.Is(err, ErrNotFound) {
			yield("", s.wrap("list", filter, err))
		}
	}
}

// errReconnected ends a watch that may have missed something.
var errReconnected = errors.New("the connection was lost")

// watch calls each with every entry, and with nil after those that were there from the
// start, until it returns false. If it is to follow, it ends with errReconnected after a
// lost connection; else every entry must come within Config.Timeout of the one before.
func (s *Store[T]) watch(ctx context.Context, filter string, follow bool, each func(jetstream.KeyValueEntry) bool, opts ...jetstream.WatchOpt) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opening, opened := s.q.bounded(ctx)
	defer opened()
	js, err := s.q.js(opening)
	if err != nil {
		return err
	}
	reconnected := js.Conn().StatusChanged(nats.CONNECTED)
	defer js.Conn().RemoveStatusListener(reconnected)
	kv, err := s.open(opening, follow)
	if err != nil {
		return err
	}
	watcher, err := kv.Watch(ctx, filter, opts...)
	if err != nil {
		return s.translate(err)
	}
	defer stopWatch(watcher)
	timer := time.NewTimer(s.q.cfg.Timeout)
	defer timer.Stop()
	idle := timer.C
	if follow {
		idle = nil
	}
	for {
		select {
		case kve, ok := <-watcher.Updates():
			switch {
			case !ok && ctx.Err() != nil:
				return ctx.Err()
			case !ok:
				return fmt.Errorf("%w: the watch was closed", ErrUnavailable)
			case !each(kve):
				return nil
			}
			timer.Reset(s.q.cfg.Timeout)
		case <-idle:
			return fmt.Errorf("%w: no answer within %s", ErrUnavailable, s.q.cfg.Timeout)
		case <-reconnected:
			return errReconnected
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stopWatch also takes what is left: the client's goroutine would wait forever for someone to.
func stopWatch(watcher jetstream.KeyWatcher) {
	_ = watcher.Stop() // it fails if ctx has ended, which stops it as well
	timer := time.NewTimer(try)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-watcher.Updates():
			if !ok {
				return
			}
		case <-timer.C:
			return
		}
	}
}
