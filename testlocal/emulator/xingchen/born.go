package xingchen

import (
	_ "embed" // the file that the server is born with
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed born.yaml
var bornFile []byte

// script is what a character or a template says to which words.
type script struct {
	Template    bool
	Content     string
	OpeningLine string
	Lines       []scriptLine
}

// scriptLine is said when the question holds one of the words. Of several lines that fit, the first is said, and the next
// when the reply is made anew. "|" marks the borders of frames.
type scriptLine struct {
	When []string `yaml:"when"`
	Say  string   `yaml:"say"`
}

type birth struct {
	Characters []struct {
		ID            string         `yaml:"id"`
		Owner         int            `yaml:"owner"`
		PreConfigured bool           `yaml:"preConfigured"`
		Profile       map[string]any `yaml:"profile"`
		Lines         []scriptLine   `yaml:"lines"`
	} `yaml:"characters"`
	Templates []struct {
		ID          string       `yaml:"id"`
		Content     string       `yaml:"content"`
		OpeningLine string       `yaml:"openingLine"`
		Lines       []scriptLine `yaml:"lines"`
	} `yaml:"templates"`
	Rooms []struct {
		CharacterID string `yaml:"characterId"`
		UserID      string `yaml:"userId"`
		SessionID   string `yaml:"sessionId"`
		Messages    []struct {
			ID      string `yaml:"id"`
			ChatID  string `yaml:"chatId"`
			Type    string `yaml:"type"`
			Content string `yaml:"content"`
			At      int64  `yaml:"at"`
		} `yaml:"messages"`
	} `yaml:"rooms"`
	Pictures []struct {
		MessageID string   `yaml:"messageId"`
		Users     []string `yaml:"users"`
		Prompt    string   `yaml:"prompt"`
	} `yaml:"pictures"`
}

// bornAt is when the characters were made, in milliseconds: before the first row of the documents' history.
const bornAt = 1689783510026

// bear fills an empty state.
func (s *Server) bear() error {
	var b birth
	if err := yaml.Unmarshal(bornFile, &b); err != nil {
		return fmt.Errorf("read what the emulator is born with: %w", err)
	}
	s.scripts = make(map[string]script)
	for _, t := range b.Templates {
		s.scripts[t.ID] = script{Template: true, Content: t.Content, OpeningLine: t.OpeningLine, Lines: marked(t.Lines)}
	}
	for i, c := range b.Characters {
		s.scripts[c.ID] = script{Lines: marked(c.Lines)}
		fields := make(profile, len(c.Profile))
		for name, value := range c.Profile {
			text, err := json.Marshal(value)
			if err != nil {
				return fmt.Errorf("read character %s: %w", c.ID, err)
			}
			fields[name] = text
		}
		at := bornAt + int64(i)
		born := &character{
			ID: c.ID, Version: s.cfg.Assume.FirstVersion, Profile: fields, PreConfigured: c.PreConfigured, Created: at, Modified: at,
		}
		if !c.PreConfigured {
			born.Owner = s.accountAt(c.Owner)
		}
		s.state.characters[c.ID] = born
	}
	s.bearRooms(b)
	for _, p := range b.Pictures {
		s.state.pictures[p.MessageID] = &picture{
			MessageID: p.MessageID, Account: s.accountAt(0), Users: p.Users, Prompt: p.Prompt,
		}
	}
	return nil
}

// marked puts the mark of frames into lines.
func marked(lines []scriptLine) []scriptLine {
	for i := range lines {
		lines[i].Say = strings.ReplaceAll(lines[i].Say, "|", string(frameMark))
	}
	return lines
}

// accountAt is the account of a key by its place; a key too few gives an account that nobody can use.
func (s *Server) accountAt(index int) string {
	if index < len(s.cfg.Keys) {
		return s.accounts[s.cfg.Keys[index]]
	}
	return accountOf("")
}

func (s *Server) bearRooms(b birth) {
	for _, born := range b.Rooms {
		r := &room{
			ID: s.state.nextRoom, Account: s.accountAt(0), CharacterID: born.CharacterID, UserID: born.UserID,
			SessionID: born.SessionID, Others: make(map[string][]*message),
		}
		s.state.nextRoom++
		for _, m := range born.Messages {
			row := &message{
				ID: m.ID, ChatID: m.ChatID, SessionID: born.SessionID, Type: m.Type, Content: m.Content, At: m.At, room: r,
			}
			r.Messages = append(r.Messages, row)
			s.state.messages[row.ID] = row
		}
		s.state.rooms[roomKey{r.Account, r.CharacterID, r.UserID}] = r
	}
}
