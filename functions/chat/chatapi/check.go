package chatapi

import (
	"xinghe/shared/httpapi"
)

// chatBody is what of a role chat must be there for upstream to make sense of it. All else
// passes unseen. It follows Xingchen HTTP API, role chat.
type chatBody struct {
	Input *struct {
		Messages []struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"messages"`
		ACA struct {
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
		} `json:"aca"`
	} `json:"input"`
}

// checkChat names every fault of a role chat that can be told without asking upstream.
func checkChat(body []byte) error {
	var chat chatBody
	if err := httpapi.DecodeLenient(body, &chat); err != nil {
		return err
	}
	if chat.Input == nil {
		return httpapi.Invalid(httpapi.FieldError{Field: "input", Message: "missing"})
	}
	var faults []httpapi.FieldError
	fault := func(field, message string) {
		faults = append(faults, httpapi.FieldError{Field: field, Message: message})
	}
	aca := chat.Input.ACA
	if len(chat.Input.Messages) == 0 && !aca.Context.IsRegenerate {
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
