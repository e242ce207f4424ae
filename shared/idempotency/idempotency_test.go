package idempotency_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

const patience = 20 * time.Second

// open returns a store over a connection of its own, as another process has it.
func open(t *testing.T, server *natstest.Server, cfg idempotency.Config) *idempotency.Store {
	t.Helper()
	q, err := queue.New(server.JetStream(), queue.Config{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Queue = q
	store, err := idempotency.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func reserve(t *testing.T, s *idempotency.Store, id, digest string) httpapi.Reservation {
	t.Helper()
	held, err := s.Reserve(t.Context(), id, digest)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// until polls a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s have passed and it is not so that %s", patience, what)
		}
	}
}

func TestAnswersAreKept(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	one, two := open(t, server, idempotency.Config{}), open(t, server, idempotency.Config{})
	held := reserve(t, one, "id", "d1")
	if held.Earlier != nil || held.Lease != time.Minute {
		t.Fatalf("%+v", held)
	}
	if diff := cmp.Diff(&httpapi.Earlier{Digest: "d1"}, reserve(t, two, "id", "d2").Earlier); diff != "" {
		t.Errorf("under way: %s", diff)
	}
	answer := httpapi.Answer{Status: 202, Header: http.Header{"Location": {"/x"}}, Body: []byte(`{"星":"河"}`)}
	if err := one.Keep(t.Context(), held, answer); err != nil {
		t.Fatal(err)
	}
	for _, store := range []*idempotency.Store{one, two} {
		if diff := cmp.Diff(&httpapi.Earlier{Digest: "d1", Answer: &answer}, reserve(t, store, "id", "d1").Earlier); diff != "" {
			t.Errorf("kept: %s", diff)
		}
	}
	if reserve(t, two, "other", "d1").Earlier != nil {
		t.Error("another id is taken")
	}
}

func TestReleasedIDsAreFree(t *testing.T) {
	t.Parallel()
	store := open(t, natstest.New(t), idempotency.Config{})
	for range 3 {
		held := reserve(t, store, "id", "d")
		if held.Earlier != nil {
			t.Fatal("the id is taken")
		}
		if err := store.Release(t.Context(), held); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReservationsOfTheDeadExpire(t *testing.T) {
	t.Parallel()
	store := open(t, natstest.New(t), idempotency.Config{Lease: 4 * time.Second})
	begun := time.Now()
	dead := reserve(t, store, "id", "d")
	var held httpapi.Reservation
	until(t, "the id is free", func() bool {
		held = reserve(t, store, "id", "d")
		return held.Earlier == nil
	})
	if lived := time.Since(begun); lived < 3*time.Second {
		t.Errorf("the reservation held for %s only", lived)
	}
	// Should the dead come back, they must not touch what is another's now.
	if err := store.Keep(t.Context(), dead, httpapi.Answer{Status: 202}); !errors.Is(err, queue.ErrConflict) {
		t.Errorf("the dead keeps an answer: %v", err)
	}
	if err := store.Release(t.Context(), dead); err != nil {
		t.Errorf("the dead releases: %v", err)
	}
	if err := store.Keep(t.Context(), held, httpapi.Answer{Status: 202}); err != nil {
		t.Errorf("the living: %v", err)
	}
}

func TestKeptAnswersOutliveTheLeaseAndEndWithTheTTL(t *testing.T) {
	t.Parallel()
	store := open(t, natstest.New(t), idempotency.Config{Lease: 3 * time.Second, TTL: 6 * time.Second})
	begun := time.Now()
	if err := store.Keep(t.Context(), reserve(t, store, "id", "d"), httpapi.Answer{Status: 202}); err != nil {
		t.Fatal(err)
	}
	until(t, "the answer is gone", func() bool { return reserve(t, store, "id", "d").Earlier == nil })
	if lived := time.Since(begun); lived < 5*time.Second {
		t.Errorf("the answer lived for %s only", lived)
	}
}

func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	store := open(t, natstest.New(t), idempotency.Config{})
	rows := bytes.Repeat([]byte(`{"row":1,"field":"rating","message":"is not between -1 and 5"},`), 40_000)
	noise := make([]byte, 2<<20)
	_, _ = rand.Read(noise)
	for id, tc := range map[string]struct {
		body    []byte
		omitted bool
	}{"rows": {rows, false}, "noise": {noise, true}, "nothing": {nil, false}} {
		if err := store.Keep(t.Context(), reserve(t, store, id, "d"), httpapi.Answer{Status: 202, Body: tc.body}); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		got := reserve(t, store, id, "d").Earlier.Answer
		if got == nil || got.Omitted != tc.omitted || !tc.omitted && !bytes.Equal(got.Body, tc.body) {
			t.Errorf("%s: another answer was kept", id)
		}
	}
}

func TestOneOfManyWins(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	var won atomic.Int32
	var group sync.WaitGroup
	for range 4 {
		store := open(t, server, idempotency.Config{})
		for range 8 {
			group.Go(func() {
				held, err := store.Reserve(t.Context(), "id", "d")
				if err != nil {
					t.Error(err)
				} else if held.Earlier == nil {
					won.Add(1)
				}
			})
		}
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have the id", won.Load())
	}
}

func TestNATSAway(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	store := open(t, server, idempotency.Config{})
	if err := store.Ready(t.Context()); err != nil {
		t.Fatalf("before there is a bucket: %v", err)
	}
	held := reserve(t, store, "id", "d")
	if err := store.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := store.Reserve(ctx, "other", "d"); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("Reserve: %v", err)
	}
	if err := store.Ready(ctx); !errors.Is(err, queue.ErrUnavailable) || httpapi.AsError(err).Status != http.StatusServiceUnavailable {
		t.Errorf("Ready: %v", err)
	}
	server.Start()
	until(t, "it is ready again", func() bool { return store.Ready(t.Context()) == nil })
	if err := store.Keep(t.Context(), held, httpapi.Answer{Status: 202}); err != nil {
		t.Errorf("Keep after a restart: %v", err)
	}
}

// The whole of it, over two instances of a function.
func TestSurface(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	var count atomic.Int32
	instance := func() http.Handler {
		keys, err := httpapi.ParseKeys("k")
		if err != nil {
			t.Fatal(err)
		}
		handler, err := httpapi.New(httpapi.Config{Keys: keys, Logger: zerolog.Nop(), Replays: open(t, server, idempotency.Config{})}, httpapi.Route{
			Pattern: "POST /x", Scope: httpapi.ScopeExport, Idempotent: true,
			Handler: func(w http.ResponseWriter, _ *http.Request) error {
				count.Add(1)
				return httpapi.WriteJSON(w, http.StatusAccepted, map[string]string{"id": "1"})
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return handler
	}
	handlers := []http.Handler{instance(), instance()}
	post := func(handler http.Handler, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/x", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer k")
		r.Header.Set("Idempotency-Key", "key")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			if got := post(handlers[i%2], "{}"); got.Code != http.StatusAccepted && got.Code != http.StatusConflict {
				t.Errorf("%d %s", got.Code, got.Body)
			}
		})
	}
	group.Wait()
	if got := post(handlers[0], "{}"); got.Code != http.StatusAccepted || got.Header().Get("Idempotency-Replayed") != "true" || got.Body.String() != "{\"id\":\"1\"}\n" {
		t.Errorf("repeat: %d %v %s", got.Code, got.Header(), got.Body)
	}
	if got := post(handlers[1], "{} "); got.Code != http.StatusConflict {
		t.Errorf("another body: %d %s", got.Code, got.Body)
	}
	if count.Load() != 1 {
		t.Errorf("carried out %d times", count.Load())
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{"": 0, "48h": 48 * time.Hour, "1m": time.Minute} {
		vars := env.New(func(string) string { return value })
		if got := idempotency.FromEnv(vars, nil).TTL; got != want || vars.Err() != nil {
			t.Errorf("%q: %s %v", value, got, vars.Err())
		}
	}
	for _, value := range []string{"1s", "day"} {
		vars := env.New(func(string) string { return value })
		if idempotency.FromEnv(vars, nil); vars.Err() == nil || !strings.Contains(vars.Err().Error(), "XINGHE_IDEMPOTENCY_TTL") {
			t.Errorf("%q: %v", value, vars.Err())
		}
	}
	if _, err := idempotency.New(idempotency.Config{}); err == nil {
		t.Error("a store without a queue")
	}
}
