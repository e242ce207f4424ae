// The chat function: Xingchen's chat routes and conversations with Beebot robots.
package main

import (
	"os"
	"slices"

	"github.com/rs/zerolog"

	"xinghe/functions/chat/chatapi"
	"xinghe/functions/chat/messageapi"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/upstream"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	front := httpapi.FromEnv(vars, logger)
	chat := chatapi.FromEnv(vars)
	// Chat answers without NATS; what it tells and shares by it is left out then, and so are
	// ratings and pictures, which are jobs. Their variables are read all the same: all faults
	// are told at once.
	conn, streams := queue.FromEnv(vars, "xinghe-chat", logger), queue.ConfigFromEnv(vars)
	replays, files := idempotency.FromEnv(vars, nil), sink.FromEnv(vars)
	var q *queue.Queue
	if queue.Configured(vars) && vars.Err() == nil {
		var err error
		if q, err = queue.Open(conn, streams); err != nil {
			return faas.Function{}, err
		}
	}
	if err := chat.Equip(vars, q, logger); err != nil {
		return faas.Function{}, err
	}
	var jobs []httpapi.Route
	if q != nil {
		var err error
		replays.Queue = q
		if front.Replays, err = idempotency.New(replays); err != nil {
			return faas.Function{}, err
		}
		messages, err := messageapi.New(messageapi.Config{Queue: q, Sink: files})
		if err != nil {
			return faas.Function{}, err
		}
		jobs = messages.Routes()
	}
	handler, err := httpapi.New(front, slices.Concat(chatapi.Routes(chat), jobs)...)
	fn := faas.Function{HTTP: handler, Event: faas.Direct(handler, nil), Background: chat.Share, Flush: chat.Events.Flush}
	fn.Thaw = func() {
		upstream.CloseIdle()
		if q != nil {
			q.Renew()
		}
	}
	fn.Close = func() {
		chat.Events.Close()
		if q != nil {
			q.Close()
		}
	}
	return fn, err
}
