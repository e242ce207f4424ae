package xingchen

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"xinghe/testlocal/emulator/fault"
)

// Config configures a [Server]. Zero values mean the defaults named here.
type Config struct {
	// Keys are the API keys, one account each; the first owns what the server is born with. Default: lm-local, lm-other.
	Keys []string
	// Now is the clock of everything that is stored or expires. Default: time.Now.
	Now func() time.Time
	// Seed decides ids and the choice of words. Default: 1.
	Seed uint64
	// Pace is the time between the frames of a stream. 0 sends them as fast as they can be written.
	Pace time.Duration
	// Faults strikes requests; nil for none.
	Faults *fault.Engine
	// Assume says what is done where the documents are silent.
	Assume Assumptions
	// History answers pages of a large history by formula, beside what is stored; nil for none.
	History *History
	// PublicURL is the address under which clients reach the server, for addresses of pictures. Default: the host that
	// the request names.
	PublicURL string
	// DataDir keeps the state in a file of this folder; empty keeps it in memory.
	DataDir string
	// Replier words the replies of characters; one that is a [Streamer] streams them. Default: the script.
	Replier Replier
}

// Replier words replies. Reply returns the text that a character answers; the script is one implementation. It is called
// by many requests at a time.
type Replier interface {
	Reply(ctx context.Context, prompt Prompt) (string, error)
}

// Streamer is a Replier that can hand a reply on while it is being made. Stream yields its pieces; an error ends it, and
// becomes the service's: throttling if the error has a method Throttled that returns true, else a failure of the system.
type Streamer interface {
	Replier
	Stream(ctx context.Context, prompt Prompt) iter.Seq2[string, error]
}

// DefaultKeys are the keys of the two accounts that exist unless others are configured.
func DefaultKeys() []string { return []string{"lm-local", "lm-other"} }

func (cfg Config) withDefaults() Config {
	if len(cfg.Keys) == 0 {
		cfg.Keys = DefaultKeys()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Seed == 0 {
		cfg.Seed = 1
	}
	if cfg.Faults == nil {
		cfg.Faults = fault.New(cfg.Seed)
	}
	cfg.Assume = cfg.Assume.withDefaults()
	return cfg
}

func (cfg Config) validate() error {
	for i, key := range cfg.Keys {
		if key == "" {
			return fmt.Errorf("keys[%d]: empty", i)
		}
		if slices.Contains(cfg.Keys[:i], key) {
			return fmt.Errorf("keys[%d]: named twice", i)
		}
	}
	if cfg.Pace < 0 {
		return errors.New("pace: negative")
	}
	if cfg.History != nil {
		return cfg.History.Validate()
	}
	return nil
}
