// Package characterapi is the surface of the character function: character management as
// Xingchen itself serves it.
package characterapi

import (
	"net/http"

	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// scopes says what a key must be allowed for each route of Xingchen's character
// management. It follows Xingchen HTTP API, character management.
var scopes = map[string]httpapi.Scope{
	"POST /v2/api/character/create":                            httpapi.ScopeCharacterWrite,
	"POST /v2/api/character/update":                            httpapi.ScopeCharacterWrite,
	"POST /v2/api/character/delete":                            httpapi.ScopeCharacterWrite,
	"POST /v2/api/character/createOrUpdateVersion":             httpapi.ScopeCharacterWrite,
	"GET /v2/api/character/details":                            httpapi.ScopeCharacterRead,
	"POST /v2/api/character/search":                            httpapi.ScopeCharacterRead,
	"GET /v2/api/character/versions/{characterId}":             httpapi.ScopeCharacterRead,
	"GET /v2/api/character/newversion/recommend/{characterId}": httpapi.ScopeCharacterRead,
}

// Routes is the function's surface. Without a client there is none.
func Routes(client *xingchen.Client) []httpapi.Route {
	if client == nil {
		return nil
	}
	h := handler{relay: relay.Xingchen{Client: client}}
	routes := make([]httpapi.Route, 0, len(scopes))
	for pattern, scope := range scopes {
		routes = append(routes, httpapi.Route{Pattern: pattern, Scope: scope, Shape: httpapi.Envelope, Handler: h.forward})
	}
	return routes
}

type handler struct{ relay relay.Xingchen }

// forward hands a request on; that a body is a JSON document is all that is asked of it.
func (h handler) forward(w http.ResponseWriter, r *http.Request) error {
	route, ok := xingchen.RouteFor(r.Method, r.URL.Path)
	if !ok {
		return httpapi.NotFound(r.URL.Path)
	}
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	if len(body) > 0 {
		var document map[string]any
		if err := httpapi.DecodeLenient(body, &document); err != nil {
			return err
		}
	}
	call := xingchen.Call{Route: route, Path: r.URL.EscapedPath(), Query: r.URL.Query(), Body: body}
	_, err = h.relay.Serve(w, r, call, relay.Whole)
	return err
}
