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
	req, err := readGroup(c.body)
	if err != nil {
		return nil, err
	}
	group := req.Input.Aca
	speaker, err := req.speaker(0)
	if err != nil {
		return nil, err
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

// nextSpeaker answers groupchat/nextSpeaker: who speaks next, chosen as groupChat does, but that where nobody is named the
// turn goes round, from the one who spoke last.
func (s *Server) nextSpeaker(c *call) (any, error) {
	req, err := readGroup(c.body)
	if err != nil {
		return nil, err
	}
	bots, messages := req.Input.Aca.BotProfiles, req.Input.Messages
	turn := 0
	for _, message := range messages {
		if at := slices.IndexFunc(bots, func(b groupBot) bool { return b.Name == message.Name && b.Name != "" }); at >= 0 {
			turn = (at + 1) % len(bots)
		}
	}
	speaker, err := req.speaker(turn)
	if err != nil {
		return nil, err
	}
	name, heard := bots[speaker].Name, messages[len(messages)-1].Content
	thought := "听了这句话,该由" + name + "来接着说。"
	return struct {
		Name    string `json:"name"`
		Thought string `json:"thought"`
		derived
	}{name, thought, s.derived(c, heard, name+thought)}, nil
}

func readGroup(body []byte) (groupRequest, error) {
	var req groupRequest
	if err := decode(body, &req); err != nil {
		return req, err
	}
	if req.Input == nil || req.Input.Aca == nil {
		return req, errParam.naming("input.aca must not be empty")
	}
	if len(req.Input.Aca.BotProfiles) == 0 {
		return req, errParam.naming("input.aca.botProfiles must not be empty")
	}
	if len(req.Input.Messages) == 0 {
		return req, errParam.naming("input.messages must hold 1 to %d messages", maxMessages)
	}
	return req, nil
}

// speaker is who answers, by number; other is who does if nobody is named.
func (r groupRequest) speaker(other int) (int, error) {
	group, last := r.Input.Aca, r.Input.Messages[len(r.Input.Messages)-1]
	if wanted := group.ReplySetting.BotName; wanted != "" {
		at := slices.IndexFunc(group.BotProfiles, func(b groupBot) bool { return b.Name == wanted })
		if at < 0 {
			return 0, errNotFound.naming("bot %s", wanted)
		}
		return at, nil
	}
	for i, bot := range group.BotProfiles {
		if bot.Name != "" && strings.Contains(last.Content, bot.Name) {
			return i, nil
		}
	}
	return other, nil
}
