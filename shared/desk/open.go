package desk

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/budget"
	"xinghe/shared/env"
	"xinghe/shared/events"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/turn"
)

// Open makes the desks of both services. They share turns and a publisher that speaks for
// source, which is the caller's to close. Budgets follow XINGCHEN_RPS and BEEBOT_RPS, texts
// in events XINGHE_EVENT_TEXT. Without a queue the budgets are this process's own and nobody
// hears of conversations. See [Share].
func Open(vars *env.Vars, q *queue.Queue, source string, logger zerolog.Logger) (xingchen, beebot Desk, err error) {
	both := Desk{Turns: turn.New(turn.Config{}), EventText: vars.Choice("XINGHE_EVENT_TEXT", "false", "true") == "true", Now: time.Now}
	if q != nil {
		if both.Events, err = events.New(events.Config{Queue: q, Source: source, Logger: logger}); err != nil {
			return both, both, err
		}
	}
	xingchen, beebot = both, both
	xingchen.Upstream, beebot.Upstream = "xingchen", "beebot"
	xingchen.Budget = budget.FromEnv(vars, "XINGCHEN_RPS", "xingchen", vars.Secret("XINGCHEN_API_KEY"), q, logger)
	beebot.Budget = budget.FromEnv(vars, "BEEBOT_RPS", "beebot", sign.NewSecret(vars.String("ALIBABA_CLOUD_ACCESS_KEY_ID", "")), q, logger)
	return xingchen, beebot, nil
}

// Share keeps the shares of budgets that other processes have a part in, until ctx ends.
func Share(ctx context.Context, budgets ...*budget.Budget) {
	var leases sync.WaitGroup
	for _, b := range budgets {
		leases.Go(func() { b.Run(ctx) })
	}
	leases.Wait()
}
