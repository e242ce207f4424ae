package chatapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"xinghe/shared/beebot"
	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// openaiHandler serves characters, models and robots to OpenAI's clients. Those of a service
// that is not configured are not known to it.
type openaiHandler struct {
	cfg    Config
	x      *xingchenHandler
	bots   *beebotHandler
	owned  *characterList
	robots map[string]beebot.Robot
	route  xingchen.Route
}

func openaiRoutes(cfg Config) []httpapi.Route {
	o := &openaiHandler{cfg: cfg, robots: map[string]beebot.Robot{}}
	if cfg.Xingchen != nil {
		o.x = newXingchenHandler(cfg)
		o.owned = newCharacterList(cfg.Xingchen, o.x.desk)
		o.route, _ = xingchen.RouteFor(http.MethodPost, "/v2/api/chat/send")
	}
	if cfg.Beebot != nil {
		o.bots = newBeebotHandler(cfg)
		for _, robot := range cfg.Robots {
			o.robots[robot.ID] = robot
		}
	}
	routes := []httpapi.Route{
		{Pattern: "POST /v1/chat/completions", Handler: o.complete},
		{Pattern: "GET /v1/models", Handler: o.models},
		{Pattern: "GET /v1/models/{model}", Handler: o.model},
	}
	for i := range routes {
		routes[i].Scope, routes[i].Shape = httpapi.ScopeChat, httpapi.OpenAI
	}
	return routes
}

// partner is whom a model's name stands for: kind is one of those of [jobs.Bot].
type partner struct {
	kind, id string
	classic  bool // of a robot
}

func (p partner) bot() string { return jobs.Bot(p.kind, p.id) }

// partner finds out who is meant. Whether a character or a model of Xingchen's exists is for
// upstream to say.
func (o *openaiHandler) partner(model string) (partner, error) {
	kind, id, found := strings.Cut(model, ":")
	robot, isRobot := o.robots[id]
	switch {
	case kind == jobs.BotBeebot && isRobot:
		return partner{kind: kind, id: id, classic: robot.Classic}, nil
	case kind == jobs.BotBeebot && found:
		return partner{}, unknownModel(model, "BEEBOT_INSTANCES does not list this robot")
	case o.cfg.Xingchen == nil:
	case kind == jobs.BotCharacter && id != "":
		return partner{kind: kind, id: id}, nil
	case !found && o.isXingchenModel(model):
		return partner{kind: jobs.BotModel, id: model}, nil
	}
	return partner{}, unknownModel(model, "a model is character:<characterId>, beebot:<instanceId>, or the name of a Xingchen model")
}

func unknownModel(model, why string) *httpapi.Error {
	return &httpapi.Error{
		Status: http.StatusNotFound, Code: httpapi.CodeNotFound, Detail: fmt.Sprintf("model %q does not exist: %s", model, why),
		Fields: []httpapi.FieldError{{Field: "model", Message: why}},
	}
}

// missing says of a refusal which model upstream does not know, if that is why.
func missing(err error, model string) error {
	refusal, ok := errors.AsType[*httpapi.Error](err)
	if !ok || refusal.Status != http.StatusNotFound {
		return err
	}
	told := unknownModel(model, refusal.Detail)
	told.Err = err
	return told
}

// complete serves POST /v1/chat/completions.
func (o *openaiHandler) complete(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	req, err := readCompletion(body)
	if err != nil {
		return err
	}
	to, err := o.partner(req.Model)
	if err != nil {
		return err
	}
	if err := req.checkFor(to); err != nil {
		return err
	}
	c := &desk.Conversation{
		Bot: to.bot(), User: req.User, Surface: jobs.SurfaceOpenAI, Question: req.question(), Stream: req.Stream,
	}
	if c.User == "" {
		c.User, c.Anonymous = httpapi.NewID("user"), true
	}
	told := relay.Completion{Model: req.Model, Created: o.cfg.Now(), Stream: req.Stream, Usage: req.StreamOptions.IncludeUsage}
	if to.kind == jobs.BotBeebot {
		err := o.bots.desk.Serve(r, c, func(outcome *relay.Outcome) error {
			return o.bots.relay.Complete(w, r, beebot.Robot{ID: to.id, Classic: to.classic}, beebot.StreamRequest{
				Utterance: req.question(), SessionID: req.Metadata[metaSession], SenderID: c.User, SenderNick: req.userName(),
			}, told, outcome)
		})
		return missing(err, req.Model)
	}
	question, err := json.Marshal(req.roleChat(to, c.User))
	if err != nil {
		return fmt.Errorf("encode role chat: %w", err)
	}
	err = o.x.desk.Serve(r, c, func(outcome *relay.Outcome) error {
		return o.x.relay.Complete(w, r, &xingchen.Call{Route: o.route, Body: question}, told, outcome)
	})
	return missing(err, req.Model)
}
