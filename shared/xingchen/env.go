package xingchen

import "xinghe/shared/env"

// FromEnv makes a client from XINGCHEN_API_KEY and XINGCHEN_BASE_URL; without a key it
// returns nil, because Xingchen is not used.
func FromEnv(vars *env.Vars) *Client {
	cfg := Config{
		BaseURL: vars.URL("XINGCHEN_BASE_URL", DefaultBaseURL),
		APIKey:  vars.Secret("XINGCHEN_API_KEY"),
	}
	if cfg.APIKey.IsZero() {
		return nil
	}
	client, err := New(cfg)
	vars.Fault("XINGCHEN_API_KEY", err)
	return client
}
