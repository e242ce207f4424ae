package rating_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
	"xinghe/workers/rating"
)

func TestOutcomesAndEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{trouble: func(_ int, req xingchen.RatingRequest) error {
		if req.MessageID == "unknown" {
			return notFound()
		}
		return nil
	}}
	b.work(rating.Config{Rater: r})
	b.accept("rat_1", jobs.RatingRow{MessageID: "a", Rating: -1, Info: "不对"}, row("b", 3), row("unknown", 1), row("b", 4))
	got := b.end("rat_1")
	want := []jobs.RatingOutcome{
		applied,
		{Outcome: jobs.RatingSuperseded, By: &jobs.RatingRef{ID: "rat_1", Row: 3}},
		{Outcome: jobs.RatingFailed, Reason: "xingchen: upstream answered 400 with code 404 aca.error.notfound: message is not there"},
		applied,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes:\n%s", diff)
	}
	if diff := cmp.Diff([]int{4}, r.of("b")); diff != "" {
		t.Errorf("sent for b:\n%s", diff)
	}
	if r.calls[slices.IndexFunc(r.calls, func(c xingchen.RatingRequest) bool { return c.MessageID == "a" })].Info != "不对" {
		t.Error("the details were lost")
	}
	wantApplied := []jobs.RatingEvent{{ID: "rat_1", Rows: []jobs.RatingEventRow{{Row: 0, MessageID: "a", Rating: -1}, {Row: 3, MessageID: "b", Rating: 4}}}}
	if diff := cmp.Diff(wantApplied, b.events(jobs.EventRatingApplied, 1)); diff != "" {
		t.Errorf("events:\n%s", diff)
	}
	wantFailed := []jobs.RatingEvent{{ID: "rat_1", Rows: []jobs.RatingEventRow{{Row: 2, MessageID: "unknown", Rating: 1, Reason: want[2].Reason}}}}
	if diff := cmp.Diff(wantFailed, b.events(jobs.EventRatingFailed, 1)); diff != "" {
		t.Errorf("events:\n%s", diff)
	}
}

func TestLaterJobWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{}
	// The tasks of the first job are there first, but its acceptance comes last.
	late := b.store("rat_late", row("a", 1), row("b", 1))
	b.accept("rat_early", row("a", 2))
	b.commit(late)
	b.work(rating.Config{Rater: r})
	b.end("rat_late")
	outcome := b.end("rat_early")[0]
	switch sent := r.of("a"); {
	case sent[len(sent)-1] != 1:
		t.Errorf("sent %v, the last accepted is 1", sent)
	case len(sent) == 1 && (outcome.By == nil || *outcome.By != jobs.RatingRef{ID: "rat_late", Row: 0}):
		t.Errorf("superseded by another: %+v", outcome)
	case len(sent) == 2 && outcome.Outcome != jobs.RatingApplied:
		t.Errorf("sent and %+v", outcome)
	}
}

func TestSupersededIsNotSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{}
	first := b.store("rat_1", row("a", 1))
	b.commit(first)
	b.accept("rat_2", row("a", 2))
	stop := b.work(rating.Config{Rater: r})
	b.end("rat_1")
	b.end("rat_2")
	stop()
	// The first job's task once more, as from the dead letters, and its result lost.
	if err := b.results.Delete(t.Context(), "done.rat_1.0"); err != nil {
		t.Fatal(err)
	}
	before := len(r.of("a"))
	b.publish(jobs.RatingTask{ID: "rat_1"})
	b.work(rating.Config{Rater: r})
	want := []jobs.RatingOutcome{{Outcome: jobs.RatingSuperseded, By: &jobs.RatingRef{ID: "rat_2"}}}
	if diff := cmp.Diff(want, b.end("rat_1")); diff != "" {
		t.Error(diff)
	}
	if after := r.of("a"); len(after) != before || after[before-1] != 2 {
		t.Errorf("sent %v", after)
	}
}

func TestRepeatedTaskIsNotSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{trouble: func(_ int, req xingchen.RatingRequest) error {
		if req.MessageID == "unknown" {
			return notFound()
		}
		return nil
	}}
	b.work(rating.Config{Rater: r})
	b.accept("rat_1", row("a", 1), row("unknown", 2))
	want := b.end("rat_1")
	// The worker died before it noted the result, and after it wrote down what upstream said.
	if err := b.results.Delete(t.Context(), "done.rat_1.0"); err != nil {
		t.Fatal(err)
	}
	b.publish(jobs.RatingTask{ID: "rat_1"})
	if diff := cmp.Diff(want, b.end("rat_1")); diff != "" {
		t.Error(diff)
	}
	if len(r.calls) != 2 {
		t.Errorf("%d calls: %v", len(r.calls), r.calls)
	}
}

func TestMendableErrorsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]error{
		"Failure":      &xingchen.Error{HTTPStatus: 500, Code: 500},
		"Throttled":    &xingchen.Error{HTTPStatus: 429, RetryAfter: 10 * time.Millisecond},
		"NoAnswer":     &upstream.NetworkError{Service: "xingchen", Err: errors.New("connection reset")},
		"KeyNotValid":  &xingchen.Error{HTTPStatus: 400, Key: "aca.error.invalid.token"},
		"NoSuchAnswer": errors.New("not understood"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			r := &recorder{trouble: func(call int, _ xingchen.RatingRequest) error {
				if call <= 5 { // more than the tries of one attempt
					return trouble
				}
				return nil
			}}
			b.work(rating.Config{Rater: r})
			b.accept("rat_1", row("a", 1))
			if diff := cmp.Diff([]jobs.RatingOutcome{applied}, b.end("rat_1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{trouble: func(_ int, req xingchen.RatingRequest) error {
		if req.MessageID == "a" {
			return &xingchen.Error{HTTPStatus: 503, Message: "away"}
		}
		return nil
	}}
	b.work(rating.Config{Rater: r, Attempts: 2})
	b.accept("rat_1", row("a", 1), row("b", 2))
	want := []jobs.RatingOutcome{{Outcome: jobs.RatingFailed, Reason: "given up: xingchen: upstream answered 503: away"}, applied}
	if diff := cmp.Diff(want, b.end("rat_1")); diff != "" {
		t.Error(diff)
	}
	if got := len(r.of("a")); got != 8 {
		t.Errorf("%d calls, want 4 in each of 2 attempts", got)
	}
}

func TestNotAcceptedIsNotSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{}
	b.work(rating.Config{Rater: r})
	b.store("rat_refused", row("a", 1))
	type record struct{ Uncounted int }
	attempts, err := queue.OpenStore[record](b.queue, queue.BucketAttempts, queue.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for entry, err := range attempts.Watch(ctx, ">") {
		if err != nil {
			t.Fatal(err)
		}
		if entry.Value.Uncounted > 1 { // it was put off, and not as a failure
			break
		}
	}
	if sent := r.of("a"); sent != nil {
		t.Errorf("sent %v", sent)
	}
}

func TestDecidedStaysDecided(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := &recorder{}
	first := b.store("rat_1", row("a", 1), row("b", 2))
	want := []jobs.RatingOutcome{jobs.FailedRating("as another worker found"), applied}
	stored := jobs.RatingResult{Outcomes: []jobs.RatingOutcome{want[0], {Outcome: jobs.RatingPending}}}
	if _, err := b.results.Put(t.Context(), "done.rat_1.0", stored); err != nil {
		t.Fatal(err)
	}
	b.commit(first)
	b.work(rating.Config{Rater: r})
	if diff := cmp.Diff(want, b.end("rat_1")); diff != "" {
		t.Error(diff)
	}
	if sent := r.of("a"); sent != nil {
		t.Errorf("sent %v", sent)
	}
}

// TestOneCallAtATime lets many jobs meet at few messages.
func TestOneCallAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var mu sync.Mutex
	last, busy := map[string]int{}, map[string]bool{}
	r := &recorder{trouble: func(_ int, req xingchen.RatingRequest) error {
		var job int
		_, err := fmt.Sscan(req.Info, &job)
		mu.Lock()
		if err != nil || busy[req.MessageID] || job < last[req.MessageID] {
			t.Errorf("%s: job %d after %d, while a call is under way: %t, %v", req.MessageID, job, last[req.MessageID], busy[req.MessageID], err)
		}
		busy[req.MessageID], last[req.MessageID] = true, job
		mu.Unlock()
		<-time.After(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		busy[req.MessageID] = false
		return nil
	}}
	for range 2 {
		b.work(rating.Config{Queue: b.newQueue(), Rater: r, Chunks: 16})
	}
	const all = 40
	for job := range all {
		rows := []jobs.RatingRow{row("a", 1), row("b", 2), row("c", 3), row("d", 4)}
		for i := range rows {
			rows[i].Info = fmt.Sprint(job)
		}
		b.accept(fmt.Sprintf("rat_%d", job), rows...)
	}
	for job := range all {
		b.end(fmt.Sprintf("rat_%d", job))
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(map[string]int{"a": all - 1, "b": all - 1, "c": all - 1, "d": all - 1}, last); diff != "" {
		t.Error(diff)
	}
}

// TestClaimOfAnotherIsRespected: while a worker calls, its connection is lost, and its task
// goes to another one.
func TestClaimOfAnotherIsRespected(t *testing.T) {
	t.Parallel()
	b := setup(t)
	calling, answer := make(chan struct{}), make(chan struct{})
	slow := &recorder{trouble: func(int, xingchen.RatingRequest) error {
		close(calling)
		<-answer
		return nil
	}}
	conn := b.nats.Connect()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.New(js, queue.Config{Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b.accept("rat_1", row("a", 1))
	stop := b.work(rating.Config{Queue: q, Rater: slow, AckWait: 500 * time.Millisecond, CallTimeout: 2 * time.Second})
	<-calling
	conn.Close()
	b.accept("rat_2", row("a", 2))
	fast := &recorder{}
	began := time.Now()
	b.work(rating.Config{Rater: fast, AckWait: 500 * time.Millisecond, CallTimeout: 2 * time.Second})
	b.end("rat_1")
	b.end("rat_2")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("after %s the other worker called although the first one might", took)
	}
	if sent := fast.of("a"); sent[len(sent)-1] != 2 {
		t.Errorf("sent %v", sent)
	}
	close(answer)
	stop()
}

func TestBrokenCallIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var first, second time.Time
	r := &recorder{trouble: func(call int, req xingchen.RatingRequest) error {
		switch {
		case call == 1:
			first = time.Now()
			return &upstream.NetworkError{Service: "xingchen", Err: errors.New("connection reset")}
		case req.Rating == 2:
			second = time.Now()
		}
		return nil
	}}
	b.work(rating.Config{Rater: r, CallTimeout: 4 * time.Second})
	b.accept("rat_1", row("a", 1))
	b.end("rat_1")
	b.accept("rat_2", row("a", 2))
	b.end("rat_2")
	if pause := second.Sub(first); pause < 2*time.Second {
		t.Errorf("the next job's rating was sent %s after a call that may still take effect", pause)
	}
}

func TestStopsInTheMidst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var rows []jobs.RatingRow
	for i := range 250 {
		rows = append(rows, row(fmt.Sprintf("m%d", i), i%7-1))
	}
	halfway := make(chan struct{})
	r := &recorder{trouble: func(call int, _ xingchen.RatingRequest) error {
		if call == 120 {
			close(halfway)
		}
		return nil
	}}
	stop := b.work(rating.Config{Rater: r, Chunks: 1, Calls: 2, Drain: -1})
	b.accept("rat_1", rows...)
	<-halfway
	stop()
	b.work(rating.Config{Rater: r})
	for i, outcome := range b.end("rat_1") {
		if diff := cmp.Diff(applied, outcome); diff != "" {
			t.Errorf("row %d:\n%s", i, diff)
		}
	}
	for _, row := range rows {
		if sent := r.of(row.MessageID); !slices.Equal(sent, []int{row.Rating}) {
			t.Errorf("%s: sent %v, want %d once", row.MessageID, sent, row.Rating)
		}
	}
}

func TestUndecodableTaskIsADeadLetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.work(rating.Config{Rater: &recorder{}})
	if err := b.queue.Publish(t.Context(), queue.Job{Subject: jobs.SubjectRating + "rat_1.0", Data: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		for letter, err := range b.queue.DeadLetters(t.Context(), "") {
			if err != nil || letter.Subject != jobs.SubjectRating+"rat_1.0" {
				t.Errorf("%+v, %v", letter, err)
			}
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Error("no dead letter")
}
