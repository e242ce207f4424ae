package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/httpapi"
)

// memory is a Replays without a network, which can be told to fail.
type memory struct {
	mu                    sync.Mutex
	records               map[string]*httpapi.Earlier
	reserve, keep, settle error
	released              int
}

func (m *memory) Reserve(_ context.Context, id, digest string) (httpapi.Reservation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := httpapi.Reservation{ID: id, Digest: digest, Lease: time.Minute}
	if m.reserve != nil {
		return held, m.reserve
	}
	if earlier, taken := m.records[id]; taken {
		same := *earlier
		held.Earlier = &same
		return held, nil
	}
	if m.records == nil {
		m.records = map[string]*httpapi.Earlier{}
	}
	m.records[id] = &httpapi.Earlier{Digest: digest}
	return held, nil
}

func (m *memory) Keep(_ context.Context, held httpapi.Reservation, answer httpapi.Answer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keep != nil {
		return m.keep
	}
	m.records[held.ID].Answer = &answer
	return nil
}

func (m *memory) Release(ctx context.Context, held httpapi.Reservation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.released++
	delete(m.records, held.ID)
	return m.settle
}

// orders is a surface with an idempotent route whose handler counts.
type orders struct {
	bundle
	memory *memory
	count  *atomic.Int32
}

func newOrders(t *testing.T, handler httpapi.HandlerFunc) orders {
	t.Helper()
	o := orders{bundle: bundle{log: new(bytes.Buffer)}, memory: &memory{}, count: new(atomic.Int32)}
	keys, err := httpapi.ParseKeys("one,two")
	if err != nil {
		t.Fatal(err)
	}
	if handler == nil {
		handler = func(w http.ResponseWriter, r *http.Request) error {
			body, err := httpapi.ReadBody(r)
			if err != nil {
				return err
			}
			w.Header().Set("Location", "/orders/1")
			w.Header().Set("X-Inner", "1")
			return httpapi.WriteJSON(w, http.StatusAccepted, map[string]string{"id": fmt.Sprint(o.count.Load()), "body": string(body)})
		}
	}
	counted := func(w http.ResponseWriter, r *http.Request) error {
		o.count.Add(1)
		return handler(w, r)
	}
	o.handler, err = httpapi.New(httpapi.Config{Keys: keys, Replays: o.memory, Logger: zerolog.New(o.log)},
		httpapi.Route{Pattern: "POST /orders", Scope: httpapi.ScopeExport, Idempotent: true, Handler: counted},
		httpapi.Route{Pattern: "POST /orders/{id}/again", Scope: httpapi.ScopeExport, Idempotent: true, Handler: counted},
		httpapi.Route{Pattern: "POST /plain", Scope: httpapi.ScopeExport, Handler: counted})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRepeatsGetTheFirstAnswer(t *testing.T) {
	t.Parallel()
	o := newOrders(t, nil)
	first := o.do("POST", "/orders", "one", `{"a":1}`, "Idempotency-Key", "k")
	if first.Code != http.StatusAccepted || first.Header().Get("Idempotency-Replayed") != "" || first.Header().Get("X-Inner") != "1" {
		t.Fatalf("first: %d %v %s", first.Code, first.Header(), first.Body)
	}
	again := o.do("POST", "/orders", "one", `{"a":1}`, "Idempotency-Key", "k")
	if again.Code != first.Code || again.Body.String() != first.Body.String() || again.Header().Get("Idempotency-Replayed") != "true" ||
		again.Header().Get("Location") != "/orders/1" || again.Header().Get("Content-Type") != "application/json" {
		t.Errorf("again: %d %v %s", again.Code, again.Header(), again.Body)
	}
	if id := again.Header().Get("X-Request-Id"); id == "" || id == first.Header().Get("X-Request-Id") {
		t.Errorf("the repeat has the request id %q", id)
	}
	if got := o.count.Load(); got != 1 {
		t.Errorf("carried out %d times", got)
	}
}

func TestWhatIsAnotherRequest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, path, key, body string
		header                []string
		status                int
		carriedOut            int32
	}{
		{"another body", "/orders", "one", `{"a":2}`, []string{"Idempotency-Key", "k"}, 409, 1},
		{"another query", "/orders?dryRun=true", "one", `{"a":1}`, []string{"Idempotency-Key", "k"}, 409, 1},
		{"another content type", "/orders", "one", `{"a":1}`, []string{"Idempotency-Key", "k", "Content-Type", "text/csv"}, 409, 1},
		{"another idempotency key", "/orders", "one", `{"a":1}`, []string{"Idempotency-Key", "k2"}, 202, 2},
		{"another caller", "/orders", "two", `{"a":1}`, []string{"Idempotency-Key", "k"}, 202, 2},
		{"another route", "/orders/7/again", "one", `{"a":1}`, []string{"Idempotency-Key", "k"}, 202, 2},
		{"no idempotency key", "/orders", "one", `{"a":1}`, nil, 202, 2},
		{"a route that heeds none", "/plain", "one", `{"a":1}`, []string{"Idempotency-Key", "k"}, 202, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := newOrders(t, nil)
			o.do("POST", "/orders", "one", `{"a":1}`, "Idempotency-Key", "k")
			got := o.do("POST", tc.path, tc.key, tc.body, tc.header...)
			if got.Code != tc.status || got.Header().Get("Idempotency-Replayed") != "" {
				t.Errorf("%d %v %s, want %d", got.Code, got.Header(), got.Body, tc.status)
			}
			if o.count.Load() != tc.carriedOut {
				t.Errorf("carried out %d times, want %d", o.count.Load(), tc.carriedOut)
			}
		})
	}
	t.Run("another path of one route", func(t *testing.T) {
		o := newOrders(t, nil)
		o.do("POST", "/orders/7/again", "one", "", "Idempotency-Key", "k")
		if got := o.do("POST", "/orders/8/again", "one", "", "Idempotency-Key", "k"); got.Code != http.StatusConflict {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
}

func TestRepeatWhileTheFirstIsUnderWay(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	o := newOrders(t, func(w http.ResponseWriter, _ *http.Request) error {
		close(entered)
		<-leave
		return httpapi.WriteJSON(w, http.StatusAccepted, "done")
	})
	first := make(chan *httptest.ResponseRecorder, 1)
	go func() { first <- o.do("POST", "/orders", "one", "", "Idempotency-Key", "k") }()
	<-entered
	got := o.do("POST", "/orders", "one", "", "Idempotency-Key", "k")
	if got.Code != http.StatusConflict || got.Header().Get("Retry-After") != "1" || !strings.Contains(got.Body.String(), `"code":"conflict"`) {
		t.Errorf("%d %v %s", got.Code, got.Header(), got.Body)
	}
	close(leave)
	if w := <-first; w.Code != http.StatusAccepted {
		t.Errorf("the first: %d %s", w.Code, w.Body)
	}
}

func TestWhatIsNotAcceptedReleasesTheKey(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]httpapi.HandlerFunc{
		"refused": func(http.ResponseWriter, *http.Request) error {
			return httpapi.Invalid(httpapi.FieldError{Field: "a", Message: "no"})
		},
		"failed": func(http.ResponseWriter, *http.Request) error { return errors.New("disk on fire") },
		"panics": func(http.ResponseWriter, *http.Request) error { panic("boom") },
		"writes 503": func(w http.ResponseWriter, _ *http.Request) error {
			return httpapi.WriteJSON(w, http.StatusServiceUnavailable, "no")
		},
		"writes and fails": func(w http.ResponseWriter, _ *http.Request) error {
			_ = httpapi.WriteJSON(w, http.StatusAccepted, "yes")
			return errors.New("but no")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrders(t, handler)
			for range 2 {
				if got := o.do("POST", "/orders", "one", "", "Idempotency-Key", "k"); got.Code < 400 || got.Header().Get("Idempotency-Replayed") != "" {
					t.Errorf("%d %s", got.Code, got.Body)
				}
			}
			if o.count.Load() != 2 || o.memory.released != 2 {
				t.Errorf("carried out %d times, released %d times, want 2 and 2", o.count.Load(), o.memory.released)
			}
		})
	}
}

func TestFirstIsCarriedOutThoughItsClientLeaves(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	o := newOrders(t, func(w http.ResponseWriter, r *http.Request) error {
		leave()
		if err := r.Context().Err(); err != nil {
			return err
		}
		if _, bounded := r.Context().Deadline(); !bounded {
			return errors.New("no deadline: the lease could end first")
		}
		return httpapi.WriteJSON(w, http.StatusAccepted, "done")
	})
	r := httptest.NewRequestWithContext(ctx, "POST", "/orders", strings.NewReader(""))
	r.Header.Set("Authorization", "Bearer one")
	r.Header.Set("Idempotency-Key", "k")
	o.handler.ServeHTTP(httptest.NewRecorder(), r)
	if got := o.do("POST", "/orders", "one", "", "Idempotency-Key", "k"); got.Code != http.StatusAccepted || got.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	o := newOrders(t, nil)
	for key, status := range map[string]int{
		"k": 202, "a b": 202, strings.Repeat("x", 255): 202,
		"": 400, strings.Repeat("x", 256): 400, "键": 400, "a\x01": 400,
	} {
		got := o.do("POST", "/orders", "one", "", "Idempotency-Key", key)
		if got.Code != status || status == 400 && !strings.Contains(got.Body.String(), `"field":"Idempotency-Key"`) {
			t.Errorf("%q: %d %s, want %d", key, got.Code, got.Body, status)
		}
	}
	r := httptest.NewRequest("POST", "/orders", http.NoBody)
	r.Header["Authorization"], r.Header["Idempotency-Key"] = []string{"Bearer one"}, []string{"a", "b"}
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("two keys: %d", w.Code)
	}
	if got := o.do("POST", "/orders", "wrong", "", "Idempotency-Key", ""); got.Code != http.StatusUnauthorized {
		t.Errorf("the key of ours does not come first: %d", got.Code)
	}
}

func TestNothingIsCarriedOutWithoutAStore(t *testing.T) {
	t.Parallel()
	o := newOrders(t, nil)
	o.memory.reserve = errors.New("NATS password=hunter2 is away")
	got := o.do("POST", "/orders", "one", "", "Idempotency-Key", "k")
	if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" || strings.Contains(got.Body.String(), "hunter2") || o.count.Load() != 0 {
		t.Errorf("%d %v %s, carried out %d times", got.Code, got.Header(), got.Body, o.count.Load())
	}
	b := setup(t, httpapi.Route{Pattern: "POST /x", Scope: httpapi.ScopeChat, Idempotent: true, Handler: ok})
	if got := b.do("POST", "/x", "chat-key", "", "Idempotency-Key", "k"); got.Code != http.StatusServiceUnavailable {
		t.Errorf("no store at all: %d %s", got.Code, got.Body)
	}
	if got := b.do("POST", "/x", "chat-key", ""); got.Code != http.StatusOK {
		t.Errorf("no store and no key: %d %s", got.Code, got.Body)
	}
}

func TestAnswerThatCannotBeKept(t *testing.T) {
	t.Parallel()
	o := newOrders(t, nil)
	o.memory.keep = errors.New("away")
	got := o.do("POST", "/orders", "one", "", "Idempotency-Key", "k")
	if got.Code != http.StatusAccepted || o.memory.released != 0 || !strings.Contains(o.log.String(), "could not be kept") {
		t.Errorf("%d %s; released %d times; %s", got.Code, got.Body, o.memory.released, o.log)
	}
	o.memory.keep = nil
	for _, earlier := range o.memory.records {
		earlier.Answer = &httpapi.Answer{Status: 202, Omitted: true}
	}
	if got := o.do("POST", "/orders", "one", "", "Idempotency-Key", "k"); got.Code != http.StatusConflict || !strings.Contains(got.Body.String(), "was carried out") {
		t.Errorf("an answer that was left out: %d %s", got.Code, got.Body)
	}
}

func TestIdempotentBodiesAreBounded(t *testing.T) {
	t.Parallel()
	o := newOrders(t, nil)
	r := httptest.NewRequest("POST", "/orders", io.MultiReader(strings.NewReader(strings.Repeat("x", httpapi.MaxBody+1))))
	r.ContentLength = -1
	r.Header.Set("Authorization", "Bearer one")
	r.Header.Set("Idempotency-Key", "k")
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge || o.count.Load() != 0 {
		t.Errorf("%d", w.Code)
	}
}
