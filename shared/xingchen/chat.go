package xingchen

import (
	"context"
	"encoding/json"
	"errors"

	"xinghe/shared/upstream"
)

// ChatRequest is the body of a role chat. It follows Xingchen HTTP API, pages on custom and
// on platform characters. Fields left zero are not sent, and mean what the service's
// defaults say.
type ChatRequest struct {
	Input ChatInput `json:"input"`
	// Model overrides the character's model; the platform's default is xingchen-plus-v2.
	Model      string      `json:"model,omitempty"`
	Parameters *Parameters `json:"parameters,omitempty"`
	Debug      bool        `json:"debug,omitempty"`
}

// ChatInput holds what was said, oldest first, and who speaks.
type ChatInput struct {
	Messages []Message `json:"messages"`
	ACA      ACA       `json:"aca"`
}

// Message is one turn. Roles are system (in first place only), user, assistant and function.
type Message struct {
	Name    string `json:"name,omitempty"`
	Role    string `json:"role"`
	Content string `json:"content"`
}

// ACA names the character, the user, and the scene.
type ACA struct {
	BotProfile       BotProfile        `json:"botProfile"`
	UserProfile      UserProfile       `json:"userProfile"`
	Scenario         *Scenario         `json:"scenario,omitempty"`
	Context          *ChatContext      `json:"context,omitempty"`
	SampleMessages   []Message         `json:"sampleMessages,omitempty"`
	FunctionList     []Function        `json:"functionList,omitempty"`
	FunctionChoice   *FunctionChoice   `json:"functionChoice,omitempty"`
	Memory           *Memory           `json:"memory,omitempty"`
	PlatformPlugins  []PlatformPlugin  `json:"platformPlugins,omitempty"`
	AdvancedSettings *AdvancedSettings `json:"advancedSettings,omitempty"`
}

// BotProfile names a platform character by CharacterID, or describes a custom one by Name
// and either Content or Type, CustomTemplateID and Params.
type BotProfile struct {
	CharacterID      string            `json:"characterId,omitempty"`
	Version          int               `json:"version,omitempty"`
	Name             string            `json:"name,omitempty"`
	Content          string            `json:"content,omitempty"`
	Type             string            `json:"type,omitempty"`
	CustomTemplateID string            `json:"customTemplateId,omitempty"`
	Params           map[string]string `json:"params,omitempty"`
	EnableOpenLine   *bool             `json:"enableOpenLine,omitempty"`
	Task             string            `json:"task,omitempty"`
	Traits           string            `json:"traits,omitempty"`
}

// UserProfile is the end user. One user can hold one conversation at a time.
type UserProfile struct {
	UserID    string `json:"userId"`
	UserName  string `json:"userName,omitempty"`
	BasicInfo string `json:"basicInfo"`
}

// Scenario is the scene that the conversation plays in.
type Scenario struct {
	Description  string   `json:"description"`
	Topics       []string `json:"topics,omitempty"`
	UserTags     []string `json:"userTags,omitempty"`
	SafetyPrompt string   `json:"safetyPrompt,omitempty"`
	IsRealTime   *bool    `json:"isRealTime,omitempty"`
}

// ChatContext says how the call stands to the history that the platform keeps.
type ChatContext struct {
	// UseChatHistory is true upstream unless it is sent as false: then only Messages count.
	UseChatHistory *bool `json:"useChatHistory,omitempty"`
	// IsRegenerate asks for another answer to the question QueryID.
	IsRegenerate bool   `json:"isRegenerate,omitempty"`
	QueryID      string `json:"queryId,omitempty"`
	// AnswerID says which of several earlier answers was chosen.
	AnswerID string `json:"answerId,omitempty"`
	// ResultCount is the number of answers wanted, for calls that do not stream.
	ResultCount int `json:"resultCount,omitempty"`
}

// Function describes a tool that the character may call.
type Function struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

// FunctionChoice restricts which functions may be called. The values are not documented.
type FunctionChoice struct {
	Type  string   `json:"functionChoiceType,omitempty"`
	Names []string `json:"names,omitempty"`
}

// Memory is what the caller remembers of the user. An empty one is said to switch the
// platform's long-term memory on.
type Memory struct {
	Summaries []string    `json:"summaries,omitempty"`
	Originals []Message   `json:"originals,omitempty"`
	Tags      []MemoryTag `json:"tags,omitempty"`
}

// MemoryTag is one remembered property.
type MemoryTag struct {
	Role  string   `json:"role,omitempty"`
	Key   string   `json:"key"`
	Value []string `json:"value"`
}

// AdvancedSettings switch search and memory for one call. Web search needs
// SearchEnhancedKeyword.
type AdvancedSettings struct {
	EnableWebSearch         *bool    `json:"enableWebSearch,omitempty"`
	SearchEnhancedKeyword   string   `json:"searchEnhancedKeyword,omitempty"`
	EnableCharacterKbSearch *bool    `json:"enableCharacterKbSearch,omitempty"`
	EnableLongTermMemory    *bool    `json:"enableLongTermMemory,omitempty"`
	EnableDebug             *bool    `json:"enableDebug,omitempty"`
	KnowledgeBases          []string `json:"knowledgeBases,omitempty"`
}

// Parameters steer the model.
type Parameters struct {
	// IncrementalOutput makes each frame of a stream hold only what is new; otherwise each
	// frame repeats the whole text so far.
	IncrementalOutput bool `json:"incrementalOutput"`
	// Seed must change from call to call with xingchen-plus-v2.
	Seed        *int64   `json:"seed,omitempty"`
	TopP        *float64 `json:"topP,omitempty"`
	TopK        *int     `json:"topK,omitempty"`
	Temperature *float64 `json:"temperature,omitempty"`
	// MaxLength and MinLength bound the answer, in tokens.
	MaxLength *int   `json:"maxLength,omitempty"`
	MinLength *int   `json:"minLength,omitempty"`
	ModelName string `json:"modelName,omitempty"`
}

// Validate returns a [*upstream.FieldError] for what the service would refuse for certain.
func (r ChatRequest) Validate() error {
	regenerate := r.Input.ACA.Context != nil && r.Input.ACA.Context.IsRegenerate
	bot := r.Input.ACA.BotProfile
	switch {
	case len(r.Input.Messages) == 0 && !regenerate:
		return &upstream.FieldError{Field: "input.messages", Message: "must hold at least one message"}
	case bot.CharacterID == "" && bot.Name == "":
		return &upstream.FieldError{Field: "input.aca.botProfile.characterId", Message: "missing (a custom character needs name instead)"}
	case bot.CharacterID == "" && bot.Content == "" && bot.CustomTemplateID == "":
		return &upstream.FieldError{Field: "input.aca.botProfile.content", Message: "missing (a custom character needs content or customTemplateId)"}
	case r.Input.ACA.UserProfile.UserID == "":
		return &upstream.FieldError{Field: "input.aca.userProfile.userId", Message: "missing"}
	}
	return nil
}

// Chat asks for an answer in one piece. It follows Xingchen HTTP API, role chat, section
// "non-stream". It is never retried here: see the package comment.
func (c *Client) Chat(ctx context.Context, req ChatRequest, opts ...CallOption) (*ChatResult, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	result, err := call[*ChatResult](ctx, c, routeChat, nil, req, opts)
	switch {
	case err != nil:
		return nil, err
	case result == nil:
		return nil, &upstream.DecodeError{Service: name, What: "chat answer", Err: errors.New("no data in the answer")}
	}
	return result, nil
}
