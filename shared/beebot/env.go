package beebot

import (
	"errors"

	"xinghe/shared/env"
)

// FromEnv makes a client from BEEBOT_ENDPOINT, BEEBOT_STREAM_URL, BEEBOT_AGENT_KEY and the
// access key pair in ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, if
// it is temporary, ALIBABA_CLOUD_SECURITY_TOKEN. Without a pair it returns nil, because
// Beebot is not used.
func FromEnv(vars *env.Vars) *Client {
	pair := Credentials{
		AccessKeyID:     vars.String("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
		AccessKeySecret: vars.Secret("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
		SecurityToken:   vars.Secret("ALIBABA_CLOUD_SECURITY_TOKEN"),
	}
	cfg := Config{
		Endpoint:    vars.URL("BEEBOT_ENDPOINT", DefaultEndpoint),
		StreamURL:   vars.URL("BEEBOT_STREAM_URL", DefaultStreamURL),
		AgentKey:    vars.Secret("BEEBOT_AGENT_KEY"),
		Credentials: StaticCredentials(pair),
	}
	switch {
	case pair.AccessKeyID == "" && pair.AccessKeySecret.IsZero():
		return nil
	case pair.AccessKeyID == "":
		vars.Fault("ALIBABA_CLOUD_ACCESS_KEY_ID", errors.New("missing beside the secret"))
		return nil
	case pair.AccessKeySecret.IsZero():
		vars.Fault("ALIBABA_CLOUD_ACCESS_KEY_SECRET", errors.New("missing beside the id"))
		return nil
	}
	client, err := New(cfg)
	vars.Fault("BEEBOT_ENDPOINT", err)
	return client
}
