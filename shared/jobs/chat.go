package jobs

import (
	"strings"
	"unicode/utf8"
)

// The kinds of bots: what stands before the colon in a bot's name.
const (
	BotCharacter = "character" // followed by Xingchen's characterId
	BotBeebot    = "beebot"    // followed by Beebot's InstanceId
	BotModel     = "model"     // followed by a Xingchen model, for personas that the caller brings
)

// Bot names a bot, as events and the directory do: "character:<id>", "beebot:<id>".
func Bot(kind, id string) string { return kind + ":" + id }

// SplitBot takes a bot's name apart at its first colon; ok tells whether it has a kind (of
// letters a to z) and an id.
func SplitBot(bot string) (kind, id string, ok bool) {
	kind, id, _ = strings.Cut(bot, ":")
	letters := !strings.ContainsFunc(kind, func(c rune) bool { return c < 'a' || c > 'z' })
	return kind, id, letters && kind != "" && id != ""
}

// The surfaces that a chat can come in by.
const (
	SurfaceXingchen = "xingchen" // /v2/api/chat/… and /v2/api/groupchat/…
	SurfaceOpenAI   = "openai"   // /v1/chat/completions
	SurfaceBeebot   = "beebot"   // /v1/beebot/…
	SurfaceWebhook  = "webhook"  // /v1/webhooks/…
)

// ChatEvent is the data of the five types of chat events. Its event's subject is Bot.
//
// Events are best effort: a chat is answered whether or not its event gets through.
type ChatEvent struct {
	// Bot that was asked, see [Bot].
	Bot string `json:"bot"`
	// UserID is the user's id upstream, as the caller chose it.
	UserID string `json:"userId"`
	// Anonymous tells that the caller named no user, and UserID was made up for this one
	// call. The directory leaves such users out.
	Anonymous bool `json:"anonymous,omitempty"`
	// RequestID is ours, answered in X-Request-Id. A caller may have chosen it, so it need
	// not be unique.
	RequestID string `json:"requestId"`
	// MessageID is upstream's id of the answer; empty if there was none.
	MessageID string `json:"messageId"`
	// SessionID is upstream's id of the conversation, if it has one.
	SessionID string `json:"sessionId,omitempty"`
	// UpstreamRequestID is what upstream's operators ask for.
	UpstreamRequestID string `json:"upstreamRequestId,omitempty"`
	// Key is the name (never the text) of the key of ours that the caller has.
	Key string `json:"key,omitempty"`
	// Surface that the call came in by, one of the words above.
	Surface string `json:"surface,omitempty"`
	// Stream tells whether the answer was asked for as a stream.
	Stream bool `json:"stream,omitempty"`
	// DurMs is how long the call took, in milliseconds, turn-taking included.
	DurMs int64 `json:"durMs"`
	// FirstMs is when the first byte of the answer left for the caller, in milliseconds
	// from the same start; 0 if none did.
	FirstMs int64 `json:"firstMs,omitempty"`
	// ThrottledMs is how much of DurMs was spent waiting for a budget or the user's turn.
	ThrottledMs int64 `json:"throttledMs,omitempty"`
	// Usage counts what upstream charged. It stands in chat.completed and chat.failed only,
	// so that adding up counts nothing twice; elsewhere it is zero.
	Usage ChatUsage `json:"usage"`
	// Source is upstream's word for where the answer came from, such as NO_ANSWER,
	// SENSITIVE_WORD or KNOWLEDGE. Beebot only.
	Source string `json:"source,omitempty"`
	// Handover is set in handover.requested.
	Handover *ChatHandover `json:"handover,omitempty"`
	// Error is set in chat.failed.
	Error *ChatError `json:"error,omitempty"`

	// Question and Text are what was asked and answered, only with XINGHE_EVENT_TEXT=true;
	// see [ChatEvent.SetText].
	Question string `json:"question,omitempty"`
	Text     string `json:"text,omitempty"`
	// Clipped tells that Question or Text is longer than stands here.
	Clipped bool `json:"clipped,omitempty"`
}

// ChatUsage counts tokens, in Xingchen's words.
type ChatUsage struct {
	InputTokens  int64 `json:"inputTokens"`
	OutputTokens int64 `json:"outputTokens"`
	UserTokens   int64 `json:"userTokens,omitempty"`
	PluginTokens int64 `json:"pluginTokens,omitempty"`
	// Incomplete tells that upstream has not said all: the counts are the least that it can
	// be. So after a stream that was cut or left, and always with Beebot, which tells none.
	Incomplete bool `json:"incomplete,omitempty"`
}

// ChatHandover says to whom the conversation is to be handed.
type ChatHandover struct {
	// SkillGroup is the group of agents as configured with Beebot; may be empty.
	SkillGroup string `json:"skillGroup"`
	// Ext is free text of the bot's author.
	Ext string `json:"ext,omitempty"`
}

// ChatError says why a chat failed.
type ChatError struct {
	// Code is the code of the refusal that the caller got, such as "upstream_truncated";
	// "canceled" if the caller left.
	Code string `json:"code"`
	// Status is the HTTP status that the code stands for; 0 if the caller left. A stream
	// that had begun was answered with 200 all the same.
	Status int `json:"status,omitempty"`
}

// MaxChatText is how many bytes of a question or an answer an event carries.
const MaxChatText = 16 << 10

// SetText puts the words of the conversation into the event, each cut to [MaxChatText] at
// the border of a character.
func (e *ChatEvent) SetText(question, answer string) {
	e.Question, e.Text = clip(question), clip(answer)
	e.Clipped = len(e.Question) < len(question) || len(e.Text) < len(answer)
}

func clip(text string) string {
	if len(text) <= MaxChatText {
		return text
	}
	end := MaxChatText
	for !utf8.RuneStart(text[end]) && end > MaxChatText-utf8.UTFMax {
		end--
	}
	return strings.Clone(text[:end]) // the whole of it may be large and need not be kept
}
