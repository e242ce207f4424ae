// The chat function: Xingchen's chat routes and conversations with Beebot robots.
package main

import (
	"context"
	"os"

	"github.com/rs/zerolog"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	front := httpapi.FromEnv(vars, logger)
	chat := chatapi.FromEnv(vars)
	// Chat answers without NATS; what it tells and shares by it is left out then.
	var q *queue.Queue
	if vars.String("NATS_URL", "") != "" {
		var err error
		if q, err = queue.Open(queue.FromEnv(vars, "xinghe-chat", logger), queue.Config{}); err != nil {
			return faas.Function{}, err
		}
	}
	stop, err := chat.Attach(context.Background(), vars, q, logger)
	if err != nil {
		return faas.Function{}, err
	}
	handler, err := httpapi.New(front, chatapi.Routes(chat)...)
	return faas.Function{HTTP: handler, Event: faas.Direct(handler, nil), Close: func() {
		stop()
		if q != nil {
			q.Close()
		}
	}}, err
}
