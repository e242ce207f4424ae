package beebot_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"xinghe/shared/beebot"
)

// clock is a time that tests turn forward.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Date(2024, 5, 20, 8, 0, 0, 0, time.UTC).Add(time.Duration(c.offset.Load()))
}

func (c *clock) at(d time.Duration) { c.offset.Store(int64(d)) }

func TestOneRenewalForManyCallers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := &service{
		stream: answerSSE(events(says("a", true))),
		apply:  func(http.ResponseWriter, *http.Request) bool { <-release; return false },
	}
	client := setup(t, s)
	var callers sync.WaitGroup
	var waiting atomic.Int32
	for range 50 {
		callers.Go(func() {
			waiting.Add(1)
			if _, err := collect(t, client); err != nil {
				t.Error(err)
			}
		})
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		if applied, _ := s.counts(); waiting.Load() == 50 && applied == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the callers do not wait")
		}
		<-time.After(time.Millisecond)
	}
	close(release)
	callers.Wait()
	if applied, bodies := s.counts(); applied != 1 || len(bodies) != 50 {
		t.Errorf("%d applications for %d questions, want 1 for 50", applied, len(bodies))
	}
}

func TestTokensAreRenewedBeforeTheyExpire(t *testing.T) {
	t.Parallel()
	var clock clock
	s := &service{stream: answerSSE(events(says("a", true)))}
	client := setup(t, s, func(cfg *beebot.Config) { cfg.Now = clock.now })
	for _, step := range []struct {
		at   time.Duration
		want int
	}{
		{0, 1},
		{109 * time.Minute, 1},
		{110 * time.Minute, 2},
		{219 * time.Minute, 2},
		{10 * time.Hour, 3},
	} {
		clock.at(step.at)
		if _, err := collect(t, client); err != nil {
			t.Fatal(err)
		}
		if applied, _ := s.counts(); applied != step.want {
			t.Errorf("at %v: %d applications, want %d", step.at, applied, step.want)
		}
	}
}

// While the old credentials are good, a renewal that fails costs nobody an answer.
func TestARenewalThatFails(t *testing.T) {
	t.Parallel()
	var clock clock
	var broken atomic.Bool
	s := &service{
		stream: answerSSE(events(says("a", true))),
		apply: func(w http.ResponseWriter, r *http.Request) bool {
			if broken.Load() {
				answerStatus(500, answerJSON(`{"Code":"InternalError"}`))(w, r)
			}
			return broken.Load()
		},
	}
	client := setup(t, s, func(cfg *beebot.Config) { cfg.Now = clock.now })
	for _, step := range []struct {
		at     time.Duration
		broken bool
		want   int
		fails  bool
	}{
		{at: 0, want: 1},
		{at: 111 * time.Minute, broken: true, want: 2},
		{at: 111*time.Minute + 29*time.Second, broken: true, want: 2}, // no second try so soon
		{at: 111*time.Minute + 31*time.Second, broken: true, want: 3},
		{at: 121 * time.Minute, broken: true, want: 4, fails: true},
		{at: 122 * time.Minute, want: 5},
	} {
		clock.at(step.at)
		broken.Store(step.broken)
		_, err := collect(t, client)
		if (err != nil) != step.fails {
			t.Errorf("at %v: %v", step.at, err)
		}
		if e, ok := errors.AsType[*beebot.Error](err); step.fails && (!ok || e.Code != "InternalError") {
			t.Errorf("at %v: %v, want the reason", step.at, err)
		}
		if applied, _ := s.counts(); applied != step.want {
			t.Errorf("at %v: %d applications, want %d", step.at, applied, step.want)
		}
	}
}

func TestARefusedTokenIsRenewedAtOnce(t *testing.T) {
	t.Parallel()
	frame := func(code string) http.HandlerFunc {
		return answerSSE(events(`{"success":false,"code":"` + code + `","message":"no","requestId":"r"}`))
	}
	for name, refuse := range map[string]http.HandlerFunc{
		"HTML":                  answerHTML,
		"403 and HTML":          answerStatus(403, answerHTML),
		"404 and HTML":          answerStatus(404, answerHTML),
		"401":                   answerStatus(401, answerJSON(`{}`)),
		"403 and a stream":      answerStatus(403, answerSSE("")),
		"InvalidAccessToken":    frame("InvalidAccessToken"),
		"AccessTokenExpired":    frame("AccessTokenExpired"),
		"SignatureDoesNotMatch": frame("SignatureDoesNotMatch"),
		"a code in one piece":   answerJSON(`{"success":false,"code":"AccessTokenExpired"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &service{stream: answerSSE(events(says("a", true))), refuse: refuse}
			client := setup(t, s)
			if _, err := collect(t, client); err != nil {
				t.Fatal(err)
			}
			s.revoke()
			if snapshots, err := collect(t, client); err != nil || len(snapshots) != 1 {
				t.Fatalf("got %v, %v", snapshots, err)
			}
			applied, bodies := s.counts()
			if applied != 2 || len(bodies) != 3 {
				t.Fatalf("%d applications, %d questions, want 2 and 3", applied, len(bodies))
			}
			if bodies[1].MessageID != bodies[2].MessageID || bodies[0].MessageID == bodies[1].MessageID {
				t.Errorf("message ids %s, %s, %s: a repeat must keep its own", bodies[0].MessageID, bodies[1].MessageID, bodies[2].MessageID)
			}
		})
	}
}

func TestATokenRefusedTwiceIsAnError(t *testing.T) {
	t.Parallel()
	s := &service{stream: answerHTML}
	client := setup(t, s)
	_, err := collect(t, client)
	if e, ok := errors.AsType[*beebot.Error](err); !ok || e.HTTPStatus != 200 {
		t.Errorf("got %v, want *Error", err)
	}
	if applied, bodies := s.counts(); applied != 2 || len(bodies) != 2 {
		t.Errorf("%d applications, %d questions, want 2 and 2", applied, len(bodies))
	}
}

func TestManyRefusalsAreOneRenewal(t *testing.T) {
	t.Parallel()
	s := &service{stream: answerSSE(events(says("a", true)))}
	client := setup(t, s)
	if _, err := collect(t, client); err != nil {
		t.Fatal(err)
	}
	s.revoke()
	// All questions reach the service with the old token before one of them is refused.
	arrived := make(chan struct{}, 20)
	all := make(chan struct{})
	s.refuse = func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-all
		answerHTML(w, r)
	}
	var callers sync.WaitGroup
	for range cap(arrived) {
		callers.Go(func() {
			if _, err := collect(t, client); err != nil {
				t.Error(err)
			}
		})
	}
	for range cap(arrived) {
		<-arrived
	}
	close(all)
	callers.Wait()
	if applied, _ := s.counts(); applied != 2 {
		t.Errorf("%d applications, want 2", applied)
	}
}

// A caller who gives up neither waits on nor takes the renewal away from the others.
func TestAWaiterGivesUp(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	applying := make(chan struct{})
	s := &service{
		stream: answerSSE(events(says("a", true))),
		apply:  func(http.ResponseWriter, *http.Request) bool { close(applying); <-release; return false },
	}
	client := setup(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := client.Stream(ctx, question())
		first <- err
	}()
	waitFor(t, "the renewal to begin", applying)
	second := make(chan error)
	go func() {
		_, err := collect(t, client)
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller got %v, want context.Canceled", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the second caller got %v", err)
	}
	if applied, _ := s.counts(); applied != 1 {
		t.Errorf("%d applications, want 1", applied)
	}
}

func TestCloseEndsARenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, func(cfg *beebot.Config) { cfg.Transport = silent })
		failure := make(chan error, 1)
		go func() {
			_, err := client.Stream(t.Context(), question())
			failure <- err
		}()
		synctest.Wait()
		start := time.Now()
		_ = client.Close()
		_ = client.Close()
		if err := <-failure; err == nil || errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("after %v: %v, want an error that says that the client is closed", time.Since(start), err)
		}
		if _, err := client.Stream(t.Context(), question()); err == nil {
			t.Error("a closed client renews")
		}
	})
}
