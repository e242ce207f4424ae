package webhookapi

import (
	"errors"
	"slices"
	"strings"

	"xinghe/shared/beebot"
	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
)

// EnvSources names the variable with the sources, or with _FILE the file that holds them.
const EnvSources = "XINGHE_WEBHOOK_SOURCES"

// FromEnv reads XINGHE_WEBHOOK_SOURCES and the kind of XINGHE_SINK, and makes the clients from the variables of both
// services, nil for one that is not configured. Queue and desks are for the caller to add.
func FromEnv(vars *env.Vars) Config {
	cfg := Config{
		Xingchen: xingchen.FromEnv(vars), Beebot: beebot.FromEnv(vars), Robots: beebot.RobotsFromEnv(vars),
		ParallelKeys: vars.List("XINGCHEN_PARALLEL_KEYS"),
	}
	if kind, _, bucket := strings.Cut(vars.String("XINGHE_SINK", ""), "://"); bucket && slices.Contains(jobs.Sinks, kind) {
		cfg.Sink = kind
	}
	text := vars.Secret(EnvSources)
	if text.IsZero() {
		vars.Fault(EnvSources, errors.New("missing: nobody could send"))
		return cfg
	}
	var err error
	cfg.Sources, err = ParseSources(text, vars.Secret)
	vars.Fault(EnvSources, err)
	return cfg
}
