package emulator_test

import (
	"os"
	"testing"

	"xinghe/shared/beebot"
	"xinghe/shared/beebot/beebottest"
	"xinghe/shared/env"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/shared/xingchen/xingchentest"
)

// realVars are the variables of a run on the real services. They are read only if somebody
// asks for it in so many words: such a run is paid for.
func realVars(t *testing.T) *env.Vars {
	t.Helper()
	vars := env.New(os.Getenv) //nolint:forbidigo // a test has no main that hands the environment down
	if vars.String("XINGHE_CONFORMANCE", "") != "real" {
		t.Skip("set XINGHE_CONFORMANCE=real, and credentials, to check the real service; see docs/emulator.md")
	}
	return vars
}

func TestXingchenConformanceReal(t *testing.T) {
	vars := realVars(t)
	key, baseURL := vars.Secret("XINGCHEN_API_KEY"), vars.URL("XINGCHEN_BASE_URL", xingchen.DefaultBaseURL)
	other := vars.Secret("XINGHE_CONFORMANCE_OTHER_KEY")
	target := xingchentest.Target{
		CharacterID: vars.String("XINGHE_CONFORMANCE_CHARACTER", ""),
		Model:       vars.String("XINGHE_CONFORMANCE_MODEL", ""),
	}
	if err := vars.Err(); err != nil {
		t.Fatal(err)
	}
	if key.IsZero() {
		t.Skip("set XINGCHEN_API_KEY, and XINGCHEN_BASE_URL for another address than the service's, to check Xingchen")
	}
	target.Client = xingchenClient(t, baseURL, key)
	target.WrongKey = xingchenClient(t, baseURL, sign.NewSecret("lm-conformance-nobody"))
	if !other.IsZero() {
		target.Other = xingchenClient(t, baseURL, other)
	}
	xingchentest.Exercise(t, target)
}

func TestBeebotConformanceReal(t *testing.T) {
	vars := realVars(t)
	cfg := beebot.Config{
		Endpoint:  vars.URL("BEEBOT_ENDPOINT", beebot.DefaultEndpoint),
		StreamURL: vars.URL("BEEBOT_STREAM_URL", beebot.DefaultStreamURL),
		AgentKey:  vars.Secret("BEEBOT_AGENT_KEY"),
	}
	pair := beebot.Credentials{
		AccessKeyID:     vars.String("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
		AccessKeySecret: vars.Secret("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
		SecurityToken:   vars.Secret("ALIBABA_CLOUD_SECURITY_TOKEN"),
	}
	target := beebottest.Target{
		InstanceID:        vars.String("XINGHE_CONFORMANCE_ROBOT", ""),
		ClassicInstanceID: vars.String("XINGHE_CONFORMANCE_CLASSIC_ROBOT", ""),
	}
	if err := vars.Err(); err != nil {
		t.Fatal(err)
	}
	if pair.AccessKeyID == "" || pair.AccessKeySecret.IsZero() || target.InstanceID == "" {
		t.Skip("set ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and XINGHE_CONFORMANCE_ROBOT (the id of a robot of the edition 通义) to check Beebot")
	}
	target.Client, target.Transport = beebotClient(t, cfg, pair), transport(t)
	wrong := pair
	wrong.AccessKeySecret = sign.NewSecret("conformance-nobody")
	target.WrongSecret = beebotClient(t, cfg, wrong)
	beebottest.Exercise(t, target)
}
