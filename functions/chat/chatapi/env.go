package chatapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
// be configured, and reads XINGHE_ON_DISCONNECT, XINGHE_EVENT_TEXT, XINGCHEN_STREAM_OUTPUT,
// XINGCHEN_PARALLEL_KEYS, XINGCHEN_MODELS and BEEBOT_INSTANCES. Budgets and events are for the caller to add.
func FromEnv(vars *env.Vars) Config {
	cfg := Config{
		Xingchen: xingchen.FromEnv(vars), Beebot: beebot.FromEnv(vars),
		EventText:    vars.Choice("XINGHE_EVENT_TEXT", "false", "true") == "true",
		Output:       outputs[vars.Choice("XINGCHEN_STREAM_OUTPUT", "asked", "cumulative", "incremental")],
		ParallelKeys: vars.List("XINGCHEN_PARALLEL_KEYS"),
		Models:       vars.List("XINGCHEN_MODELS"),
		Robots:       robots(vars),
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

// robots reads BEEBOT_INSTANCES: "<InstanceId>=tongyi" or "<InstanceId>=classic", separated
// by commas.
func robots(vars *env.Vars) []Robot {
	const name = "BEEBOT_INSTANCES"
	var list []Robot
	for _, item := range vars.List(name) {
		id, edition, _ := strings.Cut(item, "=")
		robot := Robot{ID: strings.TrimSpace(id), Classic: strings.TrimSpace(edition) == "classic"}
		twice := slices.ContainsFunc(list, func(other Robot) bool { return other.ID == robot.ID })
		switch {
		case robot.ID == "" || !robot.Classic && strings.TrimSpace(edition) != "tongyi":
			vars.Fault(name, fmt.Errorf("%q is neither <instanceId>=tongyi nor <instanceId>=classic", item))
		case twice:
			vars.Fault(name, fmt.Errorf("%q is listed twice", robot.ID))
		default:
			list = append(list, robot)
		}
	}
	return list
}
