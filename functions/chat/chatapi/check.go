package chatapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// chatBody is what of a chat's body the function looks at. All else passes unseen. It
// follows Xingchen HTTP API, role chat.
type chatBody struct {
	Input struct {
		Messages []struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"messages"`
		ACA json.RawMessage `json:"aca"`
	} `json:"input"`
	Model      string `json:"model"`
	Parameters struct {
		IncrementalOutput bool `json:"incrementalOutput"`
		// Incremental is the spelling of the official Go SDK's own documents.
		Incremental bool `json:"incremental_output"`
	} `json:"parameters"`

	aca acaBody
}

// acaBody is read apart from what stands around it, the last one if there are several:
// encoding/json takes nearly a KiB of the stack for each level of objects, and all in one
// would double the stack of each stream.
type acaBody struct {
	BotProfile struct {
		CharacterID string `json:"characterId"`
		Name        string `json:"name"`
	} `json:"botProfile"`
	UserProfile struct {
		UserID string `json:"userId"`
	} `json:"userProfile"`
	Context struct {
		IsRegenerate bool `json:"isRegenerate"`
	} `json:"context"`
}

func readChat(body []byte) (*chatBody, error) {
	chat := new(chatBody)
	if err := httpapi.DecodeLenient(body, chat); err != nil {
		return nil, err
	}
	if chat.Input.ACA == nil {
		return chat, nil
	}
	return chat, httpapi.DecodeField("input.aca", chat.Input.ACA, &chat.aca)
}

// check names every fault of a role chat that can be told without asking upstream.
func (c *chatBody) check() error {
	var faults []httpapi.FieldError
	fault := func(field, message string) {
		faults = append(faults, httpapi.FieldError{Field: field, Message: message})
	}
	aca := &c.aca
	if len(c.Input.Messages) == 0 && !aca.Context.IsRegenerate {
		fault("input.messages", "missing: at least one message")
	}
	if aca.BotProfile.CharacterID == "" && aca.BotProfile.Name == "" {
		fault("input.aca.botProfile.characterId", "missing (a custom character needs name instead)")
	}
	if aca.UserProfile.UserID == "" {
		fault("input.aca.userProfile.userId", "missing")
	}
	return httpapi.Invalid(faults...)
}

// checkUser is the check of what upstream describes otherwise than a role chat.
func (c *chatBody) checkUser() error {
	if c.aca.UserProfile.UserID == "" {
		return httpapi.Invalid(httpapi.FieldError{Field: "input.aca.userProfile.userId", Message: "missing"})
	}
	return nil
}

// bot names whom the user talks to: a platform character by its id, one that the caller
// brings along by its model.
func (c *chatBody) bot() string {
	if id := c.aca.BotProfile.CharacterID; id != "" {
		return jobs.Bot(jobs.BotCharacter, id)
	}
	if c.Model != "" {
		return jobs.Bot(jobs.BotModel, c.Model)
	}
	return jobs.Bot(jobs.BotModel, "default")
}

func (c *chatBody) conversation(mode relay.Mode) *desk.Conversation {
	return &desk.Conversation{
		Bot: c.bot(), User: c.aca.UserProfile.UserID, Surface: jobs.SurfaceXingchen, Question: c.question(), Stream: mode != relay.Whole,
	}
}

func (c *chatBody) question() string {
	if n := len(c.Input.Messages); n > 0 {
		return c.Input.Messages[n-1].Content
	}
	return ""
}

// isWorkflow tells a workflow by its service name; its path may be that of role chat.
func isWorkflow(h http.Header) bool {
	return strings.HasPrefix(h.Get(xingchen.HeaderService), "aca-flow-")
}
