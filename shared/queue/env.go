package queue

import (
	"github.com/rs/zerolog"

	"xinghe/shared/env"
)

// FromEnv reads NATS_URL and NATS_CREDS. The name is what operators see of the connection.
func FromEnv(vars *env.Vars, name string, logger zerolog.Logger) ConnConfig {
	return ConnConfig{
		URL:    vars.String("NATS_URL", ""),
		Creds:  vars.String("NATS_CREDS", ""),
		Name:   name,
		Logger: logger,
	}
}
