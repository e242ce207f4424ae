package queue

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"xinghe/shared/env"
)

// Configured tells whether the variables name a NATS server: functions whose first duty
// needs none go without then.
func Configured(vars *env.Vars) bool {
	return vars.String("NATS_URL", "") != "" || vars.String("NATS_URL_FILE", "") != "" || vars.String("NATS_CONTEXT", "") != ""
}

// FromEnv reads how to reach NATS. The name is what operators see of the connection.
//
//   - NATS_URL: addresses, comma-separated; tls:// for TLS. As they may hold a password, they
//     may also stand in the file NATS_URL_FILE.
//   - NATS_CREDS: the path of a credentials file, or the text of one, or NATS_CREDS_FILE.
//   - NATS_CONTEXT: a context of the nats command line, by name or by the path of its file:
//     address, credentials, certificates. The two above come before what it says.
func FromEnv(vars *env.Vars, name string, logger zerolog.Logger) ConnConfig {
	cfg := ConnConfig{URL: vars.Secret("NATS_URL").Reveal(), Name: name, Logger: logger}
	credentials := vars.Secret("NATS_CREDS").Reveal()
	if context := vars.String("NATS_CONTEXT", ""); context != "" {
		home := vars.String("HOME", "")
		known, err := readContext(contextPath(context, vars.String("XDG_CONFIG_HOME", filepath.Join(home, ".config"))), home)
		if err == nil {
			cfg.Options, err = known.options()
		}
		if err != nil {
			vars.Fault("NATS_CONTEXT", err)
			return cfg
		}
		cfg.URL, credentials = cmp.Or(cfg.URL, known.URL), cmp.Or(credentials, known.Creds)
	}
	if strings.HasPrefix(credentials, "-----BEGIN ") {
		cfg.Options = append(cfg.Options, nats.UserCredentialBytes([]byte(credentials)))
		return cfg
	}
	if credentials != "" {
		_, err := os.Stat(credentials)
		vars.Fault("NATS_CREDS", err)
	}
	cfg.Creds = credentials
	return cfg
}

// ConfigFromEnv reads XINGHE_NATS_REPLICAS, how many servers of a cluster hold each stream
// and bucket (unset: new ones get one, and those that exist are left alone), and
// XINGHE_EVENT_RETENTION. Functions and workers are to have the same.
func ConfigFromEnv(vars *env.Vars) Config {
	replicas, retention := Config{Replicas: vars.Int("XINGHE_NATS_REPLICAS", 0, 0)}, Config{EventRetention: vars.Duration("XINGHE_EVENT_RETENTION", 0)}
	_, err := replicas.withDefaults()
	vars.Fault("XINGHE_NATS_REPLICAS", err)
	_, err = retention.withDefaults()
	vars.Fault("XINGHE_EVENT_RETENTION", err)
	return Config{Replicas: replicas.Replicas, EventRetention: retention.EventRetention}
}
