package chatapi_test

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/env"
)

func TestEachFaultIsToldOnce(t *testing.T) {
	t.Parallel()
	set := map[string]string{
		"XINGCHEN_API_KEY": "k", "XINGHE_EVENT_TEXT": "maybe", "XINGHE_ON_DISCONNECT": "maybe", "XINGCHEN_RPS": "maybe",
	}
	vars := env.New(func(name string) string { return set[name] })
	cfg := chatapi.FromEnv(vars)
	if err := cfg.Equip(vars, nil, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	told := vars.Err().Error()
	for _, name := range []string{"XINGHE_EVENT_TEXT", "XINGHE_ON_DISCONNECT", "XINGCHEN_RPS"} {
		if got := strings.Count(told, name); got != 1 {
			t.Errorf("%s is told %d times: %s", name, got, told)
		}
	}
}
