// The character function: management of Xingchen's characters.
package main

import (
	"errors"
	"os"

	"github.com/rs/zerolog"

	"xinghe/functions/character/characterapi"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/xingchen"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	client := xingchen.FromEnv(vars)
	if client == nil {
		vars.Fault("XINGCHEN_API_KEY", errors.New("missing"))
	}
	handler, err := httpapi.New(httpapi.FromEnv(vars, logger), characterapi.Routes(client)...)
	return faas.Function{HTTP: handler, Event: faas.Direct(handler, nil)}, err
}
