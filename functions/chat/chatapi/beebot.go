package chatapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
)

// beebotHandler serves conversations with robots.
type beebotHandler struct{ relay relay.Beebot }

// chatQuestion is the body of POST /v1/beebot/{instanceId}/chat.
type chatQuestion struct {
	Utterance   string          `json:"utterance"`
	SessionID   string          `json:"sessionId"`
	SenderID    string          `json:"senderId"`
	SenderNick  string          `json:"senderNick"`
	VendorParam json.RawMessage `json:"vendorParam"`
	Stream      *bool           `json:"stream"`
}

func (b beebotHandler) chat(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	var question chatQuestion
	if err := httpapi.DecodeStrict(body, &question); err != nil {
		return err
	}
	if err := question.check(); err != nil {
		return err
	}
	stream := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	if question.Stream != nil {
		stream = *question.Stream
	}
	return b.relay.Serve(w, r, beebot.StreamRequest{
		InstanceID: r.PathValue("instanceId"), Utterance: question.Utterance, SessionID: question.SessionID,
		SenderID: question.SenderID, SenderNick: question.SenderNick, VendorParam: question.vendorParam(),
	}, stream)
}

// check names every fault. The limits follow Beebot, TongyiBeebotChat.
func (q chatQuestion) check() error {
	var faults []httpapi.FieldError
	switch {
	case strings.TrimSpace(q.Utterance) == "":
		faults = append(faults, httpapi.FieldError{Field: "utterance", Message: "missing"})
	case utf8.RuneCountInString(q.Utterance) > beebot.MaxUtterance:
		faults = append(faults, httpapi.FieldError{Field: "utterance", Message: fmt.Sprintf("longer than %d characters", beebot.MaxUtterance)})
	}
	if utf8.RuneCountInString(q.SessionID) > beebot.MaxSessionID {
		faults = append(faults, httpapi.FieldError{Field: "sessionId", Message: fmt.Sprintf("longer than %d characters", beebot.MaxSessionID)})
	}
	if param := q.vendorParam(); len(param) > 0 && param[0] != '{' {
		faults = append(faults, httpapi.FieldError{Field: "vendorParam", Message: "is not a JSON object"})
	}
	return httpapi.Invalid(faults...)
}

// vendorParam is nil where there is nothing to send.
func (q chatQuestion) vendorParam() json.RawMessage {
	if text := string(q.VendorParam); text == "null" || text == "{}" {
		return nil
	}
	return q.VendorParam
}
