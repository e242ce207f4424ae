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
	// ratings and pictures, which are jobs.
	var q *queue.Queue
	var jobs []httpapi.Route
	if queue.Configured(vars) {
		var err error
		if q, err = queue.Open(queue.FromEnv(vars, "xinghe-chat", logger), queue.ConfigFromEnv(vars)); err != nil {
			return faas.Function{}, err
		}
		if front.Replays, err = idempotency.New(idempotency.FromEnv(vars, q)); err != nil {
			return faas.Function{}, err
		}
		messages, err := messageapi.New(messageapi.Config{Queue: q, Sink: sink.FromEnv(vars)})
		if err != nil {
			return faas.Function{}, err
		}
		jobs = messages.Routes()
	}
	if err := chat.Equip(vars, q, logger); err != nil {
		return faas.Function{}, err
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
