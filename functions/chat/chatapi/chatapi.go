// Package chatapi is the surface of the chat function: Xingchen's chat routes as Xingchen
// itself serves them, conversations with Beebot robots, and both as OpenAI's clients hold
// them. A user's calls take turns, the keys' budgets are kept, and what happened is told by
// events, after the answer and never in the client's way.
package chatapi

import (
	"slices"
	"strings"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/budget"
	"xinghe/shared/desk"
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
	// [relay.Xingchen]. Default: [relay.DefaultParallelKeys], which its documents do not name.
	ParallelKeys []string
	// Robots are those that OpenAI's clients may talk to, as "beebot:<ID>".
	Robots []beebot.Robot
	// Models are the models of Xingchen's that OpenAI's clients are told of, beside the
	// characters of the account. Default: xingchen-plus-v2 and xingchen-plus.
	Models []string
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
		c.ParallelKeys = relay.DefaultParallelKeys
	}
	if c.Models == nil {
		c.Models = []string{"xingchen-plus-v2", "xingchen-plus"}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// desk is where calls of a service line up.
func (c Config) desk(upstream string, share *budget.Budget) desk.Desk {
	return desk.Desk{Upstream: upstream, Turns: c.Turns, Budget: share, Events: c.Events, EventText: c.EventText, Now: c.Now}
}

// Routes is the function's surface.
func Routes(cfg Config) []httpapi.Route {
	cfg = cfg.withDefaults()
	return slices.Concat(xingchenRoutes(cfg), beebotRoutes(cfg), openaiRoutes(cfg))
}

func beebotRoutes(cfg Config) []httpapi.Route {
	if cfg.Beebot == nil {
		return nil
	}
	bots := newBeebotHandler(cfg)
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
	x := newXingchenHandler(cfg)
	routes := []httpapi.Route{
		{Pattern: "POST /v2/api/chat/send", Scope: httpapi.ScopeChat, Handler: x.send},
		{Pattern: "POST /v2/api/groupchat/send", Scope: httpapi.ScopeChat, Handler: x.sendToGroup},
		{Pattern: "POST /v2/api/chat/reset", Scope: httpapi.ScopeChat, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/stop", Scope: httpapi.ScopeChat, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/message/histories", Scope: httpapi.ScopeMessageRead, Handler: x.forward},
		{Pattern: "GET /v2/api/chat/polling/image", Scope: httpapi.ScopeMessageRead, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/rating", Scope: httpapi.ScopeMessageWrite, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/reminder", Scope: httpapi.ScopeMessageWrite, Handler: x.forward},
	}
	routes = append(routes, forwarded(routes, x.forward)...)
	for i := range routes {
		routes[i].Shape = httpapi.Envelope
	}
	return routes
}

// forwarded are the other routes that upstream is known to have, each by its own pattern, so
// that a wrong method is told as such. Character management is the character function's.
func forwarded(own []httpapi.Route, forward httpapi.HandlerFunc) []httpapi.Route {
	var routes []httpapi.Route
	for _, known := range xingchen.Routes() {
		pattern := known.Method + " " + known.Path
		named := func(route httpapi.Route) bool { return route.Pattern == pattern }
		if !strings.HasPrefix(known.Path, "/v2/api/character/") && !slices.ContainsFunc(own, named) {
			routes = append(routes, httpapi.Route{Pattern: pattern, Scope: httpapi.ScopeUpstream, Handler: forward})
		}
	}
	return routes
}
