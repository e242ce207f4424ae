package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type progress struct {
	State string
	Rows  int
}

func openProgress(tb testing.TB, q *Queue, cfg StoreConfig) *Store[progress] {
	tb.Helper()
	s, err := OpenStore[progress](q, "progress", cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	b := newBroker(t) // no Ensure: a bucket makes itself
	ctx := t.Context()
	s := openProgress(t, b.queue(t, Config{}), StoreConfig{})
	if _, err := s.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get without a bucket: %v", err)
	}
	if err := s.Delete(ctx, "a"); err != nil {
		t.Errorf("Delete without a bucket: %v", err)
	}
	for entry, err := range s.List(ctx, ">") {
		t.Errorf("List without a bucket: %+v, %v", entry, err)
	}
	first, err := s.Create(ctx, "a", progress{"queued", 0})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	if _, err := s.Create(ctx, "a", progress{}); !errors.Is(err, ErrExists) || errors.Is(err, ErrConflict) {
		t.Errorf("second Create: %v", err)
	}
	other := openProgress(t, b.queue(t, Config{}), StoreConfig{})
	second, err := other.Update(ctx, "a", progress{"running", 1}, first)
	if err != nil || second <= first {
		t.Errorf("Update: revision %d after %d, %v", second, first, err)
	}
	if _, err := s.Update(ctx, "a", progress{"running", 2}, first); !errors.Is(err, ErrConflict) || errors.Is(err, ErrExists) {
		t.Errorf("Update of an old revision: %v", err)
	}
	entry, err := s.Get(ctx, "a")
	if err != nil || entry.Time.IsZero() {
		t.Errorf("Get: %+v, %v", entry, err)
	}
	entry.Time = time.Time{}
	if diff := cmp.Diff(Entry[progress]{Key: "a", Value: progress{"running", 1}, Revision: second}, entry); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	if _, err := s.Put(ctx, "a", progress{"done", 9}); err != nil {
		t.Errorf("Put: %v", err)
	}
	if err := s.Delete(ctx, "a"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := s.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get after Delete: %v", err)
	}
	if _, err := s.Create(ctx, "a", progress{}); err != nil {
		t.Errorf("Create after Delete: %v", err)
	}
	if _, err := s.Get(ctx, "a key"); !errors.Is(err, ErrInvalid) {
		t.Errorf("Get of a bad key: %v", err)
	}
	if _, err := s.Put(ctx, "", progress{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("Put of an empty key: %v", err)
	}
}

func TestStoreModifyUnderContention(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	if _, err := openProgress(t, q, StoreConfig{}).Create(t.Context(), "n", progress{}); err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 25
	var wg sync.WaitGroup
	for range writers {
		s := openProgress(t, b.queue(t, Config{Timeout: patience}), StoreConfig{})
		wg.Go(func() {
			for range each {
				if _, err := s.Modify(t.Context(), "n", func(p *progress) error { p.Rows++; return nil }); err != nil {
					t.Errorf("Modify: %v", err)
				}
			}
		})
	}
	wg.Wait()
	s := openProgress(t, q, StoreConfig{})
	entry, err := s.Get(t.Context(), "n")
	if err != nil || entry.Value.Rows != writers*each {
		t.Fatalf("rows = %d, want %d, %v", entry.Value.Rows, writers*each, err)
	}
	if same, err := s.Modify(t.Context(), "n", func(*progress) error { return nil }); err != nil || same.Revision != entry.Revision {
		t.Errorf("a change of nothing: revision %d, was %d, %v", same.Revision, entry.Revision, err)
	}
	enough := errors.New("enough")
	if _, err := s.Modify(t.Context(), "n", func(p *progress) error { p.Rows = 0; return enough }); err != enough { //nolint:errorlint // returned as it is
		t.Errorf("Modify: %v, want the change's error", err)
	}
	if _, err := s.Modify(t.Context(), "none", func(*progress) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("Modify of nothing: %v", err)
	}
}

func TestStoreUpsert(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var wg sync.WaitGroup
	const writers = 8
	for range writers {
		s := openProgress(t, b.queue(t, Config{Timeout: patience}), StoreConfig{})
		wg.Go(func() {
			if _, err := s.Upsert(t.Context(), "n", func(p *progress) error { p.Rows++; return nil }); err != nil {
				t.Errorf("Upsert: %v", err)
			}
		})
	}
	wg.Wait()
	entry, err := openProgress(t, b.queue(t, Config{}), StoreConfig{}).Get(t.Context(), "n")
	if err != nil || entry.Value.Rows != writers {
		t.Errorf("rows = %d, want %d, %v", entry.Value.Rows, writers, err)
	}
}

func TestStoreListAndKeys(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	s := openProgress(t, q, StoreConfig{})
	const n = 300
	for i := range n {
		if _, err := s.Put(t.Context(), fmt.Sprintf("exp%d.%03d", i%2, i), progress{Rows: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "exp0.000"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "exp0.002", progress{Rows: 2000}); err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for entry, err := range s.List(t.Context(), "exp0.*") {
		if err != nil {
			t.Fatal(err)
		}
		rows[entry.Key] = entry.Value.Rows
	}
	if len(rows) != n/2-1 || rows["exp0.002"] != 2000 || rows["exp0.004"] != 4 {
		t.Errorf("%d entries, want %d: %v", len(rows), n/2-1, rows)
	}
	var keys []string
	for key, err := range s.Keys(t.Context(), ">") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if slices.Sort(keys); len(slices.Compact(keys)) != n-1 {
		t.Errorf("%d keys, want %d", len(keys), n-1)
	}
	for _, err := range s.List(t.Context(), ">") {
		if err != nil {
			t.Error(err)
		}
		break
	}
}

func TestStoreListGoesOnAfterABadValue(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	texts, err := OpenStore[string](q, "progress", StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := texts.Put(t.Context(), "a", "not an object"); err != nil {
		t.Fatal(err)
	}
	s := openProgress(t, q, StoreConfig{})
	if _, err := s.Put(t.Context(), "b", progress{Rows: 1}); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for entry, err := range s.List(t.Context(), ">") {
		got[entry.Key] = err == nil
	}
	if diff := cmp.Diff(map[string]bool{"a": false, "b": true}, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if _, err := s.Get(t.Context(), "a"); err == nil {
		t.Error("Get of a bad value is no error")
	}
}

func TestStoreWatch(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	s := openProgress(t, q, StoreConfig{})
	write := func(key string, rows int) {
		t.Helper()
		if _, err := s.Put(t.Context(), key, progress{Rows: rows}); err != nil {
			t.Fatal(err)
		}
	}
	write("a.1", 1)
	write("b.1", 100)
	seen := make(chan Entry[progress], 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		var last error
		for entry, err := range openProgress(t, q, StoreConfig{}).Watch(ctx, "a.*") {
			if last = err; err == nil {
				seen <- entry
			}
		}
		ended <- last
	}()
	expect := func(key string, rows int, deleted bool) {
		t.Helper()
		entry := recv(t, seen, key)
		if entry.Key != key || entry.Value.Rows != rows || entry.Deleted != deleted || entry.Revision == 0 {
			t.Errorf("saw %+v, want %s %d %v", entry, key, rows, deleted)
		}
	}
	expect("a.1", 1, false)
	write("a.2", 2)
	expect("a.2", 2, false)
	if err := s.Delete(t.Context(), "a.1"); err != nil {
		t.Fatal(err)
	}
	expect("a.1", 0, true)
	b.Stop()
	b.Start()
	write("a.2", 3)
	eventually(t, func() string { // a watch that begins anew may repeat itself
		select {
		case entry := <-seen:
			if entry.Key == "a.2" && entry.Value.Rows == 3 {
				return ""
			}
			return fmt.Sprintf("saw %+v", entry)
		default:
			return "nothing seen since the restart"
		}
	})
	cancel()
	if err := recv(t, ended, "the end of the watch"); !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestStoreCreateFor(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	s := openProgress(t, q, StoreConfig{KeyTTL: true})
	if _, err := s.CreateFor(t.Context(), "lease", progress{State: "mine"}, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateFor(t.Context(), "lease", progress{}, time.Second); !errors.Is(err, ErrExists) {
		t.Errorf("second CreateFor: %v", err)
	}
	eventually(t, func() string {
		_, err := s.CreateFor(t.Context(), "lease", progress{State: "yours"}, time.Second)
		if err == nil {
			return ""
		}
		return err.Error()
	})
}

func TestStoreBucketIsBroughtInLine(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	if _, err := openProgress(t, q, StoreConfig{}).Put(t.Context(), "a", progress{}); err != nil {
		t.Fatal(err)
	}
	if _, err := openProgress(t, q, StoreConfig{TTL: time.Hour, History: 5, KeyTTL: true}).Put(t.Context(), "a", progress{}); err != nil {
		t.Fatal(err)
	}
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "progress")
	if err != nil {
		t.Fatal(err)
	}
	status, err := kv.Status(t.Context())
	if err != nil || status.TTL() != time.Hour || status.History() != 5 || status.LimitMarkerTTL() != time.Second {
		t.Errorf("TTL %s, history %d, markers %s, %v", status.TTL(), status.History(), status.LimitMarkerTTL(), err)
	}
}

func TestStoreBucketDeleted(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	s := openProgress(t, q, StoreConfig{})
	if _, err := s.Put(t.Context(), "a", progress{}); err != nil {
		t.Fatal(err)
	}
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "progress"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if _, err := s.Put(t.Context(), "a", progress{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

func TestStoreFaults(t *testing.T) {
	t.Parallel()
	b, q := setup(t)
	for _, bucket := range []string{"", "a b", "a.b"} {
		if _, err := OpenStore[int](q, bucket, StoreConfig{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("bucket %q: %v", bucket, err)
		}
	}
	if _, err := OpenStore[int](q, "a", StoreConfig{History: 65}); !errors.Is(err, ErrInvalid) {
		t.Errorf("history: %v", err)
	}
	s := openProgress(t, q, StoreConfig{})
	b.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Get without a server: %v", err)
	}
	for _, err := range s.List(ctx, ">") {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("List without a server: %v", err)
		}
	}
}
