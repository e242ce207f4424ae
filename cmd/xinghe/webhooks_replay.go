package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// replayBatch is how many deliveries are asked for at once.
const replayBatch = 256

// replay delivers events again.
type replay struct {
	since, target, kind string
	failed, dryRun      bool

	id      string
	counted map[string]int // by target
	missed  map[[2]string]bool
	batch   []queue.Job
}

func (o *operator) newReplayCommand() *cobra.Command {
	r := &replay{counted: map[string]int{}}
	cmd := &cobra.Command{
		Use: "replay --since 2h|TIME", Short: "Deliver again what was published since, under the same ids", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			since, err := parseSince(r.since, time.Now())
			if err != nil {
				return usageError(err)
			}
			return o.webhooks(func(h hooks) error {
				targets, err := h.all(cmd.Context(), r.target)
				if err != nil {
					return err
				}
				if err := r.run(cmd.Context(), h, targets, since); err != nil {
					return fmt.Errorf("%w (what was asked for so far is delivered)", err)
				}
				return showReplay(cmd.OutOrStdout(), o.json, targets, r.counted)
			})
		},
	}
	cmd.Flags().StringVar(&r.since, "since", "", "a time span such as 2h, or a time such as 2026-05-01T12:00:00Z; required")
	cmd.Flags().StringVar(&r.target, "target", "", "only to this target; default: to each that wants the type")
	cmd.Flags().StringVar(&r.kind, "type", "", `only events of this type, such as "export.done" or "export.*"`)
	cmd.Flags().BoolVar(&r.failed, "failed", false, "only events whose attempts have all failed, as far as is remembered")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "only count them")
	return cmd
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if span, err := time.ParseDuration(text); err == nil && span > 0 {
		return now.Add(-span), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil && at.Before(now) {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("--since %q: want a time span such as 2h, or a time in the past such as 2026-05-01T12:00:00Z", text)
}

// run asks for deliveries of what was published from since until now.
func (r *replay) run(ctx context.Context, h hooks, targets []jobs.Webhook, since time.Time) error {
	r.id = ulid.Make().String()
	if r.failed {
		attempts, err := h.attempts(ctx, r.target, since)
		if err != nil {
			return err
		}
		r.missed = missed(attempts)
	}
	for event, err := range h.events(ctx, since) {
		if err != nil {
			return err
		}
		for _, target := range targets {
			if r.wants(target, event) {
				if err := r.add(ctx, h, target.Name, event); err != nil {
					return err
				}
			}
		}
	}
	return r.flush(ctx, h)
}

// missed are the targets and ids of events that were tried in vain.
func missed(attempts []jobs.DeliveryAttempt) map[[2]string]bool {
	events := map[[2]string]bool{}
	for _, a := range attempts {
		key := [2]string{a.Target, a.EventID}
		if before, seen := events[key]; !seen || before {
			events[key] = a.Error != ""
		}
	}
	return events
}

func (r *replay) wants(target jobs.Webhook, event storedEvent) bool {
	return target.Wants(event.Type) && (r.kind == "" || jobs.WantsEvent([]string{r.kind}, event.Type)) &&
		(!r.failed || r.missed[[2]string{target.Name, event.ID}])
}

func (r *replay) add(ctx context.Context, h hooks, target string, event storedEvent) error {
	r.counted[target]++
	r.batch = append(r.batch, queue.Job{
		Subject: jobs.SubjectDelivery + target, ID: fmt.Sprintf("replay:%s:%s:%d", r.id, target, event.sequence), Data: event.body,
	})
	if len(r.batch) < replayBatch {
		return nil
	}
	return r.flush(ctx, h)
}

func (r *replay) flush(ctx context.Context, h hooks) error {
	batch := r.batch
	r.batch = nil
	if r.dryRun || len(batch) == 0 {
		return nil
	}
	return h.queue.PublishAll(ctx, batch)
}

// storedEvent is an event as the stream has it.
type storedEvent struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	body     []byte
	sequence uint64
}

// events yields what was published from since until now, the oldest first.
func (h hooks) events(ctx context.Context, since time.Time) func(yield func(storedEvent, error) bool) {
	return func(yield func(storedEvent, error) bool) {
		if err := h.read(ctx, since, func(event storedEvent) bool { return yield(event, nil) }); err != nil {
			yield(storedEvent{}, fmt.Errorf("read events: %w", err))
		}
	}
}

func (h hooks) read(ctx context.Context, since time.Time, each func(storedEvent) bool) error {
	opening, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	consumer, err := h.js.OrderedConsumer(opening, queue.StreamEvents, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, InactiveThreshold: time.Minute,
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return &queue.MissingStreamError{Stream: queue.StreamEvents}
	}
	if err != nil {
		return err
	}
	left := consumer.CachedInfo().NumPending // what is published from now on is delivered anyway
	if left == 0 {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for ; left > 0; left-- {
		msg, err := messages.Next(jetstream.NextMaxWait(h.timeout))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		event := storedEvent{body: msg.Data(), sequence: meta.Sequence.Stream}
		if json.Unmarshal(event.body, &event) != nil {
			continue // no event: nobody was sent it
		}
		if !each(event) {
			return nil
		}
	}
	return nil
}
