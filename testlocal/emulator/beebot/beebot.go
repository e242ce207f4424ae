// Package beebot is a stand-in for Alibaba's Beebot (智能对话机器人) on one machine: the RPC
// gateway with both signature schemes, ApplyForStreamAccessToken, the Chat call, the calls
// around a conversation, and the signed SSE stream of TongyiBeebotChat.
//
//	server, err := beebot.New(beebot.Config{})
//	mux.HandleFunc("/", server.ServeRPC)
//	mux.HandleFunc(beebot.StreamPath, server.ServeStream)
//
// It follows the Beebot conversation API page, the Beebot SSE stream page and the signature
// pages of Alibaba Cloud. Where they are silent, a field of [Assumptions] says what it does.
// What robots answer comes from a definition, see [Bot], or from a [Streamer]. It keeps
// everything in memory and calls no other service by itself.
package beebot

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"xinghe/shared/sign"
	"xinghe/testlocal/emulator/fault"
)

// StreamPath is the prefix of every stream address:
// /sse/paas4Json/{AccessToken}/{ChannelId}/{Sign}/{Timestamp}.
const StreamPath = "/sse/paas4Json/"

// Version is the API version that the gateway serves.
const Version = "2022-04-08"

// Defaults of [Config].
const (
	DefaultAccessKeyID     = "LTAI-local"
	DefaultAccessKeySecret = "local-secret"
	DefaultAgentKey        = "local"
	DefaultInstanceID      = "chatbot-cn-local"
)

// Config says who may call, what is answered and how. The zero value serves the default
// credentials and the robot [DefaultInstanceID].
type Config struct {
	// Accounts may sign RPC calls; none means one account with the default credentials.
	Accounts []Account
	// AgentKey is the default business space, chosen where a call names none; default
	// [DefaultAgentKey].
	AgentKey string
	// Bots are the robots; none means [DefaultBots].
	Bots []Bot
	// Now is the clock of signatures, tokens and sessions; default time.Now.
	Now func() time.Time
	// Seed decides ids, tokens and the choice between wordings. The same requests in the
	// same order give the same answers.
	Seed uint64
	// Pace is the pause before each frame of a stream but the first; default none.
	Pace time.Duration
	// Model words the answers that a language model would give in a stream; default: the
	// scripted wording of the robot's definition. An error ends the stream with InternalError.
	Model Model
	// Streamer takes the place of Model, and streams what it words.
	Streamer Streamer
	// Faults strike requests by route ("/Chat", "/ApplyForStreamAccessToken", "/sse/paas4Json"),
	// access key id and SenderId; default none.
	Faults *fault.Engine
	// Assume settles what the documents leave open.
	Assume Assumptions
	// Record is told of each request once it has been answered; default nobody. It is called
	// from many goroutines.
	Record func(Record)
}

// Account is one access key pair.
type Account struct {
	AccessKeyID     string
	AccessKeySecret sign.Secret
	// SecurityToken makes the pair a temporary one (STS): each call must carry the token.
	SecurityToken sign.Secret
	// Expires is when an STS token ends; zero means never.
	Expires time.Time
	// Inactive keys are refused with InvalidAccessKeyId.Inactive.
	Inactive bool
}

// Record is what a request hook sees: no secret, no signature and no text.
type Record struct {
	Time      time.Time
	Method    string
	Path      string // the stream path without its credentials
	Action    string
	AccountID string // access key id, where one was recognised
	AgentKey  string
	Instance  string
	MessageID string
	RequestID string
	Status    int
	Code      string // error code, empty for success
	Frames    int    // frames of a stream that were handed to the writer
}

// Server answers for both hosts of the service. It is safe for concurrent use and starts no
// goroutine of its own.
type Server struct {
	cfg      Config
	accounts map[string]Account
	spaces   map[string]bool
	bots     map[string]*robot
	tokens   *aged[*grant]
	nonces   *nonceStore
	sessions *aged[dialogueState]
	messages *messageStore
	rates    *rateStore
	journal  journal
	live     live
	serial   atomic.Uint64
}

// New checks the configuration and returns a server ready to answer. All faults of the
// configuration are reported at once.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:      cfg,
		accounts: make(map[string]Account, len(cfg.Accounts)),
		spaces:   map[string]bool{cfg.AgentKey: true},
		bots:     make(map[string]*robot, len(cfg.Bots)),
	}
	assume := cfg.Assume
	s.tokens = newAged[*grant](2*assume.TokenLifetime, maxTokens) // an expired token is still known for as long again
	s.nonces = newNonceStore(assume.TimestampWindow)
	s.sessions = newAged[dialogueState](assume.SessionLifetime, maxSessions)
	s.messages = newMessageStore(assume.SessionLifetime)
	s.rates = newRateStore(assume.RequestsPerSecond)
	var faults []error
	for _, account := range cfg.Accounts {
		if err := s.addAccount(account); err != nil {
			faults = append(faults, err)
		}
	}
	for _, bot := range cfg.Bots {
		if err := s.addBot(bot); err != nil {
			faults = append(faults, err)
		}
	}
	if err := cfg.Assume.validate(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("beebot emulator: %w", errors.Join(faults...))
	}
	return s, nil
}

func (c Config) withDefaults() Config {
	if len(c.Accounts) == 0 {
		c.Accounts = []Account{{AccessKeyID: DefaultAccessKeyID, AccessKeySecret: sign.NewSecret(DefaultAccessKeySecret)}}
	}
	if c.AgentKey == "" {
		c.AgentKey = DefaultAgentKey
	}
	if len(c.Bots) == 0 {
		c.Bots = DefaultBots()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Record == nil {
		c.Record = func(Record) {}
	}
	if c.Faults == nil {
		c.Faults = fault.New(c.Seed)
	}
	c.Assume = c.Assume.withDefaults()
	return c
}

func (s *Server) addAccount(account Account) error {
	if account.AccessKeyID == "" || account.AccessKeySecret.IsZero() {
		return errors.New("account: access key id and secret must not be empty")
	}
	if _, taken := s.accounts[account.AccessKeyID]; taken {
		return fmt.Errorf("account %s: given twice", account.AccessKeyID)
	}
	s.accounts[account.AccessKeyID] = account
	return nil
}

// ServeRPC answers the gateway's calls. Every answer is JSON.
func (s *Server) ServeRPC(w http.ResponseWriter, r *http.Request) { s.serveRPC(w, r) }

// ServeStream answers a stream address, see [StreamPath]. It returns when the stream is over
// or the request's context has ended.
func (s *Server) ServeStream(w http.ResponseWriter, r *http.Request) { s.serveStream(w, r) }
