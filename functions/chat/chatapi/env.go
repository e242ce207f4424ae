package chatapi

import (
	"errors"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/env"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// outputs are the words of XINGCHEN_STREAM_OUTPUT.
var outputs = map[string]relay.Output{
	"asked": relay.AsAsked, "cumulative": relay.AlwaysCumulative, "incremental": relay.AlwaysIncremental,
}

// drainLimit is how long a conversation whose client has left is read on, if it is.
const drainLimit = 2 * time.Minute

// FromEnv makes the clients from the variables of both services, of which at least one must
// be configured, and reads XINGHE_ON_DISCONNECT, XINGCHEN_STREAM_OUTPUT, XINGCHEN_PARALLEL_KEYS,
// XINGCHEN_MODELS and BEEBOT_INSTANCES. Budgets and events are for the caller to add, by [Config.Equip].
func FromEnv(vars *env.Vars) Config {
	cfg := Config{
		Xingchen: xingchen.FromEnv(vars), Beebot: beebot.FromEnv(vars),
		Output:       outputs[vars.Choice("XINGCHEN_STREAM_OUTPUT", "asked", "cumulative", "incremental")],
		ParallelKeys: vars.List("XINGCHEN_PARALLEL_KEYS"),
		Models:       vars.List("XINGCHEN_MODELS"),
		Robots:       beebot.RobotsFromEnv(vars),
	}
	if vars.Choice("XINGHE_ON_DISCONNECT", "cancel", "drain") == "drain" {
		cfg.Disconnect = relay.Disconnect{Drain: drainLimit}
	}
	if cfg.Beebot == nil && len(cfg.Robots) > 0 {
		vars.Fault("BEEBOT_INSTANCES", errors.New("set without ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"))
	}
	if cfg.Xingchen == nil && cfg.Beebot == nil {
		vars.Fault("XINGCHEN_API_KEY", errors.New("set it for Xingchen, or ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET for Beebot"))
	}
	return cfg
}
