package stack

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/env"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/beebot"
)

// settings are the variables of the stack itself.
type settings struct {
	addr, emulatorAddr, natsAddr, data string
	nats                               *queue.ConnConfig // nil: the embedded server
	natsBy                             string            // the variable that says so
	queue                              queue.Config
}

// DefaultAddr is where the front door listens unless XINGHE_ADDR is set.
const DefaultAddr = "127.0.0.1:8787"

// DefaultEmulatorAddr is where the emulator listens unless XINGHE_EMULATOR_ADDR is set.
const DefaultEmulatorAddr = "127.0.0.1:8788"

func readSettings(vars *env.Vars, log zerolog.Logger) settings {
	set := settings{
		addr:         address(vars, "XINGHE_ADDR", DefaultAddr),
		emulatorAddr: address(vars, "XINGHE_EMULATOR_ADDR", DefaultEmulatorAddr),
		natsAddr:     address(vars, "XINGHE_NATS_ADDR", "127.0.0.1:4222"),
		data:         vars.String("XINGHE_DATA", ".xinghe"),
		queue:        queue.ConfigFromEnv(vars),
	}
	if queue.Configured(vars) {
		real := queue.FromEnv(vars, connectionName, log)
		set.nats = &real
		for _, name := range []string{"NATS_CONTEXT", "NATS_URL_FILE", "NATS_URL"} {
			if vars.String(name, "") != "" {
				set.natsBy = name // the last comes before the others
			}
		}
	}
	return set
}

// address reads where to listen.
func address(vars *env.Vars, name, fallback string) string {
	addr := vars.String(name, fallback)
	_, _, err := split(addr)
	vars.Fault(name, err)
	return addr
}

// split gives the host and the port of an address.
func split(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err == nil {
		var number uint64
		number, err = strconv.ParseUint(text, 10, 16)
		port = int(number)
	}
	if err != nil {
		return "", 0, fmt.Errorf("%q is no address such as 127.0.0.1:8787", addr)
	}
	return host, port, nil
}

// connectionName is what operators see of the stack's connection to NATS.
const connectionName = "xinghe-local"

// The variables by which each service is reached. A service whose address is not set is
// emulated, and then none of its variables reaches the functions: real credentials are
// not sent to the emulator.
var (
	xingchenVars = []string{"XINGCHEN_BASE_URL", "XINGCHEN_API_KEY", "XINGCHEN_API_KEY_FILE"}
	beebotVars   = []string{
		"BEEBOT_ENDPOINT", "BEEBOT_STREAM_URL", "BEEBOT_AGENT_KEY", "BEEBOT_AGENT_KEY_FILE",
		"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
		"ALIBABA_CLOUD_SECURITY_TOKEN", "ALIBABA_CLOUD_SECURITY_TOKEN_FILE",
	}
)

// DefaultKey is the key with all scopes that the front door takes unless others are set.
const DefaultKey = "local-dev"

// upstream reads variables through the stack's getenv, those of emulated services replaced.
func (s *Stack) upstream(cfg Config) func(string) string {
	set := s.replaced(cfg)
	return func(name string) string {
		if value, ok := set[name]; ok {
			return value
		}
		return cfg.Getenv(name)
	}
}

// Variables are those that programs need beside the stack's own to be a part of it: where
// the services, NATS and the files are, and the keys. cfg is what the stack was started with.
func (s *Stack) Variables(cfg Config) map[string]string {
	set := s.replaced(cfg)
	if s.nats != nil {
		set["NATS_URL"] = s.NATSURL
	}
	if cfg.Getenv("XINGHE_SINK") == "" {
		set["XINGHE_SINK"] = "folder:" + s.Exports
	}
	return set
}

// replaced are the variables that the stack has its own values for.
func (s *Stack) replaced(cfg Config) map[string]string {
	set := map[string]string{}
	if cfg.Getenv("XINGCHEN_BASE_URL") == "" {
		for _, name := range xingchenVars {
			set[name] = ""
		}
		set["XINGCHEN_BASE_URL"], set["XINGCHEN_API_KEY"] = s.EmulatorURL, first(cfg.Emulator.XingchenKeys, emulator.DefaultXingchenKey)
		if cfg.Getenv(webhookapi.EnvSources) == "" && cfg.Getenv(webhookapi.EnvSources+"_FILE") == "" {
			set[webhookapi.EnvSources] = DefaultWebhookSources
		}
		// The emulator's pictures are on this machine.
		set["XINGHE_ALLOW_HOSTS"] = strings.TrimPrefix(s.EmulatorURL, "http://") + "," + cfg.Getenv("XINGHE_ALLOW_HOSTS")
	}
	if cfg.Getenv("BEEBOT_ENDPOINT") == "" {
		for _, name := range beebotVars {
			set[name] = ""
		}
		account := first(cfg.Emulator.Accounts, beebot.Account{
			AccessKeyID: emulator.DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(emulator.DefaultAccessKeySecret),
		})
		set["BEEBOT_ENDPOINT"], set["BEEBOT_STREAM_URL"] = s.EmulatorURL, s.EmulatorURL
		set["ALIBABA_CLOUD_ACCESS_KEY_ID"] = account.AccessKeyID
		set["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = account.AccessKeySecret.Reveal()
		set["ALIBABA_CLOUD_SECURITY_TOKEN"] = account.SecurityToken.Reveal()
		set["BEEBOT_INSTANCES"] = cmp.Or(cfg.Getenv("BEEBOT_INSTANCES"), emulator.DefaultInstanceID+"=tongyi")
		set["BEEBOT_AGENT_KEY"] = cmp.Or(cfg.Emulator.AgentKey, emulator.DefaultAgentKey)
	}
	if !ownKeys(cfg.Getenv) {
		set["XINGHE_API_KEYS"] = DefaultKey
	}
	return set
}

func ownKeys(getenv func(string) string) bool {
	return getenv("XINGHE_API_KEYS") != "" || getenv("XINGHE_API_KEYS_FILE") != ""
}

func first[T any](list []T, fallback T) T {
	if len(list) > 0 {
		return list[0]
	}
	return fallback
}
