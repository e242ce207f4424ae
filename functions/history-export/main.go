// The history-export function: starts exports of chat histories and tells their state.
package main

import (
	"os"

	"github.com/rs/zerolog"

	"xinghe/functions/history-export/exportapi"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	cfg := httpapi.FromEnv(vars, logger)
	q, err := queue.Open(queue.FromEnv(vars, "xinghe-history-export", logger), queue.ConfigFromEnv(vars))
	if err != nil {
		return faas.Function{}, err
	}
	replays, err := idempotency.New(idempotency.FromEnv(vars, q))
	if err != nil {
		return faas.Function{}, err
	}
	cfg.Replays, cfg.Ready = replays, replays.Ready
	api, err := exportapi.New(exportapi.Config{Queue: q, Sink: sink.FromEnv(vars)})
	if err != nil {
		return faas.Function{}, err
	}
	handler, err := httpapi.New(cfg, api.Routes()...)
	return faas.Function{HTTP: handler, Event: faas.Direct(handler, api.Event), Thaw: q.Renew, Close: q.Close}, err
}
