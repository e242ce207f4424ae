// Package chatapi is the surface of the chat function: Xingchen's chat routes as Xingchen
// itself serves them, and conversations with Beebot robots.
package chatapi

import (
	"errors"
	"net/http"
	"slices"

	"xinghe/shared/beebot"
	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// Config holds the upstream clients. Either may be nil; its routes are left out then.
type Config struct {
	Xingchen *xingchen.Client
	Beebot   *beebot.Client
}

// FromEnv makes the clients from the variables of both services. At least one service must
// be configured.
func FromEnv(vars *env.Vars) Config {
	cfg := Config{Xingchen: xingchen.FromEnv(vars), Beebot: beebot.FromEnv(vars)}
	if cfg.Xingchen == nil && cfg.Beebot == nil {
		vars.Fault("XINGCHEN_API_KEY", errors.New("set it for Xingchen, or ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET for Beebot"))
	}
	return cfg
}

// Routes is the function's surface.
func Routes(cfg Config) []httpapi.Route {
	return slices.Concat(xingchenRoutes(cfg.Xingchen), beebotRoutes(cfg.Beebot))
}

func beebotRoutes(client *beebot.Client) []httpapi.Route {
	if client == nil {
		return nil
	}
	bots := beebotHandler{relay: relay.Beebot{Client: client}}
	return []httpapi.Route{
		{Pattern: "POST /v1/beebot/{instanceId}/chat", Scope: httpapi.ScopeChat, Handler: bots.chat},
		{Pattern: "POST /v1/beebot/{instanceId}/ask", Scope: httpapi.ScopeChat, Handler: bots.ask},
		{Pattern: "POST /v1/beebot/{instanceId}/stream-access", Scope: httpapi.ScopeChat, Handler: bots.streamAccess},
	}
}

func xingchenRoutes(client *xingchen.Client) []httpapi.Route {
	if client == nil {
		return nil
	}
	x := xingchenHandler{relay: relay.Xingchen{Client: client}}
	routes := []httpapi.Route{
		{Pattern: "POST /v2/api/chat/send", Scope: httpapi.ScopeChat, Handler: x.send},
		{Pattern: "POST /v2/api/groupchat/send", Scope: httpapi.ScopeChat, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/reset", Scope: httpapi.ScopeChat, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/stop", Scope: httpapi.ScopeChat, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/message/histories", Scope: httpapi.ScopeMessageRead, Handler: x.forward},
		{Pattern: "GET /v2/api/chat/polling/image", Scope: httpapi.ScopeMessageRead, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/rating", Scope: httpapi.ScopeMessageWrite, Handler: x.forward},
		{Pattern: "POST /v2/api/chat/reminder", Scope: httpapi.ScopeMessageWrite, Handler: x.forward},
	}
	for i := range routes {
		routes[i].Shape = httpapi.Envelope
	}
	return routes
}

// xingchenHandler serves Xingchen's own routes.
type xingchenHandler struct{ relay relay.Xingchen }

func (x xingchenHandler) send(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	if err := checkChat(body); err != nil {
		return err
	}
	return x.serve(w, r, body)
}

// forward hands a request on whose body upstream checks.
func (x xingchenHandler) forward(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	return x.serve(w, r, body)
}

func (x xingchenHandler) serve(w http.ResponseWriter, r *http.Request, body []byte) error {
	route, ok := xingchen.RouteFor(r.Method, r.URL.Path)
	if !ok {
		return httpapi.NotFound(r.URL.Path)
	}
	call := xingchen.Call{Route: route, Query: r.URL.Query(), Body: body}
	return x.relay.Serve(w, r, call, route.Streams() && relay.WantsStream(r.Header))
}
