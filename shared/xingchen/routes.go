package xingchen

import (
	"net/http"
	"slices"
	"strings"
)

// Route is one call of the API. The gateway chooses the service behind a path by the header
// x-fag-servicename, and streams where the name of the stream variant is sent. It follows
// Xingchen HTTP API, calling convention, and the route map of the official SDKs.
type Route struct {
	Method string
	// Path begins with /v2/api/. A last part in braces stands for any one path element.
	Path    string
	Service string
	// StreamService is the name that makes the call a stream; empty where there is none.
	StreamService string
	// Bare marks the model interface, whose answers have the form of OpenAI's instead of the
	// envelope and whose requests ask for a stream in the body.
	Bare bool
}

// Streams reports whether the route has a stream variant.
func (r Route) Streams() bool { return r.StreamService != "" }

// The routes that the typed layer uses.
var (
	routeChat             = post("/v2/api/chat/send", "aca-chat-send").withStream("aca-chat-send-sse")
	routeCharacterCreate  = post("/v2/api/character/create", "aca-character-create")
	routeCharacterUpdate  = post("/v2/api/character/update", "aca-character-update")
	routeCharacterDetails = get("/v2/api/character/details", "aca-character-details")
	routeCharacterSearch  = post("/v2/api/character/search", "aca-character-search")
	routeCharacterDelete  = post("/v2/api/character/delete", "aca-character-delete")
	routeHistories        = post("/v2/api/chat/message/histories", "aca-message-history")
	routeRating           = post("/v2/api/chat/rating", "aca-message-rating")
	routeReminder         = post("/v2/api/chat/reminder", "aca-chat-reminder")
	routePollImage        = get("/v2/api/chat/polling/image", "aca-polling-image")
	routeStop             = post("/v2/api/chat/stop", "aca-chat-stop")
	routeReset            = post("/v2/api/chat/reset", "aca-chat-reset")
)

var routes = []Route{
	routeChat,
	routeCharacterCreate, routeCharacterUpdate, routeCharacterDetails, routeCharacterSearch, routeCharacterDelete,
	routeHistories, routeRating, routeReminder, routePollImage, routeStop, routeReset,
	post("/v2/api/chat/generate", "aca-chat-regenerate"),
	post("/v2/api/character/createOrUpdateVersion", "aca-character-version-mgmt"),
	get("/v2/api/character/versions/{characterId}", "aca-character-versions"),
	get("/v2/api/character/newversion/recommend/{characterId}", "aca-character-version-recommend"),
	post("/v2/api/character/auto/desc", "aca-char-auto-desc"),
	post("/v2/api/extract/summary", "aca-extract-memory-summary"),
	post("/v2/api/extract/kv", "aca-extract-memory-kv"),
	post("/v2/api/groupchat/send", "aca-groupchat-send").withStream("aca-groupchat-send-sse"),
	post("/v2/api/groupchat/nextSpeaker", "aca-groupchat-nextspeaker"),
	post("/v2/api/common/file/asyn/upload", "aca-doc-converter-submit"),
	get("/v2/api/common/file/asyn/download", "aca-doc-converter-result"),
	post("/v2/api/knowledge_base/create", "aca-kb-create"),
	post("/v2/api/knowledge_base/update", "aca-kb-update"),
	post("/v2/api/knowledge_base/search", "aca-kb-search"),
	post("/v2/api/knowledge_base/delete", "aca-kb-delete"),
	post("/v2/api/knowledge_base/detail/upload", "aca-kb-detail-upload"),
	post("/v2/api/knowledge_base/detail/update", "aca-kb-detail-update"),
	post("/v2/api/knowledge_base/detail/search", "aca-kb-detail-search"),
	post("/v2/api/knowledge_base/detail/delete", "aca-kb-detail-delete"),
	post("/v2/api/chat/completions", "aca-chat-completions").withStream("aca-chat-completions").bare(),
	post("/v2/api/completions", "aca-completion").withStream("aca-completion").bare(),
	post("/v2/api/chatFlow/send", "aca-flow-chat-send").withStream("aca-flow-chat-send-sse"),
}

func post(path, service string) Route {
	return Route{Method: http.MethodPost, Path: path, Service: service}
}

func get(path, service string) Route {
	return Route{Method: http.MethodGet, Path: path, Service: service}
}

func (r Route) withStream(service string) Route {
	r.StreamService = service
	return r
}

func (r Route) bare() Route {
	r.Bare = true
	return r
}

// Routes returns every known route, role chat first.
func Routes() []Route { return slices.Clone(routes) }

type routeKey struct{ method, path string }

// routesByPath holds routes by their path, and those that end in a parameter by the path up
// to and with the last slash.
var routesByPath = func() map[routeKey]Route {
	index := make(map[routeKey]Route, len(routes))
	for _, r := range routes {
		path, _, _ := strings.Cut(r.Path, "{")
		index[routeKey{r.Method, path}] = r
	}
	return index
}()

// RouteFor returns the route of a request. The workflow service, which shares the path
// /v2/api/chat/send with role chat, is told apart by its service name only: set
// [Call.Service] for it.
func RouteFor(method, path string) (Route, bool) {
	if r, ok := routesByPath[routeKey{method, path}]; ok {
		return r, !strings.HasSuffix(path, "/")
	}
	last := strings.LastIndexByte(path, '/')
	r, ok := routesByPath[routeKey{method, path[:last+1]}]
	return r, ok && last+1 < len(path)
}
