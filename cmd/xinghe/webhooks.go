package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// newWebhooksCommand is "xinghe webhooks".
func newWebhooksCommand(getenv func(string) string) *cobra.Command {
	o := &operator{getenv: getenv}
	group := newGroup("webhooks", "Look at the targets of webhooks, resume them, deliver events again; by NATS_URL and NATS_CREDS")
	group.PersistentFlags().BoolVar(&o.json, "json", false, "print lines of JSON, on a terminal too")
	group.PersistentFlags().DurationVar(&o.timeout, "timeout", 5*time.Second, "how long NATS may take for each step")
	// Nothing here asks the functions, so their settings are not checked.
	group.PersistentPreRunE = func(*cobra.Command, []string) error {
		if o.timeout < time.Millisecond {
			return usageError(fmt.Errorf("--timeout %s: at least 1ms", o.timeout))
		}
		return nil
	}
	group.AddCommand(o.newTargetsCommand(), o.newAttemptsCommand(), o.newResumeCommand(), o.newReplayCommand(), o.newForgetCommand())
	return group
}

// hooks is what is known of webhooks in NATS.
type hooks struct {
	js      jetstream.JetStream
	queue   *queue.Queue
	targets *queue.Store[jobs.Webhook]
	log     *queue.Store[jobs.DeliveryLog]
	timeout time.Duration
}

// webhooks calls do with what is known, and says what is wrong if NATS is away.
func (o *operator) webhooks(do func(h hooks) error) error {
	vars := env.New(o.getenv)
	conn := queue.FromEnv(vars, "xinghe", zerolog.Nop())
	if err := vars.Err(); err != nil {
		return usageError(err)
	}
	conn.Timeout = min(o.timeout, 2*time.Second)
	nc, err := queue.Connect(conn)
	if err != nil {
		return err
	}
	defer nc.Close()
	h := hooks{timeout: o.timeout}
	if h.js, err = jetstream.New(nc); err != nil {
		return err
	}
	if h.queue, err = queue.New(h.js, queue.Config{Timeout: o.timeout}); err != nil {
		return err
	}
	if h.targets, err = queue.OpenStore[jobs.Webhook](h.queue, jobs.BucketWebhooks, queue.StoreConfig{}); err != nil {
		return err
	}
	if h.log, err = queue.OpenStore[jobs.DeliveryLog](h.queue, jobs.BucketDeliveries, queue.StoreConfig{}); err != nil {
		return err
	}
	err = do(h)
	if _, missing := errors.AsType[*queue.MissingStreamError](err); !missing && errors.Is(err, queue.ErrUnavailable) {
		return fmt.Errorf("NATS does not answer, see NATS_URL and NATS_CREDS: %w", err)
	}
	return err
}

// all are the targets that workers deliver to, or have delivered to, by name; or the named
// one alone.
func (h hooks) all(ctx context.Context, name string) ([]jobs.Webhook, error) {
	if name != "" {
		entry, err := h.targets.Get(ctx, name)
		if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrInvalid) {
			return nil, fmt.Errorf("no worker has delivered to %q yet; list shows the names", name)
		}
		return []jobs.Webhook{entry.Value}, err
	}
	var all []jobs.Webhook
	for entry, err := range h.targets.List(ctx, ">") {
		if err != nil {
			return nil, err
		}
		all = append(all, entry.Value)
	}
	slices.SortFunc(all, func(a, b jobs.Webhook) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// waiting counts what a consumer has before it, what is under way included.
func (h hooks) waiting(ctx context.Context, stream, consumer string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	found, err := h.js.Consumer(ctx, stream, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask for consumer %s: %w", consumer, err)
	}
	info := found.CachedInfo()
	return info.NumPending + uint64(info.NumAckPending), nil
}

func (o *operator) newTargetsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the targets: how they are, and what waits for them", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.webhooks(func(h hooks) error {
				all, err := h.all(cmd.Context(), "")
				if err != nil {
					return err
				}
				view := newTargetView(cmd.OutOrStdout(), o.json)
				for _, target := range all {
					line := targetLine{Webhook: target, State: target.State(time.Now())}
					if line.Pending, err = h.waiting(cmd.Context(), queue.StreamEvents, jobs.DeliveryConsumer(target.Name)); err != nil {
						return err
					}
					if line.Again, err = h.waiting(cmd.Context(), queue.StreamJobs, jobs.RedeliveryConsumer(target.Name)); err != nil {
						return err
					}
					if err := view.add(line); err != nil {
						return err
					}
				}
				return view.close()
			})
		},
	}
}

func (o *operator) newAttemptsCommand() *cobra.Command {
	var target string
	var failed bool
	var limit int
	cmd := &cobra.Command{
		Use: "attempts", Short: "List the last attempts to deliver, the oldest first", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLimit(limit); err != nil {
				return usageError(err)
			}
			return o.webhooks(func(h hooks) error {
				attempts, err := h.attempts(cmd.Context(), target, time.Time{})
				if err != nil {
					return err
				}
				if failed {
					attempts = slices.DeleteFunc(attempts, func(a jobs.DeliveryAttempt) bool { return a.Error == "" })
				}
				if limit > 0 && len(attempts) > limit {
					attempts = attempts[len(attempts)-limit:]
				}
				return showAttempts(cmd.OutOrStdout(), o.json, attempts)
			})
		},
	}
	cmd.Flags().StringVar(&target, "target", "", "only those of this target")
	cmd.Flags().BoolVar(&failed, "failed", false, "only those that failed")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most, the latest; 0 for all")
	return cmd
}

// attempts that are remembered, in the order of their times.
func (h hooks) attempts(ctx context.Context, target string, since time.Time) ([]jobs.DeliveryAttempt, error) {
	filter := ">"
	if target != "" {
		if _, err := h.all(ctx, target); err != nil {
			return nil, err
		}
		filter = target + ".>"
	}
	var attempts []jobs.DeliveryAttempt
	for entry, err := range h.log.List(ctx, filter) {
		if err != nil {
			return nil, err
		}
		for _, attempt := range entry.Value.Attempts {
			if !attempt.Time.Before(since) {
				attempts = append(attempts, attempt)
			}
		}
	}
	slices.SortStableFunc(attempts, func(a, b jobs.DeliveryAttempt) int { return a.Time.Compare(b.Time) })
	return attempts, nil
}

func (o *operator) newResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume NAME", Short: "End the pause or the rest of a target: one event is tried at once", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.webhooks(func(h hooks) error {
				if _, err := h.all(cmd.Context(), args[0]); err != nil {
					return err
				}
				entry, err := h.targets.Modify(cmd.Context(), args[0], func(target *jobs.Webhook) error {
					if target.PausedAt != nil || target.RestUntil != nil {
						target.Resume(time.Now().UTC())
					}
					return nil
				})
				if err != nil {
					return err
				}
				return showState(cmd.OutOrStdout(), o.json, args[0], entry.Value.State(time.Now()))
			})
		},
	}
}

func (o *operator) newForgetCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "forget NAME --yes", Short: "Forget a target that is not configured any more, and what waits for it", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.webhooks(func(h hooks) error {
				if _, err := h.all(cmd.Context(), args[0]); err != nil {
					return err
				}
				if !yes {
					return usageError(fmt.Errorf("what waits for %s would be lost: confirm with --yes", args[0]))
				}
				if err := h.forget(cmd.Context(), args[0]); err != nil {
					return err
				}
				return showState(cmd.OutOrStdout(), o.json, args[0], "forgotten")
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm")
	return cmd
}

// forget removes the record last, so that what was left by a failure can be named again.
func (h hooks) forget(ctx context.Context, name string) error {
	bounded, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	for stream, consumer := range map[string]string{
		queue.StreamEvents: jobs.DeliveryConsumer(name), queue.StreamJobs: jobs.RedeliveryConsumer(name),
	} {
		if err := h.js.DeleteConsumer(bounded, stream, consumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("delete consumer %s: %w", consumer, err)
		}
	}
	stream, err := h.js.Stream(bounded, queue.StreamJobs)
	if err != nil {
		return fmt.Errorf("forget what waits for %s: %w", name, err)
	}
	if err := stream.Purge(bounded, jetstream.WithPurgeSubject(jobs.SubjectDelivery+name)); err != nil {
		return fmt.Errorf("forget what waits for %s: %w", name, err)
	}
	return h.targets.Delete(ctx, name)
}
