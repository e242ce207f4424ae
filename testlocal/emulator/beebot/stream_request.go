package beebot

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	actionStream = "TongyiBeebotChat"

	maxStreamBody = 1 << 20
	maxMessageID  = 256
)

// streamRequest is the body of a stream request.
type streamRequest struct {
	messageID string
	question  question
}

// object is a JSON object whose keys count as they are written, unlike those of a Go struct.
type object map[string]json.RawMessage

// readStreamRequest reads the body. The messageId is filled in, where there is one, even if
// the rest is refused.
func (s *Server) readStreamRequest(w http.ResponseWriter, r *http.Request) (streamRequest, *refusal) {
	req := streamRequest{question: question{stream: true}}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxStreamBody))
	if err != nil {
		return req, invalid("body", "It is longer than 1 MiB or was cut off.")
	}
	var outer object
	if !utf8.Valid(body) || json.Unmarshal(body, &outer) != nil || outer == nil {
		return req, invalid("body", "It is not a JSON object in UTF-8.")
	}
	id, no := outer.text("messageId")
	if no == nil && (id == "" || len(id) > maxMessageID) {
		no = invalid("messageId", "It is empty or too long.")
	}
	if no != nil {
		return req, no
	}
	req.messageID = id
	inner, no := outer.inner()
	if no != nil {
		return req, no
	}
	req.question, no = s.streamQuestion(inner)
	return req, no
}

// inner checks action and version and decodes the one item of data.
func (o object) inner() (object, *refusal) {
	if action, no := o.text("action"); no != nil || action != actionStream {
		return nil, invalid("action", "Only "+actionStream+" is served.")
	}
	if version, no := o.text("version"); no != nil || version != Version {
		return nil, invalid("version", "")
	}
	var items []object
	if json.Unmarshal(o["data"], &items) != nil || len(items) != 1 {
		return nil, invalid("data", "It must be a list of one item.")
	}
	kind, no := items[0].text("type")
	if no != nil || kind != "JSON_TEXT" {
		return nil, invalid("data.type", "")
	}
	value, no := items[0].text("value")
	if no != nil {
		return nil, invalid("data.value", "It must be a text that holds JSON.")
	}
	var inner object
	if json.Unmarshal([]byte(value), &inner) != nil || inner == nil {
		return nil, invalid("data.value", "The text is not a JSON object.")
	}
	return inner, nil
}

// streamQuestion reads the parameters of the TongyiBeebotChat page.
func (s *Server) streamQuestion(inner object) (question, *refusal) {
	q := question{stream: true}
	var nick, vendor string
	for _, field := range []struct {
		name  string
		value *string
	}{
		{"InstanceId", &q.instance},
		{"Utterance", &q.utterance},
		{"SessionId", &q.session},
		{"SenderId", &q.senderID},
		{"SenderNick", &nick},
		{"VendorParam", &vendor},
		{"Command", &q.command},
	} {
		text, no := inner.text(field.name)
		if no != nil {
			return q, no
		}
		*field.value = text
	}
	if no := s.checkStreamQuestion(&q, vendor); no != nil {
		return q, no
	}
	if !inner.isBool("SandBox") {
		return q, invalid("SandBox", "It must be a boolean.")
	}
	var codes []string
	if raw, ok := inner["Perspective"]; ok && json.Unmarshal(raw, &codes) != nil {
		return q, invalid("Perspective", "It must be a list of texts.")
	}
	var no *refusal
	q.perspective, no = onePerspective(codes)
	return q, no
}

func (s *Server) checkStreamQuestion(q *question, vendor string) *refusal {
	switch {
	case q.instance == "":
		return invalid("InstanceId", "It is missing.")
	case q.command != "" && q.command != commandTimeout && q.command != commandGuidepost:
		return invalid("Command", "")
	case strings.TrimSpace(q.utterance) == "" && q.command == "":
		return invalid("Utterance", "It is missing.")
	case utf8.RuneCountInString(q.session) > maxSessionID:
		return invalid("SessionId", "It is longer than 64 characters.")
	case !isJSONObject(vendor):
		return invalid("VendorParam", "It is not a JSON object.")
	}
	var no *refusal
	q.utterance, no = s.admitUtterance(q.utterance)
	return no
}

// text reads a member that must be a text if it is there at all; null counts as absent.
func (o object) text(name string) (string, *refusal) {
	raw, ok := o[name]
	if !ok {
		return "", nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return "", invalid(name, "It must be a text.")
	}
	return text, nil
}

func (o object) isBool(name string) bool {
	raw, ok := o[name]
	var value bool
	return !ok || json.Unmarshal(raw, &value) == nil
}
