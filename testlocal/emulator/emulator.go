package emulator

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/fault"
	"xinghe/testlocal/emulator/model"
	"xinghe/testlocal/emulator/xingchen"
)

// Credentials and names that the emulator is born with.
const (
	DefaultXingchenKey     = "lm-local"
	DefaultOtherKey        = "lm-other"
	DefaultAccessKeyID     = beebot.DefaultAccessKeyID
	DefaultAccessKeySecret = beebot.DefaultAccessKeySecret
	DefaultAgentKey        = beebot.DefaultAgentKey
	DefaultInstanceID      = beebot.DefaultInstanceID
)

// DefaultPace is the time between the frames of a stream, so that text streams visibly.
const DefaultPace = 30 * time.Millisecond

// NoPace sends frames as fast as they can be written.
const NoPace time.Duration = -1

// Config configures an [Emulator]. The zero value is the emulator of the local stack.
type Config struct {
	// XingchenKeys are API keys, an account each; the first owns what is born. Default: lm-local, lm-other.
	XingchenKeys []string
	// Accounts may sign Beebot's RPC calls. Default: LTAI-local with local-secret.
	Accounts []beebot.Account
	// AgentKey is Beebot's default business space. Default: local.
	AgentKey string
	// Bots are Beebot's robots. Default: chatbot-cn-local and what else package beebot has.
	Bots []beebot.Bot
	// Now is the clock of tokens, histories and pictures. Default: time.Now.
	Now func() time.Time
	// Seed decides ids, words and faults; the same requests in the same order give the same answers. Default: 1.
	Seed uint64
	// Pace is the time between frames. 0 means [DefaultPace]; use [NoPace] for none.
	Pace time.Duration
	// DataDir keeps Xingchen's state in a file of this folder. Empty keeps it in memory; Beebot's is always in memory.
	DataDir string
	// PublicURL is the address that clients reach the emulator by, for addresses of pictures. Default: the request's host.
	PublicURL string
	// History answers a large history of Xingchen by formula; nil for none.
	History *xingchen.History
	// Assume says what is done where the documents are silent.
	Assume Assumptions
	// Faults strike from the start; PUT /_emulator/faults replaces them. They carry a seed of their own, or Seed.
	Faults fault.Set
	// Replier words the replies of characters. Default: the script.
	Replier xingchen.Replier
	// Model words the answers of robots that a language model would give. Default: the script.
	Model beebot.Model
	// Words words both, in place of Replier and Model, by a language model, and streams what it says. [Emulator.Close] closes it.
	Words *model.Client
	// RequestLog is how many requests /_emulator/requests remembers. Default: 1000, at most 100,000; negative is none.
	RequestLog int
}

// Assumptions are the switches of both services.
type Assumptions struct {
	Xingchen xingchen.Assumptions
	Beebot   beebot.Assumptions
}

// Emulator is an [http.Handler] for all hosts of both services. It is safe for concurrent use.
type Emulator struct {
	xingchen *xingchen.Server
	beebot   *beebot.Server
	faults   *fault.Engine
	requests *requestLog
	gate     *gate
	words    *model.Client
	now      func() time.Time
	seed     uint64
}

// New makes an emulator; close it with [Emulator.Close].
func New(cfg Config) (*Emulator, error) {
	cfg = cfg.withDefaults()
	engine := fault.New(cfg.Seed)
	engine.SetClock(cfg.Now)
	if err := engine.Apply(cfg.Faults); err != nil {
		return nil, fmt.Errorf("emulator: faults: %w", err)
	}
	x, err := xingchen.New(xingchen.Config{
		Keys: cfg.XingchenKeys, Now: cfg.Now, Seed: cfg.Seed, Pace: max(cfg.Pace, 0), Faults: engine,
		Assume: cfg.Assume.Xingchen, History: cfg.History, PublicURL: cfg.PublicURL, DataDir: cfg.DataDir, Replier: cfg.replier(),
	})
	if err != nil {
		return nil, fmt.Errorf("emulator: xingchen: %w", err)
	}
	b, err := beebot.New(beebot.Config{
		Accounts: cfg.Accounts, AgentKey: cfg.AgentKey, Bots: cfg.Bots, Now: cfg.Now, Seed: cfg.Seed, Pace: max(cfg.Pace, 0),
		Model: cfg.Model, Streamer: cfg.streamer(), Faults: engine, Assume: cfg.Assume.Beebot,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("emulator: %w", err), x.Close())
	}
	e := &Emulator{
		xingchen: x, beebot: b, faults: engine, requests: newRequestLog(cfg.RequestLog), gate: new(gate),
		words: cfg.Words, now: cfg.Now, seed: cfg.Seed,
	}
	engine.OnRefuse(e.gate.shut)
	return e, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.XingchenKeys) == 0 {
		cfg.XingchenKeys = []string{DefaultXingchenKey, DefaultOtherKey}
	}
	if len(cfg.Accounts) == 0 {
		cfg.Accounts = []beebot.Account{{AccessKeyID: DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(DefaultAccessKeySecret)}}
	}
	cfg.Seed = cmp.Or(cfg.Seed, 1)
	cfg.Pace = cmp.Or(cfg.Pace, DefaultPace)
	cfg.RequestLog = min(cmp.Or(cfg.RequestLog, 1000), 100_000)
	return cfg
}

// Faults is the engine whose rules strike both services, for tests in Go.
func (e *Emulator) Faults() *fault.Engine { return e.faults }

// Seed is what replays this emulator's ids, words and, unless rules brought a seed of their own, faults.
func (e *Emulator) Seed() uint64 { return e.seed }

// Close saves the state if it is kept. It may be called more than once; requests that still run are not waited for.
func (e *Emulator) Close() error {
	if e.words != nil {
		e.words.Close()
	}
	return e.xingchen.Close()
}

// ServeHTTP answers every path; what no service knows gets an error in JSON.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPath) && !strings.HasPrefix(r.URL.Path, xingchen.FilesPath) {
		e.serveControl(w, r)
		return
	}
	w, r, done := e.requests.begin(e.now(), w, r)
	defer done()
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/v2/api/"):
		e.xingchen.ServeHTTP(w, r)
	case strings.HasPrefix(path, beebot.StreamPath):
		e.beebot.ServeStream(w, r)
	case path == "/":
		e.beebot.ServeRPC(w, r)
	case strings.HasPrefix(path, xingchen.FilesPath):
		e.xingchen.ServeFile(w, r)
	default:
		writeJSON(w, http.StatusNotFound, problem{Code: "NotFound", Message: "no service of the emulator has this path"})
	}
}
