package xingchen

import (
	"fmt"
	"slices"
	"strings"
)

// chatRequest is the body of chat/send: the fields that the server reads. Others are taken and left alone.
type chatRequest struct {
	Input      *chatInput `json:"input"`
	Model      string     `json:"model"`
	Parameters parameters `json:"parameters"`

	group bool // several speakers, who need not alternate
}

type chatInput struct {
	Messages []turn `json:"messages"`
	Aca      *aca   `json:"aca"`
}

type turn struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Content string `json:"content"`
}

type aca struct {
	BotProfile  botProfile `json:"botProfile"`
	UserProfile struct {
		UserID    string `json:"userId"`
		UserName  string `json:"userName"`
		BasicInfo string `json:"basicInfo"`
	} `json:"userProfile"`
	Scenario struct {
		Description string `json:"description"`
	} `json:"scenario"`
	Context struct {
		UseChatHistory *bool  `json:"useChatHistory"`
		IsRegenerate   bool   `json:"isRegenerate"`
		QueryID        string `json:"queryId"`
		AnswerID       string `json:"answerId"`
		ResultCount    *int   `json:"resultCount"`
	} `json:"context"`
	SampleMessages []turn `json:"sampleMessages"`
}

type botProfile struct {
	CharacterID      string            `json:"characterId"`
	Version          *int              `json:"version"`
	Name             string            `json:"name"`
	Content          string            `json:"content"`
	Type             string            `json:"type"`
	CustomTemplateID string            `json:"customTemplateId"`
	Params           map[string]string `json:"params"`
	EnableOpenLine   *bool             `json:"enableOpenLine"`
	Traits           string            `json:"traits"`
}

type parameters struct {
	IncrementalOutput      *bool    `json:"incrementalOutput"`
	IncrementalOutputSnake *bool    `json:"incremental_output"`
	Seed                   *int64   `json:"seed"`
	TopP                   *float64 `json:"topP"`
	TopK                   *int     `json:"topK"`
	Temperature            *float64 `json:"temperature"`
	MaxLength              *int     `json:"maxLength"`
	MinLength              *int     `json:"minLength"`
	ModelName              string   `json:"modelName"`
}

const (
	maxMessages    = 50
	maxResultCount = 10
	defaultModel   = "xingchen-plus-v2"
	defaultSeed    = 1683806810
)

// check refuses the first field that is missing or out of its limits.
func (r *chatRequest) check() error {
	if r.Input == nil {
		return errParam.naming("input must not be empty")
	}
	if r.Input.Aca == nil {
		return errParam.naming("input.aca must not be empty")
	}
	if err := r.Input.Aca.check(); err != nil {
		return err
	}
	if err := r.checkMessages(); err != nil {
		return err
	}
	return r.Parameters.check()
}

func (a *aca) check() error {
	bot := a.BotProfile
	switch {
	case a.UserProfile.UserID == "":
		return errParam.naming("input.aca.userProfile.userId must not be empty")
	case bot.CharacterID == "" && bot.Name == "":
		return errParam.naming("input.aca.botProfile needs characterId or name")
	case bot.CharacterID == "" && bot.Content == "" && bot.CustomTemplateID == "":
		return errParam.naming("input.aca.botProfile needs content or customTemplateId")
	case a.Context.IsRegenerate && a.usesHistory() && a.Context.QueryID == "":
		return errParam.naming("input.aca.context.queryId must not be empty for isRegenerate")
	}
	if n := a.Context.ResultCount; n != nil && (*n < 1 || *n > maxResultCount) {
		return errParam.naming("input.aca.context.resultCount must be between 1 and %d", maxResultCount)
	}
	return nil
}

func (a *aca) usesHistory() bool {
	return a.Context.UseChatHistory == nil || *a.Context.UseChatHistory
}

// regeneratesStored reports whether the question is one that the server stored.
func (a *aca) regeneratesStored() bool {
	return a.Context.IsRegenerate && a.usesHistory() && a.BotProfile.CharacterID != ""
}

func (r *chatRequest) checkMessages() error {
	messages := r.Input.Messages
	if r.Input.Aca.regeneratesStored() {
		return nil
	}
	if len(messages) < 1 || len(messages) > maxMessages {
		return errParam.naming("input.messages must hold 1 to %d messages", maxMessages)
	}
	previous := ""
	for i, message := range messages {
		field := fmt.Sprintf("input.messages[%d]", i)
		switch {
		case !slices.Contains([]string{"system", "user", "assistant", "function"}, message.Role):
			return errParam.naming("%s.role must be system, user, assistant or function", field)
		case message.Role == "system" && i > 0:
			return errParam.naming("%s.role: system is allowed in first place only", field)
		case message.Role == previous && message.Role != "function" && !r.group:
			return errParam.naming("%s.role: user and assistant must alternate", field)
		case strings.TrimSpace(message.Content) == "" && message.Role == "user":
			return errParam.naming("%s.content must not be empty", field)
		}
		previous = message.Role
	}
	if previous != "user" && previous != "function" && !r.group {
		return errParam.naming("input.messages must end with a user's message")
	}
	return nil
}

func (p *parameters) check() error {
	switch {
	case p.Seed != nil && *p.Seed < 0:
		return errParam.naming("parameters.seed must not be negative")
	case p.TopP != nil && (*p.TopP <= 0 || *p.TopP >= 1):
		return errParam.naming("parameters.topP must be between 0 and 1")
	case p.TopK != nil && *p.TopK < 0:
		return errParam.naming("parameters.topK must not be negative")
	case p.Temperature != nil && *p.Temperature < 0:
		return errParam.naming("parameters.temperature must not be negative")
	case p.MaxLength != nil && *p.MaxLength < 1:
		return errParam.naming("parameters.maxLength must be at least 1")
	case p.MinLength != nil && *p.MinLength < 0:
		return errParam.naming("parameters.minLength must not be negative")
	}
	return nil
}

func (p *parameters) incremental(fallback bool) bool {
	for _, choice := range []*bool{p.IncrementalOutput, p.IncrementalOutputSnake} {
		if choice != nil {
			return *choice
		}
	}
	return fallback
}
