package beebot

import (
	"fmt"
	"slices"
	"strings"

	"xinghe/shared/env"
)

// Robot is a robot that is known by name.
type Robot struct {
	// ID is the robot's InstanceId.
	ID string
	// Classic robots answer in one piece, by [Client.Chat]; the others stream.
	Classic bool
}

// RobotsFromEnv reads BEEBOT_INSTANCES: "<InstanceId>=tongyi" or "<InstanceId>=classic", separated
// by commas.
func RobotsFromEnv(vars *env.Vars) []Robot {
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
