package xingchen

import "strings"

// ChatResult is the answer of a chat, and one frame of its stream.
type ChatResult struct {
	RequestID string   `json:"requestId,omitempty"`
	Choices   []Choice `json:"choices"`
	// Usage comes with the last frame of a stream, if at all.
	Usage   *Usage        `json:"usage,omitempty"`
	Context ResultContext `json:"context,omitzero"`
	// Stop marks the last frame.
	Stop bool `json:"stop"`
}

// Choice is one of the answers asked for.
type Choice struct {
	Messages []ResultMessage `json:"messages"`
	// StopReason is "stop", "length", or while the stream runs the text "null".
	StopReason string `json:"stopReason,omitempty"`
}

// ResultMessage is what the character says, or the function that it wants called.
type ResultMessage struct {
	Role            string        `json:"role"`
	Name            string        `json:"name,omitempty"`
	Content         string        `json:"content"`
	FinishReason    string        `json:"finishReason,omitempty"`
	FunctionMessage bool          `json:"functionMessage,omitempty"`
	ValidMessage    *bool         `json:"validMessage,omitempty"`
	FunctionCall    *FunctionCall `json:"functionCall,omitempty"`
	Meta            *MessageMeta  `json:"meta,omitempty"`
}

// FunctionCall is what the character thinks and the calls that it wants made.
type FunctionCall struct {
	Thought     string    `json:"thought,omitempty"`
	APICallList []APICall `json:"apiCallList,omitempty"`
}

// APICall is one function with its arguments.
type APICall struct {
	APIName    string         `json:"apiName"`
	Parameters map[string]any `json:"parameters,omitempty"`
}

// MessageMeta is the result of the content check.
type MessageMeta struct {
	HasRisk         bool   `json:"hasRisk,omitempty"`
	SafetyStdAnswer string `json:"safetyStdAnswer,omitempty"`
	RewriteContent  string `json:"rewriteContent,omitempty"`
}

// Usage counts tokens.
type Usage struct {
	OutputTokens int `json:"outputTokens"`
	InputTokens  int `json:"inputTokens"`
	UserTokens   int `json:"userTokens"`
	PluginTokens int `json:"pluginTokens,omitempty"`
}

// ResultContext says where the platform put the exchange.
type ResultContext struct {
	ChatRoomID int64  `json:"chatRoomId,omitempty"`
	SessionID  string `json:"sessionId,omitempty"`
	ChatID     string `json:"chatId,omitempty"`
	// MessageID and AnswerID both name the answer; read them by [ResultContext.Answer].
	MessageID string `json:"messageId,omitempty"`
	AnswerID  string `json:"answerId,omitempty"`
	// ReplyMessageID names the question.
	ReplyMessageID       string `json:"replyMessageId,omitempty"`
	EnableDataInspection bool   `json:"enableDataInspection"`
	// IsSave says whether the platform stored the exchange; only then there is a room.
	IsSave                 bool   `json:"isSave"`
	RequestID              string `json:"requestId,omitempty"`
	ModelRequestID         string `json:"modelRequestId,omitempty"`
	ModelName              string `json:"modelName,omitempty"`
	Origin                 string `json:"origin,omitempty"`
	Ext                    string `json:"ext,omitempty"`
	BizSrc                 string `json:"bizSrc,omitempty"`
	IsRegenerate           bool   `json:"isRegenerate,omitempty"`
	BizUserID              string `json:"bizUserId,omitempty"`
	UsePlatformChatHistory bool   `json:"usePlatformChatHistory,omitempty"`
	ChatLockKey            string `json:"chatLockKey,omitempty"`
	ResultCount            int    `json:"resultCount,omitempty"`
	CharacterPK            int64  `json:"characterPk,omitempty"`
}

// Answer returns the id of the answer: answerId, or messageId, its older name.
func (c ResultContext) Answer() string {
	if c.AnswerID != "" {
		return c.AnswerID
	}
	return c.MessageID
}

// Text returns what the first choice says.
func (r *ChatResult) Text() string {
	if r == nil || len(r.Choices) == 0 {
		return ""
	}
	messages := r.Choices[0].Messages
	if len(messages) == 1 {
		return messages[0].Content
	}
	var text strings.Builder
	for _, m := range messages {
		text.WriteString(m.Content)
	}
	return text.String()
}

// FinishReason returns why the first choice ended: "stop", "length", or nothing while it
// goes on, which the wire writes as the text "null".
func (r *ChatResult) FinishReason() string {
	if r == nil || len(r.Choices) == 0 {
		return ""
	}
	reason := r.Choices[0].StopReason
	if messages := r.Choices[0].Messages; reason == "" && len(messages) > 0 {
		reason = messages[len(messages)-1].FinishReason
	}
	if reason == "null" {
		return ""
	}
	return reason
}
