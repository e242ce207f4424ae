// The probe is a function that does what it is told, to see what becomes of that on each
// platform. It is deployed nowhere.
package main

import (
	"os"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
	"xinghe/shared/faas"
)

func main() { os.Exit(faas.Main(os.Getenv, os.Stdout, os.Stderr, build)) }

// build reads PROBE_GATE, the address that the probe asks before it goes on, and that hears
// from it what nobody else would.
func build(vars *env.Vars, logger zerolog.Logger) (faas.Function, error) {
	p := &probe{gate: vars.String("PROBE_GATE", ""), log: logger}
	return faas.Function{HTTP: p.routes(), Event: p.event, Close: func() { p.tell("closed") }}, nil
}
