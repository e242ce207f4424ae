package emulator

import (
	"context"
	"iter"
	"strings"

	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/model"
	"xinghe/testlocal/emulator/xingchen"
)

func (cfg Config) replier() xingchen.Replier {
	if cfg.Words == nil {
		return cfg.Replier
	}
	return character{cfg.Words}
}

func (cfg Config) streamer() beebot.Streamer {
	if cfg.Words == nil {
		return nil
	}
	return func(ctx context.Context, ask beebot.Ask) iter.Seq2[string, error] {
		return cfg.Words.Stream(ctx, []model.Message{
			{Role: "system", Content: "你是一个客服机器人。请用一两句话简短地回答用户的问题,不知道就直说。"},
			{Role: "user", Content: ask.Utterance},
		})
	}
}

// character lets a model speak as a character. It is a [xingchen.Streamer].
type character struct{ model *model.Client }

func (c character) Reply(ctx context.Context, prompt xingchen.Prompt) (string, error) {
	return c.model.Reply(ctx, conversation(prompt))
}

func (c character) Stream(ctx context.Context, prompt xingchen.Prompt) iter.Seq2[string, error] {
	return c.model.Stream(ctx, conversation(prompt))
}

// conversation is a prompt as a model takes it: who it is, lines that show how it speaks, and
// what was said.
func conversation(p xingchen.Prompt) []model.Message {
	var system strings.Builder
	line := func(label, text string) {
		if text = strings.TrimSpace(text); text != "" {
			system.WriteString(label + text + "\n")
		}
	}
	line("请扮演", p.Persona.Name)
	line("简介:", p.Persona.Introduction)
	line("设定:", p.Persona.Basic)
	line("说话的方式:", p.Persona.Traits)
	line("场景:", p.Scene)
	line("用户叫", p.UserName)
	messages := []model.Message{}
	if system.Len() > 0 {
		messages = append(messages, model.Message{Role: "system", Content: strings.TrimSpace(system.String())})
	}
	for _, example := range p.Persona.Examples {
		if example.User != "" { // else it is a line that answers nothing
			messages = append(messages, model.Message{Role: "user", Content: example.User}, model.Message{Role: "assistant", Content: example.Character})
		}
	}
	for _, turn := range p.Messages {
		role := turn.Role
		if role == "function" {
			role = "user" // what a function has returned; endpoints want more of one than we know
		}
		messages = append(messages, model.Message{Role: role, Content: turn.Content})
	}
	return messages
}
