package queue

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// bury makes one dead letter of a job.
func bury(tb testing.TB, q *Queue, job Job) DeadLetter {
	tb.Helper()
	before := len(deadLetters(tb, q))
	publish(tb, q, job)
	c := consume(tb, q, ConsumerConfig{}, func(context.Context, *Delivery) error { return Discard(errors.New("bad")) })
	emptied(tb, q, StreamJobs)
	c.stop(tb)
	all := deadLetters(tb, q)
	if len(all) != before+1 {
		tb.Fatalf("%d dead letters, want %d", len(all), before+1)
	}
	return all[before]
}

func TestDeadLettersListAndGet(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	first := bury(t, q, Job{Subject: "xinghe.jobs.a.1", ID: "1"})
	second := bury(t, q, Job{Subject: "xinghe.jobs.b.2", ID: "2"})
	for filter, want := range map[string]string{"": "1 2", "xinghe.jobs.>": "1 2", "xinghe.jobs.b.*": "2", "xinghe.jobs.c": ""} {
		var got []string
		for letter, err := range q.DeadLetters(t.Context(), filter) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, letter.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("filter %q: %v, want %s", filter, got, want)
		}
	}
	if got, err := q.DeadLetter(t.Context(), second.Sequence); err != nil || got.ID != "2" {
		t.Errorf("DeadLetter = %+v, %v", got, err)
	}
	for letter, err := range q.DeadLetters(t.Context(), "") {
		if letter.ID != first.ID || err != nil {
			t.Errorf("the first one is %s, %v", letter.ID, err)
		}
		break
	}
}

func TestDeadLetterRetry(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	letter := bury(t, q, Job{Subject: "xinghe.jobs.a", ID: "job-7", Data: []byte("x"), Headers: map[string]string{"Trace": "t"}})
	if err := q.RetryDead(t.Context(), letter.Sequence); err != nil {
		t.Fatalf("RetryDead: %v", err)
	}
	if err := q.RetryDead(t.Context(), letter.Sequence); !errors.Is(err, ErrNotFound) {
		t.Errorf("second RetryDead: %v", err)
	}
	got := make(chan Delivery, 2)
	c := consume(t, q, ConsumerConfig{MaxAttempts: 1}, func(_ context.Context, d *Delivery) error {
		got <- Delivery{ID: d.ID, Data: d.Data, Attempt: d.Attempt, Subject: d.Header("Trace")}
		return errors.New("bad again")
	})
	if d := recv(t, got, "retried job"); d.ID != "job-7" || string(d.Data) != "x" || d.Attempt != 1 || d.Subject != "t" {
		t.Errorf("retried job: %+v", &d)
	}
	emptied(t, q, StreamJobs)
	c.stop(t)
	again := deadLetters(t, q)
	if len(again) != 1 || again[0].ID != "job-7" || again[0].Reason != "bad again" {
		t.Fatalf("dead letters after the second death: %+v", again)
	}
	if err := q.DropDead(t.Context(), again[0].Sequence); err != nil {
		t.Fatalf("DropDead: %v", err)
	}
	if err := q.DropDead(t.Context(), again[0].Sequence); !errors.Is(err, ErrNotFound) {
		t.Errorf("second DropDead: %v", err)
	}
	if n := messages(t, q, StreamDead); n != 0 {
		t.Errorf("%d dead letters remain", n)
	}
}

func TestDeadLetterRetryOfUniqueJob(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	letter := bury(t, q, Job{Subject: "xinghe.jobs.a", Unique: true})
	publish(t, q, Job{Subject: "xinghe.jobs.a", Unique: true})
	if err := q.RetryDead(t.Context(), letter.Sequence); !errors.Is(err, ErrExists) {
		t.Errorf("RetryDead: %v", err)
	}
	if n := messages(t, q, StreamDead); n != 1 {
		t.Errorf("%d dead letters, want the one that could not be retried", n)
	}
}

// A worker that dies between writing a dead letter and removing the job must neither double
// the dead letter nor let the job run again.
func TestCrashWhileBurying(t *testing.T) {
	t.Parallel()
	const reason = "discarded by the one that died"
	dead := func(past *attempts) { past.Dead = reason }
	for name, crash := range map[string]func(*testing.T, *Queue, *Delivery){
		"noted": func(t *testing.T, q *Queue, d *Delivery) {
			t.Helper()
			if err := q.note(t.Context(), d, dead); err != nil {
				t.Fatal(err)
			}
		},
		"copied": func(t *testing.T, q *Queue, d *Delivery) {
			t.Helper()
			if err := errors.Join(q.note(t.Context(), d, dead), q.copyDead(t.Context(), d)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, q := setup(t)
			cfg := ConsumerConfig{AckWait: 200 * time.Millisecond}
			makeConsumer(t, q, cfg)
			publish(t, q, Job{Subject: "xinghe.jobs.a", ID: "a"})
			js, err := q.js(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			worker, err := js.Consumer(t.Context(), StreamJobs, "worker")
			if err != nil {
				t.Fatal(err)
			}
			msg, err := worker.Next()
			if err != nil {
				t.Fatal(err)
			}
			d := &Delivery{msg: msg, Subject: msg.Subject(), Data: msg.Data()}
			if err := errors.Join(d.identify(), q.recall(t.Context(), d)); err != nil {
				t.Fatal(err)
			}
			crash(t, q, d)

			consume(t, q, cfg, func(context.Context, *Delivery) error {
				t.Error("the job ran again")
				return nil
			})
			emptied(t, q, StreamJobs)
			if dead := deadLetters(t, q); len(dead) != 1 || dead[0].Reason != reason || dead[0].ID != "a" {
				t.Errorf("dead letters: %+v", dead)
			}
		})
	}
}

func TestJobStaysWithoutDeadLetterStream(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), StreamDead); err != nil {
		t.Fatal(err)
	}
	for _, err := range q.DeadLetters(t.Context(), "") {
		var missing *MissingStreamError
		if !errors.As(err, &missing) || missing.Stream != StreamDead {
			t.Errorf("DeadLetters: %v", err)
		}
	}
	publish(t, q, Job{Subject: "xinghe.jobs.a"})
	var calls atomic.Int32
	c := consume(t, q, ConsumerConfig{}, func(context.Context, *Delivery) error {
		calls.Add(1)
		return Discard(errors.New("bad"))
	})
	eventually(t, func() string {
		if c.log.count("cannot write a dead letter, the job stays") == 0 {
			return "nothing logged"
		}
		return ""
	})
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	emptied(t, q, StreamJobs)
	if dead := deadLetters(t, q); len(dead) != 1 || calls.Load() != 1 {
		t.Errorf("%d calls, dead letters: %+v", calls.Load(), dead)
	}
}

func TestLargestJobCanDie(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	job := Job{Subject: "xinghe.jobs.a", ID: strings.Repeat("i", maxID), Data: make([]byte, 1<<20-reserve-maxID-100)}
	publish(t, q, job)
	consume(t, q, ConsumerConfig{MaxAttempts: 2 * maxFailures}, func(context.Context, *Delivery) error {
		return errors.New(strings.Repeat("\"\\<", maxErrorText)) // grows as JSON
	})
	emptied(t, q, StreamJobs)
	if dead := deadLetters(t, q); len(dead) != 1 || len(dead[0].History) < 5 || len(dead[0].Data) != len(job.Data) {
		t.Errorf("%d dead letters", len(dead))
	}
	job.Data = make([]byte, len(job.Data)+100)
	if err := q.Publish(t.Context(), job); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a larger job: %v", err)
	}
}

func TestStrangeDeadLetter(t *testing.T) {
	t.Parallel()
	_, q := setup(t)
	js, err := q.js(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(t.Context(), PrefixDead+"other", []byte("?"), jetstream.WithMsgID("x"))
	if err != nil {
		t.Fatal(err)
	}
	if letter, err := q.DeadLetter(t.Context(), ack.Sequence); err != nil || letter.Subject != "other" || string(letter.Data) != "?" {
		t.Errorf("DeadLetter = %+v, %v", letter, err)
	}
	if err := q.RetryDead(t.Context(), ack.Sequence); !errors.Is(err, ErrInvalid) {
		t.Errorf("RetryDead: %v", err)
	}
	if err := q.DropDead(t.Context(), ack.Sequence); err != nil {
		t.Errorf("DropDead: %v", err)
	}
}
