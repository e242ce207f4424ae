package chatapi

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"xinghe/shared/desk"
	"xinghe/shared/env"
	"xinghe/shared/queue"
)

// Equip adds to a configuration what works beside the requests: the budgets of both
// services, from XINGCHEN_RPS and BEEBOT_RPS, and events, from XINGHE_EVENT_TEXT, whose
// publisher is the caller's to close. Without a queue the budgets are this process's own and nobody hears of
// chats. See [Config.Share].
func (c *Config) Equip(vars *env.Vars, q *queue.Queue, logger zerolog.Logger) error {
	x, b, err := desk.Open(vars, q, "/xinghe/chat", logger)
	if err != nil {
		return fmt.Errorf("chatapi: %w", err)
	}
	c.XingchenBudget, c.BeebotBudget, c.Events, c.EventText = x.Budget, b.Budget, x.Events, x.EventText
	return nil
}

// Share keeps the shares of the budgets until ctx ends.
func (c *Config) Share(ctx context.Context) { desk.Share(ctx, c.XingchenBudget, c.BeebotBudget) }

// Attach is Equip and Share in one, until stop is called, which waits for it and closes the
// publisher; ctx should not end before.
func (c *Config) Attach(ctx context.Context, vars *env.Vars, q *queue.Queue, logger zerolog.Logger) (stop func(), err error) {
	if err := c.Equip(vars, q, logger); err != nil { //nolint:contextcheck // the publisher ends by its Close
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var sharing sync.WaitGroup
	share := *c // the configuration may be changed on its way to the surface
	sharing.Go(func() { share.Share(ctx) })
	return func() {
		share.Events.Close()
		cancel()
		sharing.Wait()
	}, nil
}
