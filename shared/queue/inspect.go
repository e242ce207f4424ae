package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamState is how a stream stands at a moment.
type StreamState struct {
	// Name of the stream.
	Name string
	// Missing tells that there is none; the rest is empty then. [Queue.Ensure] makes it.
	Missing bool
	// Replicas that it has.
	Replicas int
	// Messages and Bytes that it holds.
	Messages, Bytes uint64
	// Consumers of the stream that are durable, in no order.
	Consumers []ConsumerState
}

// ConsumerState is how a consumer stands at a moment.
type ConsumerState struct {
	// Name of the consumer.
	Name string
	// Waiting is what it has not been given yet, Running what it was given and has not
	// acknowledged, what waits to be tried again included.
	Waiting, Running uint64
	// Redelivered is how much of Running was given more than once.
	Redelivered uint64
}

// Inspect reads how the streams of jobs, events and dead letters stand. It changes nothing.
func (q *Queue) Inspect(ctx context.Context) ([]StreamState, error) {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	var states []StreamState
	for _, stream := range q.streams() {
		var state StreamState
		err := q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) (err error) {
			state, err = inspect(ctx, js, stream.Name)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("inspect stream %s: %w", stream.Name, err)
		}
		states = append(states, state)
	}
	return states, nil
}

func inspect(ctx context.Context, js jetstream.JetStream, name string) (StreamState, error) {
	state := StreamState{Name: name}
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		state.Missing = true
		return state, nil
	}
	if err != nil {
		return state, err
	}
	info := stream.CachedInfo()
	state.Replicas, state.Messages, state.Bytes = info.Config.Replicas, info.State.Msgs, info.State.Bytes
	list := stream.ListConsumers(ctx)
	for consumer := range list.Info() {
		if consumer.Config.Durable == "" {
			continue // of somebody who reads along: it is gone when they are
		}
		state.Consumers = append(state.Consumers, ConsumerState{
			Name: consumer.Name, Waiting: consumer.NumPending, Running: uint64(max(consumer.NumAckPending, 0)),
			Redelivered: uint64(max(consumer.NumRedelivered, 0)),
		})
	}
	return state, list.Err()
}
