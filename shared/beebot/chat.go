package beebot

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"xinghe/shared/upstream"
)

// ChatRequest asks a robot of the older edition for an answer in one piece. InstanceID and
// one of Utterance, KnowledgeID and IntentName are required.
type ChatRequest struct {
	InstanceID string
	Utterance  string
	// SessionID is empty on the first call, then the one received.
	SessionID  string
	SenderID   string
	SenderNick string
	// Tag is handed back by robots that know it.
	Tag string
	// Perspective holds at most one code that counts.
	Perspective []string
	// VendorParam is a JSON document with parameters of one's own; empty for none.
	VendorParam json.RawMessage
	// KnowledgeID asks for the answer of this question of the knowledge base.
	KnowledgeID string
	// IntentName enters this intent.
	IntentName string
	// SandBox chooses the test environment.
	SandBox bool
}

// Validate returns a [*upstream.FieldError] for what cannot be sent.
func (r ChatRequest) Validate() error {
	if r.Utterance == "" && r.KnowledgeID == "" && r.IntentName == "" {
		return &upstream.FieldError{Field: "utterance", Message: "missing"}
	}
	return validate(r.InstanceID, r.Utterance, r.SessionID, r.VendorParam)
}

func (r ChatRequest) params() map[string]string {
	params := map[string]string{
		"InstanceId": r.InstanceID, "Utterance": r.Utterance, "SessionId": r.SessionID,
		"SenderId": r.SenderID, "SenderNick": r.SenderNick, "Tag": r.Tag,
		"VendorParam": vendorText(r.VendorParam), "KnowledgeId": r.KnowledgeID, "IntentName": r.IntentName,
	}
	if len(r.Perspective) > 0 {
		list, _ := json.Marshal(r.Perspective) // a list of texts always encodes
		params["Perspective"] = string(list)
	}
	if r.SandBox {
		params["SandBox"] = strconv.FormatBool(r.SandBox)
	}
	return params
}

// ChatResponse is what a robot answers.
type ChatResponse struct {
	RequestID     string
	SessionID     string
	MessageID     string
	Tag           string
	QuerySegments []string
	Answers       []Answer
}

// AnswerKind says which part of an [Answer] is filled.
type AnswerKind string

// The kinds of an [Answer].
const (
	KindText      AnswerKind = "text"
	KindKnowledge AnswerKind = "knowledge"
	KindRecommend AnswerKind = "recommend"
)

// Sources of answers. Upstream is not consistent about case: compare with [Answer.From].
const (
	SourceKnowledgeBase   = "KnowledgeBase"      // a question of the knowledge base
	SourceKnowledge       = "KNOWLEDGE"          // several such questions
	SourceBotFramework    = "BotFramework"       // the dialogue factory
	SourceMixedClarify    = "INTENT_FAQ_CLARIFY" // intents and questions
	SourceChitChat        = "ChitChat"
	SourceUserDefinedChat = "USER_DEFINED_CHAT"
	SourceSensitiveWord   = "SENSITIVE_WORD"
	SourceCommands        = "COMMANDS" // handing over
	SourceNoAnswer        = "NO_ANSWER"
)

// Answer is one of: a text, an entry of the knowledge base, a choice between several. Kind
// says which.
type Answer struct {
	Kind AnswerKind
	// Source is that of the message, or else of what it holds, as upstream spells it.
	Source string
	// Title and VoiceTitle stand above a choice.
	Title      string
	VoiceTitle string
	Text       *TextAnswer
	Knowledge  *KnowledgeAnswer
	Recommends []Recommend
	// Handover is set where a person is to take over, whatever the source.
	Handover *Handover
}

// TextAnswer is what a dialogue, chit-chat or a configured phrase says.
type TextAnswer struct {
	Content string
	// ContentType is PLAIN_TEXT or RICH_TEXT.
	ContentType          string
	AnswerSource         string
	Score                float64
	NodeID               string `json:"NodeId"`
	NodeName             string
	DialogName           string
	IntentName           string
	Slots                []Slot
	ExternalFlags        json.RawMessage
	UserDefinedChatTitle string
	HitStatement         string
	ArticleTitle         string
	Ext                  json.RawMessage
	MetaData             json.RawMessage
	// ResponseType is SSML where the text is meant to be spoken.
	ResponseType string
}

// Slot is a value that a dialogue asks for.
type Slot struct {
	Name   string
	Value  string
	Origin string
	Hit    bool
}

// KnowledgeAnswer is an entry of the knowledge base.
type KnowledgeAnswer struct {
	ID                string `json:"Id"`
	Title             string
	Summary           string
	Content           string
	ContentType       string
	AnswerSource      string
	Category          string
	Score             float64
	HitStatement      string
	RelatedKnowledges []RelatedKnowledge
}

// RelatedKnowledge is an entry near the one that was found.
type RelatedKnowledge struct {
	KnowledgeID string `json:"KnowledgeId"`
	Title       string
}

// Recommend is one thing to choose. Its source is that of the answer where upstream names
// none.
type Recommend struct {
	KnowledgeID string `json:"KnowledgeId"`
	Title       string
	Source      string `json:"AnswerSource"`
	Score       float64
	Category    string
}

// From compares the source without regard to case.
func (a Answer) From(source string) bool { return strings.EqualFold(a.Source, source) }

// NoAnswer reports whether the robot knew nothing.
func (a Answer) NoAnswer() bool { return a.From(SourceNoAnswer) }

// Sensitive reports whether the visitor used a word that the robot does not answer.
func (a Answer) Sensitive() bool { return a.From(SourceSensitiveWord) }

// Content returns what to show as a text, and its type: the text, the entry's content, or
// the title above a choice.
func (a Answer) Content() (text, contentType string) {
	switch {
	case a.Text != nil:
		return a.Text.Content, a.Text.ContentType
	case a.Knowledge != nil:
		return a.Knowledge.Content, a.Knowledge.ContentType
	case a.Title != "":
		return a.Title, "PLAIN_TEXT"
	}
	return a.VoiceTitle, "PLAIN_TEXT"
}

// Chat asks and waits for the whole answer. It follows Beebot, session API (Chat).
func (c *Client) Chat(ctx context.Context, req ChatRequest) (*ChatResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	params := req.params()
	params["AgentKey"] = c.cfg.AgentKey.Reveal()
	response := new(ChatResponse)
	if err := c.rpc(ctx, "Chat", params, response); err != nil {
		return nil, err
	}
	return response, nil
}

// UnmarshalJSON reads the answer of the RPC call.
func (r *ChatResponse) UnmarshalJSON(data []byte) error {
	var wire struct {
		RequestID    string `json:"RequestId"`
		SessionID    string `json:"SessionId"`
		MessageID    string `json:"MessageId"`
		Tag          string
		QuerySegList []string
		Messages     []Answer
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*r = ChatResponse{
		RequestID: wire.RequestID, SessionID: wire.SessionID, MessageID: wire.MessageID, Tag: wire.Tag,
		QuerySegments: wire.QuerySegList, Answers: wire.Messages,
	}
	// Answers that hand over come without a request id; elsewhere it equals the message id.
	if r.RequestID == "" {
		r.RequestID = r.MessageID
	}
	return nil
}

// UnmarshalJSON reads one message of an answer.
func (a *Answer) UnmarshalJSON(data []byte) error {
	var wire struct {
		AnswerType, AnswerSource, Title, VoiceTitle string
		Text                                        *struct {
			TextAnswer
			Commands commands
		}
		Knowledge  *KnowledgeAnswer
		Recommends []Recommend
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*a = Answer{
		Kind: AnswerKind(strings.ToLower(wire.AnswerType)), Source: wire.AnswerSource,
		Title: wire.Title, VoiceTitle: wire.VoiceTitle, Knowledge: wire.Knowledge, Recommends: wire.Recommends,
	}
	if wire.Text != nil {
		a.Text, a.Handover = &wire.Text.TextAnswer, wire.Text.Commands.handover()
		a.setSource(a.Text.AnswerSource)
	}
	if a.Knowledge != nil {
		a.setSource(a.Knowledge.AnswerSource)
	}
	for i := range a.Recommends {
		if a.Recommends[i].Source == "" {
			a.Recommends[i].Source = a.Source
		}
	}
	return nil
}

func (a *Answer) setSource(source string) {
	if a.Source == "" {
		a.Source = source
	}
}
