// The chat function: Xingchen's chat routes and conversations with Beebot robots.
package main

import (
	"os"

	"github.com/rs/zerolog"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	handler, err := httpapi.New(httpapi.FromEnv(vars, logger), chatapi.Routes(chatapi.FromEnv(vars))...)
	return faas.Function{HTTP: handler}, err
}
