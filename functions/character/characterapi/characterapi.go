// Package characterapi is the surface of the character function: character management as
// Xingchen itself serves it. What the documents limit is checked before a request leaves,
// every fault at once; what passes goes on byte for byte. Who changed which character is
// told by events, after the answer.
package characterapi

import (
	"net/http"

	"xinghe/shared/egress"
	"xinghe/shared/env"
	"xinghe/shared/events"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// Source is that of the function's events.
const Source = "/xinghe/character"

// Config holds what the surface stands on.
type Config struct {
	// Client of Xingchen. Without it the function has no routes.
	Client *xingchen.Client
	// Addresses judges those of avatars. Required with Client.
	Addresses *Addresses
	// Events hears of changes; nil for nobody.
	Events *events.Publisher
}

// FromEnv makes the client, nil if its variables are not set, and reads XINGHE_ALLOW_HOSTS.
// Events are for the caller to add.
func FromEnv(vars *env.Vars) Config {
	cfg := Config{Client: xingchen.FromEnv(vars)}
	cfg.Addresses, _ = NewAddresses(egress.FromEnv(vars)) // what it does not take has been noted
	return cfg
}

// check looks at a request, whose body has been parsed; it is nil if there is none.
type check func(c *checker, r *http.Request, body any)

// operation is a route, what is checked, and the event of its success.
type operation struct {
	pattern string
	scope   httpapi.Scope
	check   check
	event   string
}

var operations = []operation{
	{"POST /v2/api/character/create", httpapi.ScopeCharacterWrite, checkCreate, jobs.EventCharacterCreated},
	{"POST /v2/api/character/update", httpapi.ScopeCharacterWrite, checkUpdate, jobs.EventCharacterUpdated},
	{"POST /v2/api/character/delete", httpapi.ScopeCharacterWrite, checkDelete, jobs.EventCharacterDeleted},
	{"POST /v2/api/character/createOrUpdateVersion", httpapi.ScopeCharacterWrite, checkVersion, jobs.EventCharacterVersioned},
	{"GET /v2/api/character/details", httpapi.ScopeCharacterRead, checkDetails, ""},
	{"POST /v2/api/character/search", httpapi.ScopeCharacterRead, checkSearch, ""},
	{"GET /v2/api/character/versions/{characterId}", httpapi.ScopeCharacterRead, nil, ""},
	{"GET /v2/api/character/newversion/recommend/{characterId}", httpapi.ScopeCharacterRead, nil, ""},
	// It writes a description from a text or a file, and touches no character.
	{"POST /v2/api/character/auto/desc", httpapi.ScopeUpstream, nil, ""},
}

// Routes is the function's surface.
func Routes(cfg Config) []httpapi.Route {
	if cfg.Client == nil {
		return nil
	}
	h := handler{cfg: cfg, relay: &relay.Xingchen{Client: cfg.Client}}
	routes := make([]httpapi.Route, 0, len(operations))
	for _, op := range operations {
		routes = append(routes, httpapi.Route{
			Pattern: op.pattern, Scope: op.scope, Shape: httpapi.Envelope,
			Handler: func(w http.ResponseWriter, r *http.Request) error { return h.serve(op, w, r) },
		})
	}
	return routes
}

type handler struct {
	cfg   Config
	relay *relay.Xingchen
}

// serve checks a request and hands it on.
func (h handler) serve(op operation, w http.ResponseWriter, r *http.Request) error {
	route, ok := xingchen.RouteFor(r.Method, r.URL.Path)
	if !ok {
		return httpapi.NotFound(r.URL.Path)
	}
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	document, err := h.check(op, r, body)
	if err != nil {
		return err
	}
	call := &xingchen.Call{Route: route, Path: r.URL.EscapedPath(), Query: r.URL.Query(), Body: body}
	if op.event == "" || h.cfg.Events == nil {
		return h.relay.Serve(w, r, call, relay.Whole, relay.NewOutcome())
	}
	out := &listener{ResponseWriter: w}
	err = h.relay.Serve(out, r, call, relay.Whole, relay.NewOutcome())
	h.tell(op, r, document, out)
	return err
}

// check parses the body and names every fault of the request. The official client sends a
// deletion without one.
func (h handler) check(op operation, r *http.Request, body []byte) (document any, err error) {
	if len(body) > 0 || r.Method == http.MethodPost && r.URL.RawQuery == "" {
		if document, err = parse(body); err != nil {
			return nil, err
		}
	}
	if op.check == nil {
		return document, nil
	}
	c := &checker{address: h.cfg.Addresses.fault}
	op.check(c, r, document)
	return document, httpapi.Invalid(c.faults...)
}
