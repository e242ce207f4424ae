// The webhook function: signed messages of business systems, and what is done with them.
package main

import (
	"context"
	"os"

	"github.com/rs/zerolog"

	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/desk"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
	"xinghe/shared/upstream"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	cfg := webhookapi.FromEnv(vars)
	q, err := queue.Open(queue.FromEnv(vars, "xinghe-webhook", logger), queue.ConfigFromEnv(vars))
	if err != nil {
		return faas.Function{}, err
	}
	cfg.Queue = q
	cfg.XingchenDesk, cfg.BeebotDesk, err = desk.Open(vars, q, webhookapi.EventSource, logger)
	if err != nil {
		return faas.Function{}, err
	}
	api, err := webhookapi.New(cfg)
	if err != nil {
		return faas.Function{}, err
	}
	// The signature is the authentication: no keys.
	handler, err := httpapi.New(httpapi.Config{Ready: api.Ready, Logger: logger}, api.Routes()...)
	fn := faas.Function{HTTP: handler, Event: faas.Direct(handler, nil), Flush: cfg.XingchenDesk.Events.Flush}
	fn.Background = func(ctx context.Context) { desk.Share(ctx, cfg.XingchenDesk.Budget, cfg.BeebotDesk.Budget) }
	fn.Thaw = func() {
		upstream.CloseIdle()
		q.Renew()
	}
	fn.Close = func() {
		cfg.XingchenDesk.Events.Close()
		q.Close()
	}
	return fn, err
}
