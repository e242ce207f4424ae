package xingchen

import (
	"slices"
	"strings"
)

// groupRequest is the body of groupchat/send, which the vendor's SDK and group chat page describe.
type groupRequest struct {
	Input *struct {
		Messages []turn `json:"messages"`
		Aca      *struct {
			BotProfiles  []groupBot `json:"botProfiles"`
			ReplySetting struct {
				BotName string `json:"botName"`
			} `json:"replySetting"`
			UserProfile struct {
				UserID   string `json:"userId"`
				UserName string `json:"userName"`
			} `json:"userProfile"`
			GroupInfo struct {
				Description string `json:"description"`
			} `json:"groupInfo"`
		} `json:"aca"`
	} `json:"input"`
	Model      string     `json:"model"`
	Parameters parameters `json:"parameters"`
}

type groupBot struct {
	Name    string `json:"name"`
	Content string `json:"content"`
	Task    string `json:"task"`
}

// groupChat lets one of several custom characters answer: the one that replySetting names, else the first whom the last
// message names, else the first. Nothing is stored.
func (s *Server) groupChat(c *call) (any, error) {
	var req groupRequest
	if err := decode(c.body, &req); err != nil {
		return nil, err
	}
	if req.Input == nil || req.Input.Aca == nil {
		return nil, errParam.naming("input.aca must not be empty")
	}
	group := req.Input.Aca
	if len(group.BotProfiles) == 0 {
		return nil, errParam.naming("input.aca.botProfiles must not be empty")
	}
	if len(req.Input.Messages) == 0 {
		return nil, errParam.naming("input.messages must hold 1 to %d messages", maxMessages)
	}
	last := req.Input.Messages[len(req.Input.Messages)-1]
	speaker := 0
	for i, bot := range slices.Backward(group.BotProfiles) {
		if bot.Name != "" && strings.Contains(last.Content, bot.Name) {
			speaker = i
		}
	}
	if wanted := group.ReplySetting.BotName; wanted != "" {
		speaker = slices.IndexFunc(group.BotProfiles, func(b groupBot) bool { return b.Name == wanted })
	}
	if speaker < 0 {
		return nil, errNotFound.naming("bot %s", group.ReplySetting.BotName)
	}
	single := chatRequest{Model: req.Model, Parameters: req.Parameters, group: true}
	single.Input = &chatInput{Messages: req.Input.Messages, Aca: new(aca)}
	single.Input.Aca.BotProfile = botProfile{
		Name: group.BotProfiles[speaker].Name, Content: group.BotProfiles[speaker].Content + group.BotProfiles[speaker].Task,
	}
	single.Input.Aca.UserProfile.UserID = group.UserProfile.UserID
	single.Input.Aca.UserProfile.UserName = group.UserProfile.UserName
	single.Input.Aca.Scenario.Description = group.GroupInfo.Description
	return s.converse(c, &single)
}
