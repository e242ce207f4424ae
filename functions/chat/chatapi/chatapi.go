// Package chatapi is the surface of the chat function: Xingchen's chat routes as Xingchen
// itself serves them, and conversations with Beebot robots. A user's calls take turns, the
// keys' budgets are kept, and what happened is told by events, after the answer and never
// in the client's way.
package chatapi

import (
	"slices"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/budget"
	"xinghe/shared/events"
	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/turn"
	"xinghe/shared/xingchen"
)

// Config holds what the surface stands on. Zero values mean the defaults.
type Config struct {
	// Xingchen and Beebot are the upstream clients. The routes of one that is nil are left
	// out.
	Xingchen *xingchen.Client
	Beebot   *beebot.Client
	// XingchenBudget and BeebotBudget bound the requests a second; nil for no bound.
	XingchenBudget, BeebotBudget *budget.Budget
	// Turns lets each user hold one conversation at a time. Default: turns of its own.
	Turns *turn.Turns
	// Events hears what happened; nil for nobody.
	Events *events.Publisher
	// EventText puts questions and answers into the events.
	EventText bool
	// Heartbeat is the longest silence of a stream. Default 15 s; negative for none.
	Heartbeat time.Duration
	// Disconnect says what becomes of a conversation whose client has left. Default: it is
	// cancelled.
	Disconnect relay.Disconnect
	// Output says in which way Xingchen streams texts. Default: as it is asked.
	Output relay.Output
	// ParallelKeys are the words by which Xingchen refuses a user's second conversation; see
	// [relay.Xingchen]. Default: aca.error.chat.parallel, which its documents do not name.
	ParallelKeys []string
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Turns == nil {
		c.Turns = turn.New(turn.Config{})
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.ParallelKeys == nil {
		c.ParallelKeys = []string{"aca.error.chat.parallel"}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Routes is the function's surface.
func Routes(cfg Config) []httpapi.Route {
	cfg = cfg.withDefaults()
	return slices.Concat(xingchenRoutes(cfg), beebotRoutes(cfg))
}

func beebotRoutes(cfg Config) []httpapi.Route {
	if cfg.Beebot == nil {
		return nil
	}
	bots := beebotHandler{
		relay: relay.Beebot{Client: cfg.Beebot, Heartbeat: cfg.Heartbeat, Disconnect: cfg.Disconnect},
		desk:  desk{cfg: cfg, budget: cfg.BeebotBudget, upstream: "beebot"},
	}
	return []httpapi.Route{
		{Pattern: "POST /v1/beebot/{instanceId}/chat", Scope: httpapi.ScopeChat, Handler: bots.chat},
		{Pattern: "POST /v1/beebot/{instanceId}/ask", Scope: httpapi.ScopeChat, Handler: bots.ask},
		{Pattern: "POST /v1/beebot/{instanceId}/stream-access", Scope: httpapi.ScopeChat, Handler: bots.streamAccess},
	}
}

func xingchenRoutes(cfg Config) []httpapi.Route {
	if cfg.Xingchen == nil {
		return nil
	}
	x := xingchenHandler{
		relay: relay.Xingchen{Client: cfg.Xingchen, Heartbeat: cfg.Heartbeat, Disconnect: cfg.Disconnect, Text: cfg.EventText, Output: cfg.Output, ParallelKeys: cfg.ParallelKeys},
		desk:  desk{cfg: cfg, budget: cfg.XingchenBudget, upstream: "xingchen"},
	}
	routes := []httpapi.Route{
		{Pattern: "POST /v2/api/chat/send", Scope: httpapi.ScopeChat, Handler: x.send},
		{Pattern: "POST /v2/api/groupchat/send", Scope: httpapi.ScopeChat, Handler: x.sendToGroup},
		{Pattern: "POST /v2/api/chat/reset", Scope: httpapi.ScopeChat, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/stop", Scope: httpapi.ScopeChat, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/message/histories", Scope: httpapi.ScopeMessageRead, Handler: x.forward},
		{Pattern: "GET /v2/api/chat/polling/image", Scope: httpapi.ScopeMessageRead, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/rating", Scope: httpapi.ScopeMessageWrite, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/reminder", Scope: httpapi.ScopeMessageWrite, Handler: x.forward},
		{Pattern: "GET /v2/api/{path...}", Scope: httpapi.ScopeUpstream, Handler: x.forward},
		{Pattern: "POST /v2/api/{path...}", Scope: httpapi.ScopeUpstream, Handler: x.forward},
	}
	for i := range routes {
		routes[i].Shape = httpapi.Envelope
	}
	return routes
}
