package httpapi

import (
	"errors"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
)

// FromEnv reads XINGHE_API_KEYS or XINGHE_API_KEYS_FILE, and XINGHE_CORS_ORIGINS.
func FromEnv(vars *env.Vars, logger zerolog.Logger) Config {
	cfg := Config{Origins: vars.List("XINGHE_CORS_ORIGINS"), Logger: logger}
	text, file := vars.String("XINGHE_API_KEYS", ""), vars.String("XINGHE_API_KEYS_FILE", "")
	var err error
	switch {
	case text != "" && file != "":
		err = errors.New("set together with XINGHE_API_KEYS_FILE; use one")
	case file != "":
		cfg.Keys, err = KeysFromFile(file)
	case text != "":
		cfg.Keys, err = ParseKeys(text)
	default:
		err = errors.New("missing: nobody could call")
	}
	vars.Fault("XINGHE_API_KEYS", err)
	vars.Fault("XINGHE_CORS_ORIGINS", checkOrigins(cfg.Origins))
	return cfg
}
