// Package webhookapi is the surface of the webhook function: business systems send signed
// messages, and each source's configuration says what becomes of them. A character writes a
// reminder, a bot is asked, an answer is rated or an export started; what no action wants is
// published as an event, so that nothing accepted is lost.
//
//	sources, err := webhookapi.ParseSources(text, vars.Secret)
//	api, err := webhookapi.New(webhookapi.Config{Sources: sources, Queue: q, Xingchen: client})
//	handler, err := httpapi.New(httpapi.Config{Logger: log}, api.Routes()...)
//
// The signature is the authentication: no key is wanted. A message's id is remembered, and
// one that comes again is refused, unless the first was not carried out.
package webhookapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/relay"
	"xinghe/shared/turn"
	"xinghe/shared/xingchen"
)

// EventSource is the source of the function's events.
const EventSource = "/xinghe/webhook"

// Bucket holds the ids of messages, under their digests.
const Bucket = "xinghe_webhook_ids"

const (
	// remember is how long an id is known. No timestamp is good for so long.
	remember = 7 * 24 * time.Hour
	// lease is how long an id stays taken if the process dies that carries the message out.
	lease = 2 * time.Minute
	// actWithin bounds an action, so that it ends within the lease, and within what platforms
	// give a function.
	actWithin = 80 * time.Second
	// settleWithin bounds how long it takes to note what became of a message.
	settleWithin = 5 * time.Second
)

// Config holds what the surface stands on. Zero values mean the defaults.
type Config struct {
	// Sources that may send, from [ParseSources].
	Sources []*Source
	// Queue takes jobs and events, and remembers ids. Required.
	Queue *queue.Queue
	// Sink is the kind of sink that exports are written to. Default: "folder".
	Sink string
	// Xingchen and Beebot are the upstream clients; nil for one that no source needs.
	Xingchen *xingchen.Client
	Beebot   *beebot.Client
	// XingchenDesk and BeebotDesk are where calls line up. Default: desks of its own, without
	// budgets, of which nobody hears.
	XingchenDesk, BeebotDesk desk.Desk
	// Robots that may be asked, as "beebot:<ID>".
	Robots []beebot.Robot
	// ParallelKeys as in [relay.Xingchen]. Default: [relay.DefaultParallelKeys].
	ParallelKeys []string
	// Timeout bounds each wait for NATS. Default 5 s.
	Timeout time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	c.Sink = cmp.Or(c.Sink, jobs.SinkFolder)
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	if c.ParallelKeys == nil {
		c.ParallelKeys = relay.DefaultParallelKeys
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	for upstream, d := range map[string]*desk.Desk{"xingchen": &c.XingchenDesk, "beebot": &c.BeebotDesk} {
		if d.Turns == nil {
			*d = desk.Desk{Upstream: upstream, Turns: turn.New(turn.Config{}), Now: c.Now}
		}
	}
	return c
}

// API receives webhooks.
type API struct {
	cfg     Config
	sources map[string]*Source
	actions map[string]action
	replays *idempotency.Store
}

// New returns the surface, after it has checked every source against its action. It does
// not touch the network.
func New(cfg Config) (*API, error) {
	if cfg.Queue == nil {
		return nil, errors.New("webhookapi: no queue")
	}
	cfg = cfg.withDefaults()
	replays, err := idempotency.New(idempotency.Config{Queue: cfg.Queue, Bucket: Bucket, TTL: remember, Lease: lease})
	if err != nil {
		return nil, fmt.Errorf("webhookapi: %w", err)
	}
	exports, err := intake.NewExports(intake.ExportsConfig{Queue: cfg.Queue, Sink: cfg.Sink, Timeout: cfg.Timeout, Now: cfg.Now})
	if err != nil {
		return nil, fmt.Errorf("webhookapi: %w", err)
	}
	ratings, err := intake.NewRatings(intake.RatingsConfig{Queue: cfg.Queue, Timeout: cfg.Timeout, Now: cfg.Now})
	if err != nil {
		return nil, fmt.Errorf("webhookapi: %w", err)
	}
	a := &API{cfg: cfg, sources: map[string]*Source{}, replays: replays}
	a.actions = map[string]action{
		actionPublish: publish{a}, "reminder": reminder{a}, "rating": rating{ratings}, "export": export{exports}, "ask": newAsk(a),
	}
	var faults []error
	for _, source := range cfg.Sources {
		faults = append(faults, a.bind(source))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("%s: %w", EnvSources, err)
	}
	return a, nil
}

// Routes is the surface.
func (a *API) Routes() []httpapi.Route {
	return []httpapi.Route{{Pattern: "POST /v1/webhooks/{source}", Handler: a.receive}}
}

// Ready reports an error while NATS does not answer: nothing could be accepted.
func (a *API) Ready(ctx context.Context) error { return a.replays.Ready(ctx) }
