package stack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/budget"
	"xinghe/shared/jobs"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/stack"
)

// TestBudgetIsShared holds that two stacks with one upstream key keep to its rate together.
func TestBudgetIsShared(t *testing.T) {
	t.Parallel()
	const rate, counted = 40, 60
	a := setup(t, map[string]string{"XINGCHEN_RPS": fmt.Sprint(rate)}, emulator.Config{})
	b := setup(t, map[string]string{"XINGCHEN_RPS": fmt.Sprint(rate), "NATS_URL": a.NATSURL}, emulator.Config{})
	const members = 4 // the chat functions and the export workers
	a.awaitMembers(members)

	ctx, stop := context.WithCancel(t.Context())
	var granted atomic.Int64
	var callers sync.WaitGroup
	for _, b := range []*bundle{a, b} {
		for i := range 8 {
			callers.Go(func() {
				for ctx.Err() == nil {
					got := <-b.begin(ctx, send, chat(xiaowan, fmt.Sprint("u", i), "你好"))
					if got.status == http.StatusOK {
						granted.Add(1)
					} else if got.status != 0 {
						t.Errorf("%d %s", got.status, got.body)
					}
				}
			})
		}
	}
	// At first the members find their shares.
	until(t, "a second's worth is granted", func() bool { return granted.Load() >= rate })
	before, start := granted.Load(), time.Now()
	until(t, "the rest is granted", func() bool { return granted.Load() >= before+counted })
	n, took := granted.Load()-before, time.Since(start)
	stop()
	callers.Wait()
	const burst = rate / 10
	if most := rate*took.Seconds() + burst + 2*members; float64(n) > most {
		t.Errorf("%d requests in %v, want at most %.0f", n, took, most)
	}
}

// awaitMembers waits until as many members tell of themselves.
func (b *bundle) awaitMembers(count int) {
	b.t.Helper()
	conn, err := nats.Connect(b.NATSURL)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	until(b.t, "all members are there", func() bool {
		bucket, err := js.KeyValue(b.t.Context(), budget.Bucket)
		if err != nil {
			return false
		}
		status, err := bucket.Status(b.t.Context())
		return err == nil && status.Values() >= uint64(count)
	})
}

// TestBudgetIsUsedUp holds that who would have to wait for too long is told when to come
// again, in the surface's own form, and that nothing of it goes upstream.
func TestBudgetIsUsedUp(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"XINGCHEN_RPS": "1", "BEEBOT_RPS": "1"}, emulator.Config{})
	const each = 8 // calls of a surface, of which those of a service share a budget
	calls := make([][each]<-chan answer, len(surfaces))
	for i := range each {
		for column, s := range surfaces {
			calls[column][i] = b.begin(t.Context(), s.path, s.body(fmt.Sprint("u", column, i)), s.header...)
		}
	}
	refused := 0
	for column, s := range surfaces {
		for _, call := range calls[column] {
			got := <-call
			if got.status == http.StatusOK {
				continue
			}
			refused++
			want := "429 rate_limited retry "
			if seen := sight(got); !strings.HasPrefix(seen, want) {
				t.Errorf("%s: %q, want %q", s.name, seen, want)
			}
			if envelope := strings.Contains(got.body, `"success":false,"code":429`); envelope != (s.path == send) {
				t.Errorf("%s: in the form of another surface: %s", s.name, got.body)
			}
		}
	}
	asked := 0
	for _, request := range b.Emulator.Requests() {
		if request.User != "" {
			asked++
		}
	}
	if all := each * len(surfaces); refused == 0 || refused == all || asked != all-refused {
		t.Errorf("%d of %d are refused, upstream was asked %d times", refused, all, asked)
	}
}

// TestChatGoesBeforeExports holds that a large export does not keep chat from its budget.
func TestChatGoesBeforeExports(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"XINGCHEN_RPS": "40"}, emulator.Config{})
	spec := jobs.ExportSpec{Name: "large", Characters: []string{xiaowan}, From: time.Now().Add(-time.Hour), To: time.Now()}
	for i := range 16 {
		spec.Users = append(spec.Users, fmt.Sprint("exported-", i))
	}
	body, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	started := b.post("/v1/exports", string(body))
	if started.status != http.StatusAccepted {
		t.Fatalf("%d %s", started.status, started.body)
	}
	until(t, "the export has begun", func() bool { return len(b.Emulator.Requests()) > 0 })
	for i := range 8 {
		if got := b.post(send, chat(xiaowan, fmt.Sprint("u", i), "你好")); got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	got := b.call(http.MethodGet, b.URL+started.header.Get("Location"), stack.DefaultKey, "")
	if !strings.Contains(got.body, `"state":"`+string(jobs.StateRunning)+`"`) {
		t.Errorf("the export did not go on beside: %s", got.body)
	}
	b.ended(stack.DefaultKey, started.header.Get("Location"), func(answer) {})
}

// TestThrottlingIsHeeded holds that after a 429 of upstream's nobody calls the service again
// before its time, whichever way it was called.
func TestThrottlingIsHeeded(t *testing.T) {
	t.Parallel()
	const beebots = "/v1/beebot/" + robot
	for name, tc := range map[string]struct{ route, path, body, next, nextBody string }{
		"chat":          {send, send, chat(xiaowan, "u1", "你好"), send, chat(xiaowan, "u2", "你好")},
		"forwarded":     {"/v2/api/chat/reset", "/v2/api/chat/reset", `{"characterId":"` + xiaowan + `","userId":"u1"}`, send, chat(xiaowan, "u2", "你好")},
		"robot":         {"/sse/paas4Json", converse, skills(false)("u1"), converse, skills(false)("u2")},
		"ask":           {"/Chat", beebots + "/ask", `{"utterance":"你好"}`, converse, skills(false)("u2")},
		"stream access": {"/ApplyForStreamAccessToken", beebots + "/stream-access", `{}`, converse, skills(false)("u2")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"XINGCHEN_RPS": "1000", "BEEBOT_RPS": "1000"}, emulator.Config{})
			if err := b.Emulator.Faults().Set(fault.Rule{Route: tc.route, Fault: fault.Throttle, RetryAfter: time.Minute, Times: 1}); err != nil {
				t.Fatal(err)
			}
			if got := <-b.begin(t.Context(), tc.path, tc.body); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "60" {
				t.Fatalf("throttled: %d %v %s", got.status, got.header, got.body)
			}
			before := len(b.Emulator.Requests())
			got := <-b.begin(t.Context(), tc.next, tc.nextBody)
			if asked := len(b.Emulator.Requests()) - before; got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" || asked != 0 {
				t.Errorf("the next call: %d %s, upstream was asked %d times", got.status, got.body, asked)
			}
		})
	}
}
