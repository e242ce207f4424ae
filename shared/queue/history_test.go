package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadEvents(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	q := b.queue(t, Config{})
	const filter = PrefixEvents + "chat.*"
	_, err := q.ReadEvents(t.Context(), filter, 0, 1, time.Millisecond)
	if missing, ok := errors.AsType[*MissingStreamError](err); !ok || missing.Stream != StreamEvents {
		t.Errorf("without a stream: %v", err)
	}
	if _, err := q.ReadEvents(t.Context(), "xinghe.jobs.>", 0, 1, time.Millisecond); !errors.Is(err, ErrInvalid) {
		t.Errorf("of jobs: %v", err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{"chat.completed", "answer.missing", "chat.failed", "chat.completed", "chat.completed"} {
		if err := q.PublishEvent(t.Context(), PrefixEvents+kind, "", fmt.Append(nil, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(after uint64, limit int, wait time.Duration) (numbers string) {
		t.Helper()
		history, err := q.ReadEvents(t.Context(), filter, after, limit, wait)
		if err != nil || history.Created.IsZero() {
			t.Fatalf("%+v, %v", history, err)
		}
		for _, e := range history.Events {
			if string(e.Data) != fmt.Sprint(e.Sequence) || e.Published.IsZero() || e.Subject == "" {
				t.Errorf("%+v", e)
			}
			numbers += string(e.Data)
		}
		return numbers
	}
	got := []string{read(0, 2, patience), read(3, 2, patience), read(3, 9, patience), read(5, 9, 10*time.Millisecond)}
	if diff := cmp.Diff([]string{"13", "45", "45", ""}, got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	published := make(chan error, 1)
	go func() { published <- q.PublishEvent(t.Context(), PrefixEvents+"chat.failed", "", []byte("6")) }()
	if got := read(5, 9, patience); got != "6" {
		t.Errorf("of an event that may come later: %q", got)
	}
	if err := recv(t, published, "publish"); err != nil {
		t.Error(err)
	}
}
