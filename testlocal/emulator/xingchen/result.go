package xingchen

import (
	"fmt"
	"unicode/utf8"
)

// chatResult is data of an answer, and the whole of a stream's frame.
type chatResult struct {
	RequestID string      `json:"requestId"`
	Choices   []choice    `json:"choices"`
	Usage     *usage      `json:"usage,omitempty"`
	Context   chatContext `json:"context"`
	Stop      bool        `json:"stop"`
}

type choice struct {
	Messages   []choiceMessage `json:"messages"`
	StopReason string          `json:"stopReason"`
}

type choiceMessage struct {
	Role            string `json:"role"`
	Content         string `json:"content"`
	FinishReason    string `json:"finishReason"`
	FunctionMessage *bool  `json:"functionMessage,omitempty"`
	ValidMessage    *bool  `json:"validMessage,omitempty"`
}

type usage struct {
	OutputTokens int  `json:"outputTokens"`
	InputTokens  int  `json:"inputTokens"`
	UserTokens   int  `json:"userTokens"`
	PluginTokens *int `json:"pluginTokens,omitempty"`
}

type chatContext struct {
	ChatRoomID             int    `json:"chatRoomId,omitempty"`
	SessionID              string `json:"sessionId,omitempty"`
	ChatID                 string `json:"chatId,omitempty"`
	MessageID              string `json:"messageId,omitempty"`
	AnswerID               string `json:"answerId,omitempty"`
	ReplyMessageID         string `json:"replyMessageId,omitempty"`
	EnableDataInspection   bool   `json:"enableDataInspection"`
	IsSave                 bool   `json:"isSave"`
	RequestID              string `json:"requestId"`
	ModelRequestID         string `json:"modelRequestId"`
	ModelName              string `json:"modelName,omitempty"`
	Origin                 string `json:"origin,omitempty"`
	BizSrc                 string `json:"bizSrc,omitempty"`
	Ext                    string `json:"ext,omitempty"`
	IsRegenerate           *bool  `json:"isRegenerate,omitempty"`
	BizUserID              string `json:"bizUserId,omitempty"`
	UsePlatformChatHistory *bool  `json:"usePlatformChatHistory,omitempty"`
	ChatLockKey            string `json:"chatLockKey,omitempty"`
	ResultCount            int    `json:"resultCount,omitempty"`
}

// whole answers a request that wants no stream.
func (s *Server) whole(e *exchange) (any, error) {
	count := 1
	if n := e.req.Input.Aca.Context.ResultCount; n != nil {
		count = *n
	}
	text := unmarked(e.reply)
	result := chatResult{RequestID: e.call.requestID, Choices: []choice{s.choice(e, text, e.finish)}, Stop: true}
	for variation := 1; variation < count; variation++ {
		prompt := e.prompt
		prompt.Variation += variation
		other, err := s.word(e.call, prompt)
		if err != nil {
			return nil, err
		}
		other, finish := s.cutToLength(e, other)
		result.Choices = append(result.Choices, s.choice(e, unmarked(other), finish))
	}
	s.settle(e, text)
	result.Usage = s.usage(e, text)
	result.Context = s.context(e)
	result.Context.ResultCount = s.resultCount(e, count)
	return result, nil
}

func (s *Server) resultCount(e *exchange, count int) int {
	if s.plain(e) {
		return 0
	}
	return count
}

// plain reports whether the newer fields are left out.
func (s *Server) plain(e *exchange) bool {
	return s.cfg.Assume.PlainContext && e.persona.CharacterID != ""
}

func (s *Server) choice(e *exchange, text, finish string) choice {
	message := choiceMessage{Role: "assistant", Content: text, FinishReason: finish}
	if !s.plain(e) {
		no, yes := false, true
		message.FunctionMessage, message.ValidMessage = &no, &yes
	}
	return choice{Messages: []choiceMessage{message}, StopReason: finish}
}

func (s *Server) usage(e *exchange, text string) *usage {
	u := &usage{OutputTokens: utf8.RuneCountInString(text), InputTokens: e.tokens}
	u.UserTokens = utf8.RuneCountInString(e.prompt.question())
	if !s.plain(e) {
		u.PluginTokens = new(int)
	}
	return u
}

// context is the context of a whole answer and of a stream's last frame.
func (s *Server) context(e *exchange) chatContext {
	ctx := s.shortContext(e)
	ctx.Origin, ctx.Ext = "pass_v2", "chat"
	if s.plain(e) {
		return ctx
	}
	a := e.req.Input.Aca
	uses, again := a.usesHistory(), a.Context.IsRegenerate
	ctx.ModelName, ctx.BizSrc = e.model, "PAAS"
	ctx.IsRegenerate, ctx.UsePlatformChatHistory = &again, &uses
	ctx.BizUserID, ctx.ResultCount = a.UserProfile.UserID, 1
	character := firstText(e.persona.CharacterID, "null")
	ctx.ChatLockKey = fmt.Sprintf("chat_%s_%s_%s_%d", e.call.account, a.UserProfile.UserID, character, e.started)
	return ctx
}

// shortContext is the context of a stream's frames before the last.
func (s *Server) shortContext(e *exchange) chatContext {
	model := scramble(hash64(e.seed, e.answerID))
	var id [16]byte
	for i := range id {
		id[i] = byte(scramble(model+uint64(i)) >> 8)
	}
	ctx := chatContext{
		EnableDataInspection: e.inspect, RequestID: e.call.requestID, ModelRequestID: dashed(id),
		IsSave: e.room != nil,
	}
	if e.persona.CharacterID == "" {
		ctx.AnswerID = e.answerID
		return ctx
	}
	ctx.MessageID, ctx.ChatID = e.answerID, e.chatID
	if e.room != nil {
		ctx.ChatRoomID, ctx.SessionID = e.room.ID, e.question.SessionID
	}
	if s.plain(e) {
		return ctx
	}
	ctx.AnswerID = e.answerID
	if e.question != nil {
		ctx.ReplyMessageID = e.question.ID
	}
	return ctx
}
