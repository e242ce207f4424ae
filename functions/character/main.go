// The character function: management of Xingchen's characters.
package main

import (
	"errors"
	"os"

	"github.com/rs/zerolog"

	"xinghe/functions/character/characterapi"
	"xinghe/shared/env"
	"xinghe/shared/events"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
	"xinghe/shared/upstream"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	front := httpapi.FromEnv(vars, logger)
	characters := characterapi.FromEnv(vars)
	if characters.Client == nil {
		vars.Fault("XINGCHEN_API_KEY", errors.New("missing"))
	}
	thaw, stop := upstream.CloseIdle, func() {}
	// Characters are managed without NATS; nobody hears of changes then.
	if queue.Configured(vars) {
		q, err := queue.Open(queue.FromEnv(vars, "xinghe-character", logger), queue.ConfigFromEnv(vars))
		if err != nil {
			return faas.Function{}, err
		}
		characters.Events, err = events.New(events.Config{Queue: q, Source: characterapi.Source, Logger: logger})
		if err != nil {
			q.Close()
			return faas.Function{}, err
		}
		thaw = func() {
			upstream.CloseIdle()
			q.Renew()
		}
		stop = func() {
			characters.Events.Close()
			q.Close()
		}
	}
	handler, err := httpapi.New(front, characterapi.Routes(characters)...)
	fn := faas.Function{HTTP: handler, Event: faas.Direct(handler, nil), Flush: characters.Events.Flush, Thaw: thaw, Close: stop}
	return fn, err
}
