package chatapi

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"xinghe/shared/budget"
	"xinghe/shared/env"
	"xinghe/shared/events"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
)

// Attach adds to a configuration what works beside the requests: the budgets of both
// services, from XINGCHEN_RPS and BEEBOT_RPS, and the publisher of events. Without a queue
// the budgets are this process's own and nobody hears of chats. It goes on until stop is
// called, which waits for it; ctx should not end before.
func (c *Config) Attach(ctx context.Context, vars *env.Vars, q *queue.Queue, logger zerolog.Logger) (stop func(), err error) {
	c.XingchenBudget = budget.FromEnv(vars, "XINGCHEN_RPS", "xingchen", vars.Secret("XINGCHEN_API_KEY"), q, logger)
	c.BeebotBudget = budget.FromEnv(vars, "BEEBOT_RPS", "beebot", sign.NewSecret(vars.String("ALIBABA_CLOUD_ACCESS_KEY_ID", "")), q, logger)
	if q != nil {
		c.Events, err = events.New(events.Config{Queue: q, Source: "/xinghe/chat", Logger: logger}) //nolint:contextcheck // ends by its Close
		if err != nil {
			return nil, fmt.Errorf("chatapi: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var leases sync.WaitGroup
	for _, b := range []*budget.Budget{c.XingchenBudget, c.BeebotBudget} {
		leases.Go(func() { b.Run(ctx) })
	}
	return func() {
		c.Events.Close()
		cancel()
		leases.Wait()
	}, nil
}
