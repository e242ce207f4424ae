package webhookapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"

	"xinghe/shared/beebot"
	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// ask puts a question to a bot, in the user's turn. The answer is told to the sender, and
// by an event to everybody else.
type ask struct {
	api    *API
	robots map[string]beebot.Robot
	route  xingchen.Route
	x      relay.Xingchen
	b      relay.Beebot
}

type askFields struct {
	Bot       string `json:"bot"`
	UserID    string `json:"userId"`
	Text      string `json:"text"`
	SessionID string `json:"sessionId"`
}

func newAsk(api *API) ask {
	a := ask{
		api: api, robots: map[string]beebot.Robot{},
		x: relay.Xingchen{Client: api.cfg.Xingchen, ParallelKeys: api.cfg.ParallelKeys},
		b: relay.Beebot{Client: api.cfg.Beebot},
	}
	a.route, _ = xingchen.RouteFor(http.MethodPost, "/v2/api/chat/send")
	for _, robot := range api.cfg.Robots {
		a.robots[robot.ID] = robot
	}
	return a
}

func (a ask) lacks() error {
	if a.api.cfg.Beebot != nil {
		return nil
	}
	return a.api.lacksXingchen()
}

func (a ask) check(fields []byte) error {
	var f askFields
	if err := httpapi.DecodeStrict(fields, &f); err != nil {
		return err
	}
	faults := missing(map[string]string{"bot": f.Bot, "userId": f.UserID, "text": f.Text})
	fault := func(field, format string, args ...any) {
		faults = append(faults, httpapi.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	kind, id, _ := jobs.SplitBot(f.Bot)
	_, known := a.robots[id]
	switch {
	case f.Bot == "":
	case kind == jobs.BotCharacter && a.api.cfg.Xingchen == nil:
		fault("bot", "characters want XINGCHEN_API_KEY")
	case kind == jobs.BotCharacter && f.SessionID != "":
		fault("sessionId", "only robots have one")
	case kind == jobs.BotCharacter && id != "":
	case kind == jobs.BotBeebot && known && a.api.cfg.Beebot != nil:
		if utf8.RuneCountInString(f.Text) > beebot.MaxUtterance {
			fault("text", "longer than %d characters", beebot.MaxUtterance)
		}
	case kind == jobs.BotBeebot:
		fault("bot", "BEEBOT_INSTANCES does not list this robot")
	default:
		fault("bot", "want character:<characterId> or beebot:<InstanceId>")
	}
	return httpapi.Invalid(faults...)
}

func (a ask) do(r *http.Request, m message, fields []byte) (answer, error) {
	var f askFields
	if err := httpapi.DecodeStrict(fields, &f); err != nil {
		return answer{}, err
	}
	kind, id, _ := jobs.SplitBot(f.Bot)
	place, question := &a.api.cfg.XingchenDesk, func(o *relay.Outcome) (relay.Reply, error) { return a.character(r, id, f, o) }
	if kind == jobs.BotBeebot {
		place = &a.api.cfg.BeebotDesk
		question = func(o *relay.Outcome) (relay.Reply, error) {
			return a.b.Ask(r, a.robots[id], beebot.StreamRequest{Utterance: f.Text, SessionID: f.SessionID, SenderID: f.UserID}, o)
		}
	}
	var reply said
	c := &desk.Conversation{Bot: f.Bot, User: f.UserID, Surface: jobs.SurfaceWebhook, Question: f.Text}
	err := place.Serve(r, c, func(outcome *relay.Outcome) error {
		answered, err := question(outcome)
		if err != nil {
			return err
		}
		outcome.Text = answered.Choices[0].Text
		reply = said{MessageID: answered.MessageID, SessionID: outcome.SessionID, Text: outcome.Text}
		if h := outcome.Handover; h != nil {
			reply.Handover = &jobs.ChatHandover{SkillGroup: h.SkillGroup, Ext: h.Ext}
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	event := "whk_" + m.digest + ".answer"
	told := jobs.WebhookAnswer{
		Source: m.source.Name, ID: m.id, RequestID: httpapi.CallFrom(r.Context()).ID, Bot: f.Bot, UserID: f.UserID,
		MessageID: reply.MessageID, SessionID: reply.SessionID, Handover: reply.Handover,
	}
	told.SetText(reply.Text)
	err = a.api.publish(r, jobs.EventWebhookAnswered, event, m.source.Name, told)
	return answer{Event: event, Answer: &reply, status: http.StatusOK}, err
}

// character asks one in the conversation that the platform keeps for the user.
func (a ask) character(r *http.Request, id string, f askFields, outcome *relay.Outcome) (relay.Reply, error) {
	body, err := json.Marshal(xingchen.ChatRequest{Input: xingchen.ChatInput{
		Messages: []xingchen.Message{{Role: "user", Content: f.Text}},
		ACA:      xingchen.ACA{BotProfile: xingchen.BotProfile{CharacterID: id}, UserProfile: xingchen.UserProfile{UserID: f.UserID}},
	}})
	if err != nil {
		return relay.Reply{}, fmt.Errorf("encode role chat: %w", err)
	}
	return a.x.Ask(r, &xingchen.Call{Route: a.route, Body: body}, outcome)
}
