package runtimes

import (
	"testing"

	"xinghe/shared/queue"
	"xinghe/testlocal/natstest"
)

// ensure makes the streams, as workers do.
func ensure(t *testing.T, broker *natstest.Server) *queue.Queue {
	t.Helper()
	q, err := queue.New(broker.JetStream(), queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return q
}
