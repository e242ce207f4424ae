package beebot

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// chatAnswer is the answer of Chat, with the keys in the order of the documented examples.
type chatAnswer struct {
	QuerySegList []string      `json:"QuerySegList"`
	Messages     []chatMessage `json:"Messages"`
	RequestID    string        `json:"RequestId,omitempty"`
	Success      bool          `json:"Success,omitempty"`
	HTTPStatus   int           `json:"HttpStatus"`
	SessionID    string        `json:"SessionId"`
	MessageID    string        `json:"MessageId"`
	Tag          string        `json:"Tag,omitempty"`
}

type chatMessage struct {
	VoiceTitle   string          `json:"VoiceTitle,omitempty"`
	AnswerSource string          `json:"AnswerSource,omitempty"`
	Text         *chatText       `json:"Text,omitempty"`
	Knowledge    *chatKnowledge  `json:"Knowledge,omitempty"`
	Recommends   []chatRecommend `json:"Recommends,omitempty"`
	AnswerType   string          `json:"AnswerType"`
}

type chatText struct {
	ContentType          string            `json:"ContentType"`
	NodeName             string            `json:"NodeName,omitempty"`
	UserDefinedChatTitle string            `json:"UserDefinedChatTitle,omitempty"`
	AnswerSource         string            `json:"AnswerSource"`
	HitStatement         string            `json:"HitStatement,omitempty"`
	Slots                []slotState       `json:"Slots,omitempty"`
	Score                score             `json:"Score,omitzero"`
	DialogName           string            `json:"DialogName,omitempty"`
	IntentName           string            `json:"IntentName,omitempty"`
	Content              string            `json:"Content"`
	Commands             map[string]string `json:"Commands,omitempty"`
	NodeID               string            `json:"NodeId,omitempty"`
	ExternalFlags        *struct{}         `json:"ExternalFlags,omitempty"`
}

type chatKnowledge struct {
	Score             score         `json:"Score"`
	Category          string        `json:"Category,omitempty"`
	ContentType       string        `json:"ContentType"`
	AnswerSource      string        `json:"AnswerSource"`
	Content           string        `json:"Content"`
	Summary           string        `json:"Summary"`
	Title             string        `json:"Title"`
	ID                string        `json:"Id"`
	RelatedKnowledges []chatRelated `json:"RelatedKnowledges,omitempty"`
}

type chatRelated struct {
	KnowledgeID string `json:"KnowledgeId"`
	Title       string `json:"Title"`
}

type chatRecommend struct {
	Score        score  `json:"Score"`
	Category     string `json:"Category,omitempty"`
	AnswerSource string `json:"AnswerSource,omitempty"`
	Title        string `json:"Title"`
	KnowledgeID  string `json:"KnowledgeId"`
}

// score is written with a fraction always, as 100.0.
type score float64

// MarshalJSON writes the number with at least one digit behind the point.
func (s score) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(s), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}

// chat answers one turn in one piece.
func (s *Server) chat(c *call) (any, *refusal) {
	q, no := s.chatQuestion(c)
	if no != nil {
		return nil, no
	}
	space, no := s.space(c.param("AgentKey"))
	if no != nil {
		return nil, no
	}
	bot, no := s.admitBot(q, space)
	if no != nil {
		return nil, no
	}
	if q.session == "" {
		q.session = c.identity.hex()
	}
	a, no := s.turn(bot, q, c.now)
	if no != nil {
		return nil, no
	}
	id := c.identity.uuid()
	c.record.MessageID, c.record.RequestID = id, id
	s.journal.add(turnRecord{
		at: c.now, space: space, instance: q.instance, session: q.session, sender: q.senderID, messageID: id,
		question: q.utterance, answer: a.told(), source: a.source,
	})
	out := chatAnswer{
		QuerySegList: bot.words.segment(q.utterance), Messages: []chatMessage{a.message()},
		RequestID: id, HTTPStatus: http.StatusOK, SessionID: q.session, MessageID: id, Tag: c.param("Tag"),
	}
	out.Success = s.cfg.Assume.FullEnvelope || a.command != "" || a.voice != ""
	if a.command != "" && !s.cfg.Assume.FullEnvelope {
		out.RequestID = ""
	}
	return out, nil
}

// chatQuestion reads and checks the parameters of Chat.
func (s *Server) chatQuestion(c *call) (question, *refusal) {
	q := question{
		instance: c.param("InstanceId"), session: c.param("SessionId"), senderID: c.param("SenderId"),
		utterance: c.param("Utterance"), knowledgeID: c.param("KnowledgeId"), intent: c.param("IntentName"),
	}
	if q.instance == "" {
		return q, missing("InstanceId")
	}
	if strings.TrimSpace(q.utterance) == "" && q.knowledgeID == "" && q.intent == "" {
		return q, missing("Utterance")
	}
	if len([]rune(q.session)) > maxSessionID {
		return q, invalid("SessionId", "It is longer than 64 characters.")
	}
	if !isJSONObject(c.param("VendorParam")) {
		return q, invalid("VendorParam", "It is not a JSON object.")
	}
	if sandbox := strings.ToLower(c.param("SandBox")); sandbox != "" && sandbox != "true" && sandbox != "false" {
		return q, invalid("SandBox", "")
	}
	var no *refusal
	if q.utterance, no = s.admitUtterance(q.utterance); no != nil {
		return q, no
	}
	q.perspective, no = c.perspective()
	return q, no
}

// perspective reads Perspective.1 or the list form, one JSON text. One code is supported.
func (c *call) perspective() (string, *refusal) {
	var codes []string
	if text := c.param("Perspective"); text != "" {
		if err := json.Unmarshal([]byte(text), &codes); err != nil {
			return "", invalid("Perspective", "It is not a JSON list of texts.")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.params)) {
		if strings.HasPrefix(name, "Perspective.") {
			codes = append(codes, c.params[name])
		}
	}
	return onePerspective(codes)
}

func onePerspective(codes []string) (string, *refusal) {
	switch len(codes) {
	case 0:
		return "", nil
	case 1:
		return codes[0], nil
	default:
		return "", invalid("Perspective", "Only one is supported.")
	}
}

// isJSONObject accepts the empty text as well.
func isJSONObject(text string) bool {
	if text == "" {
		return true
	}
	var object map[string]json.RawMessage
	return json.Unmarshal([]byte(text), &object) == nil && object != nil
}

// told is an answer in words.
func (a answer) told() string {
	if len(a.items) == 0 {
		return a.text
	}
	if a.voice != "" {
		return a.voice
	}
	return askWhich(a.items)
}

// message puts an answer into the shape of Chat.
func (a answer) message() chatMessage {
	switch {
	case len(a.items) > 0:
		return a.recommendation()
	case a.knowledge != nil:
		return a.knowledgeMessage()
	default:
		return chatMessage{AnswerType: "Text", Text: a.chatText()}
	}
}

func (a answer) chatText() *chatText {
	text := &chatText{
		ContentType: a.contentType, AnswerSource: a.source, Content: a.text,
		UserDefinedChatTitle: a.titleOfTalk, HitStatement: a.hit,
	}
	if a.command != "" {
		text.Commands = map[string]string{"sysToAgent": a.command}
	}
	if a.dialogue != nil {
		text.Score, text.ExternalFlags = 100, &struct{}{}
		text.DialogName, text.IntentName = a.dialogue.Name, a.dialogue.Intent
		text.NodeName, text.NodeID, text.Slots = a.node, a.nodeID, a.slots
	}
	return text
}

func (a answer) knowledgeMessage() chatMessage {
	out := &chatKnowledge{
		Score: 100, Category: a.knowledge.Category, ContentType: a.contentType, AnswerSource: a.source,
		Content: a.text, Summary: a.knowledge.Summary, Title: a.knowledge.Title, ID: a.knowledge.ID,
	}
	for _, related := range a.knowledge.Related {
		out.RelatedKnowledges = append(out.RelatedKnowledges, chatRelated{KnowledgeID: related.ID, Title: related.Title})
	}
	return chatMessage{AnswerType: "Knowledge", Knowledge: out}
}

// recommendation leaves source and category off the items when all come from the FAQ.
func (a answer) recommendation() chatMessage {
	out := chatMessage{AnswerType: "Recommend", AnswerSource: a.source, VoiceTitle: a.voice}
	for _, item := range a.items {
		line := chatRecommend{Score: score(item.score), Title: item.title, KnowledgeID: item.id}
		if a.source != sourceKnowledge {
			line.AnswerSource, line.Category = item.source, item.category
		}
		out.Recommends = append(out.Recommends, line)
	}
	return out
}
