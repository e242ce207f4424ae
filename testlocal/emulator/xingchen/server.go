package xingchen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"xinghe/testlocal/emulator/fault"
)

// maxBody is the largest request body that is read.
const maxBody = 8 << 20

// Server answers the paths below /v2/api/. It is an [http.Handler], safe for concurrent use; [Server.Close] saves the
// state and ends its goroutine.
type Server struct {
	cfg      Config
	ids      idSource
	accounts map[string]string
	routes   map[string]endpoint
	scripts  map[string]script
	formula  *formula
	quota    quota
	signer   addressSigner

	state *state
	saver *saver

	mu      sync.Mutex
	talking map[talker]bool
	running map[string]*running
}

// talker is who may hold one conversation at a time.
type talker struct{ account, user string }

// New makes a server, born with the characters of the documents' examples or with what DataDir keeps.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		accounts: make(map[string]string),
		talking:  make(map[talker]bool),
		running:  make(map[string]*running),
		state:    newState(),
		signer:   newAddressSigner(cfg.Seed),
	}
	s.ids.seed = cfg.Seed
	for _, key := range cfg.Keys {
		s.accounts[key] = accountOf(key)
	}
	s.quota.perSecond = cfg.Assume.RequestsPerSecond
	s.routes = s.endpoints()
	if err := s.bear(); err != nil {
		return nil, err
	}
	if cfg.History != nil {
		s.formula = newFormula(*cfg.History, cfg.Seed, s.accounts[cfg.Keys[0]])
	}
	if cfg.DataDir != "" {
		saver, err := openSaver(s, cfg.DataDir)
		if err != nil {
			return nil, err
		}
		s.saver = saver
	}
	return s, nil
}

// Close saves the state, if it is kept, and ends the server's goroutine. Requests that still run are not waited for.
func (s *Server) Close() error {
	if s.saver == nil {
		return nil
	}
	return s.saver.close()
}

// call is one request on its way through an endpoint.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	path      string
	key       string
	account   string
	id        string // that ends the path, where the route has one
	requestID string
	stream    bool
	body      []byte
	plan      *fault.Plan
}

// endpoint is one row of the route table.
type endpoint struct {
	method  string
	service string
	streams bool
	handle  func(*call) (any, error)
}

// errAnswered is returned by an endpoint that wrote its answer itself.
var errAnswered = errors.New("answered")

func (s *Server) endpoints() map[string]endpoint {
	post, get := http.MethodPost, http.MethodGet
	return map[string]endpoint{
		"/v2/api/chat/send":              {post, "aca-chat-send", true, s.chat},
		"/v2/api/chat/generate":          {post, "aca-chat-regenerate", true, s.regenerate},
		"/v2/api/chat/stop":              {post, "aca-chat-stop", false, s.stop},
		"/v2/api/chat/reset":             {post, "aca-chat-reset", false, s.reset},
		"/v2/api/groupchat/send":         {post, "aca-groupchat-send", true, s.groupChat},
		"/v2/api/chat/message/histories": {post, "aca-message-history", false, s.histories},
		"/v2/api/chat/rating":            {post, "aca-message-rating", false, s.rate},
		"/v2/api/chat/reminder":          {post, "aca-chat-reminder", false, s.remind},
		"/v2/api/chat/polling/image":     {get, "aca-polling-image", false, s.pollImage},
		"/v2/api/character/create":       {post, "aca-character-create", false, s.createCharacter},
		"/v2/api/character/update":       {post, "aca-character-update", false, s.updateCharacter},
		"/v2/api/character/details":      {get, "aca-character-details", false, s.characterDetails},
		"/v2/api/character/search":       {post, "aca-character-search", false, s.searchCharacters},
		"/v2/api/character/delete":       {post, "aca-character-delete", false, s.deleteCharacter},

		"/v2/api/character/createOrUpdateVersion": {post, "aca-character-version-mgmt", false, s.putVersion},
		"/v2/api/character/versions/":             {get, "aca-character-versions", false, s.listVersions},
		"/v2/api/character/newversion/recommend/": {get, "aca-character-version-recommend", false, s.recommendVersion},
		"/v2/api/character/auto/desc":             {post, "aca-char-auto-desc", false, s.describe},
		"/v2/api/extract/summary":                 {post, "aca-extract-memory-summary", false, s.summarise},
		"/v2/api/extract/kv":                      {post, "aca-extract-memory-kv", false, s.extract},
		"/v2/api/groupchat/nextSpeaker":           {post, "aca-groupchat-nextspeaker", false, s.nextSpeaker},
		"/v2/api/chat/completions":                {post, "aca-chat-completions", false, s.complete},
	}
}

// route finds the endpoint of a path, which may end in an id.
func (s *Server) route(path string) (route endpoint, id string, known bool) {
	if route, known = s.routes[path]; known && !strings.HasSuffix(path, "/") {
		return route, "", true
	}
	at := strings.LastIndexByte(path, '/') + 1
	route, known = s.routes[path[:at]]
	return route, path[at:], known && path[at:] != ""
}

// ServeHTTP answers a request to a path below /v2/api/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, path: r.URL.Path, requestID: s.ids.uuid(), key: bearer(r)}
	bodyErr := s.readBody(c)
	c.plan = s.cfg.Faults.Match(r.Context(), fault.Request{Route: c.path, Key: c.key, User: userOf(c)})
	if !c.plan.Begin(w, r) {
		return
	}
	if refusal, ok := c.plan.Refusal(); ok {
		refusal.SetHeader(w)
		s.refuse(r.Context(), c, s.planned(refusal.Status))
		return
	}
	if bodyErr != nil {
		s.refuse(r.Context(), c, bodyErr)
		return
	}
	data, err := s.dispatch(c)
	switch {
	case errors.Is(err, errAnswered):
	case err != nil:
		s.refuse(r.Context(), c, err)
	default:
		s.answer(r.Context(), c, data)
	}
}

func bearer(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

func (s *Server) readBody(c *call) error {
	if c.r.Body == nil {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return &refusal{
				status: http.StatusRequestEntityTooLarge, code: http.StatusRequestEntityTooLarge, gateway: true,
				name: "Request Entity Too Large", message: "Request Entity Too Large", key: errRequest.key,
			}
		}
		return errUnreadable
	}
	c.body = body
	return nil
}

func (s *Server) dispatch(c *call) (any, error) {
	route, id, known := s.route(c.path)
	c.id = id
	if !known {
		return nil, errRoute.naming("no service for this path")
	}
	if c.r.Method != route.method {
		return nil, errMethod
	}
	if err := s.checkHeaders(c, route); err != nil {
		return nil, err
	}
	account, known := s.accounts[c.key]
	if !known {
		return nil, errToken
	}
	c.account = account
	if !s.quota.admit(account, s.cfg.Now()) {
		c.w.Header().Set("Retry-After", "1")
		return nil, s.errThrottled()
	}
	return route.handle(c)
}

func (s *Server) checkHeaders(c *call, route endpoint) error {
	header := c.r.Header
	if header.Get("x-fag-appcode") != "aca" {
		return errRoute.naming("header x-fag-appcode must be aca")
	}
	name, streamed := header.Get("x-fag-servicename"), false
	if route.streams {
		name, streamed = strings.CutSuffix(name, "-sse")
	}
	if name != route.service {
		return errRoute.naming("header x-fag-servicename must be %s", route.service)
	}
	wanted := enabled(header, "X-AcA-SSE", "X-DashScope-SSE")
	if s.cfg.Assume.Strict && wanted != streamed {
		return errRequest.naming("headers x-fag-servicename and X-AcA-SSE disagree")
	}
	c.stream = streamed || wanted && route.streams
	if route.method == http.MethodGet {
		return nil
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return errRequest.naming("Content-Type must be application/json")
	}
	return nil
}

// enabled reports whether one of the spellings of a header says enable.
func enabled(header http.Header, names ...string) bool {
	for _, name := range names {
		if strings.EqualFold(strings.TrimSpace(header.Get(name)), "enable") {
			return true
		}
	}
	return false
}

// envelope is every answer that is no stream.
type envelope struct {
	RequestID string `json:"requestId"`
	Code      int    `json:"code"`
	Data      any    `json:"data"`
	Success   bool   `json:"success"`
}

const jsonType = "application/json;charset=UTF-8"

func (s *Server) answer(ctx context.Context, c *call, data any) {
	body, err := encode(envelope{RequestID: c.requestID, Code: http.StatusOK, Data: data, Success: true})
	if err != nil {
		s.refuse(ctx, c, err)
		return
	}
	_ = c.plan.Respond(ctx, c.w, http.StatusOK, jsonType, body)
}

func (s *Server) refuse(ctx context.Context, c *call, err error) {
	e := s.refused(err)
	_ = c.plan.Respond(ctx, c.w, s.statusOf(e), jsonType, s.errorBody(e, c.requestID))
}

// encode is json.Marshal without the escapes for HTML.
func encode(value any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
