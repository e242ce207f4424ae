package chatapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"xinghe/shared/beebot"
	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
)

// beebotHandler serves conversations with robots.
type beebotHandler struct {
	relay relay.Beebot
	desk  desk.Desk
}

func newBeebotHandler(cfg Config) *beebotHandler {
	return &beebotHandler{
		relay: relay.Beebot{Client: cfg.Beebot, Heartbeat: cfg.Heartbeat, Disconnect: cfg.Disconnect},
		desk:  cfg.desk("beebot", cfg.BeebotBudget),
	}
}

// chatQuestion is the body of POST /v1/beebot/{instanceId}/chat.
type chatQuestion struct {
	Utterance   string          `json:"utterance"`
	SessionID   string          `json:"sessionId"`
	SenderID    string          `json:"senderId"`
	SenderNick  string          `json:"senderNick"`
	VendorParam json.RawMessage `json:"vendorParam"`
	Stream      *bool           `json:"stream"`
}

func (b *beebotHandler) chat(w http.ResponseWriter, r *http.Request) error {
	var question chatQuestion
	if err := decodeQuestion(r, &question); err != nil {
		return err
	}
	if err := httpapi.Invalid(checkQuestion(question.Utterance, question.SessionID, question.VendorParam)...); err != nil {
		return err
	}
	stream := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	if question.Stream != nil {
		stream = *question.Stream
	}
	instance := r.PathValue("instanceId")
	c := &desk.Conversation{Bot: jobs.Bot(jobs.BotBeebot, instance), User: question.SenderID, Surface: jobs.SurfaceBeebot, Question: question.Utterance, Stream: stream}
	return b.desk.Serve(r, c, func(o *relay.Outcome) error {
		return b.relay.Serve(w, r, beebot.StreamRequest{
			InstanceID: instance, Utterance: question.Utterance, SessionID: question.SessionID,
			SenderID: question.SenderID, SenderNick: question.SenderNick, VendorParam: given(question.VendorParam),
		}, stream, o)
	})
}

func decodeQuestion(r *http.Request, into any) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	return httpapi.DecodeStrict(body, into)
}

// checkQuestion names every fault of what is said to a robot. The limits follow Beebot,
// TongyiBeebotChat and session API.
func checkQuestion(utterance, sessionID string, vendorParam json.RawMessage) []httpapi.FieldError {
	var faults []httpapi.FieldError
	fault := func(field, message string, args ...any) {
		faults = append(faults, httpapi.FieldError{Field: field, Message: fmt.Sprintf(message, args...)})
	}
	switch {
	case strings.TrimSpace(utterance) == "":
		fault("utterance", "missing")
	case utf8.RuneCountInString(utterance) > beebot.MaxUtterance:
		fault("utterance", "longer than %d characters", beebot.MaxUtterance)
	}
	if utf8.RuneCountInString(sessionID) > beebot.MaxSessionID {
		fault("sessionId", "longer than %d characters", beebot.MaxSessionID)
	}
	if param := given(vendorParam); len(param) > 0 && param[0] != '{' {
		fault("vendorParam", "is not a JSON object")
	}
	return faults
}

// given is nil where a field holds nothing to send.
func given(param json.RawMessage) json.RawMessage {
	if text := string(param); text == "null" || text == "{}" {
		return nil
	}
	return param
}
