package jobs

import "encoding/json"

// The types of events of webhooks that have come in. Each is published once for a message,
// however often that is sent; its event's subject is the source.
const (
	EventWebhookReceived = "webhook.received" // no action wanted it; carries a [WebhookMessage]
	EventWebhookAnswered = "webhook.answered" // a bot was asked; carries a [WebhookAnswer]
)

// WebhookMessage is the data of webhook.received.
type WebhookMessage struct {
	// Source that sent it, as the configuration names it.
	Source string `json:"source"`
	// ID is the sender's id of the message.
	ID string `json:"id"`
	// ContentType that the sender gave.
	ContentType string `json:"contentType,omitempty"`
	// RequestID is ours, answered in X-Request-Id.
	RequestID string `json:"requestId"`
	// Body is what was sent: any JSON document.
	Body json.RawMessage `json:"body"`
}

// WebhookAnswer is the data of webhook.answered: what a bot has said to the question of a
// webhook. What the call was like otherwise is told by a [ChatEvent] of the same RequestID.
type WebhookAnswer struct {
	// Source, ID and RequestID as in [WebhookMessage].
	Source    string `json:"source"`
	ID        string `json:"id"`
	RequestID string `json:"requestId"`
	// Bot and UserID as in [ChatEvent].
	Bot    string `json:"bot"`
	UserID string `json:"userId"`
	// MessageID is upstream's id of the answer, SessionID that of the conversation.
	MessageID string `json:"messageId"`
	SessionID string `json:"sessionId,omitempty"`
	// Text of the answer, cut to [MaxChatText] bytes if it is Clipped.
	Text    string `json:"text"`
	Clipped bool   `json:"clipped,omitempty"`
	// Handover is set if the bot asks for a person to take over.
	Handover *ChatHandover `json:"handover,omitempty"`
}

// SetText puts the answer's words into the event, cut at the border of a character.
func (a *WebhookAnswer) SetText(text string) {
	a.Text = clip(text)
	a.Clipped = len(a.Text) < len(text)
}
