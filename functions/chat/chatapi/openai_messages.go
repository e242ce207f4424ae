package chatapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
)

// completionMessage is one message of a conversation.
type completionMessage struct {
	Role, Name, Content string

	at string // where it stands in the request
}

const (
	// maxMessages follows Xingchen HTTP API, role chat, section "request".
	maxMessages = 50
	// personaName is whom a model plays if the system message has no name.
	personaName = "assistant"
)

// readMessages decodes the messages and names every fault.
func (q *completionRequest) readMessages(list []json.RawMessage, found *faults) {
	before := len(*found)
	for i, raw := range list {
		if m := readMessage(fmt.Sprintf("messages[%d]", i), raw, found); m.Role != "" {
			q.take(m, found)
		}
	}
	switch {
	case len(*found) > before:
	case len(q.messages) == 0 || q.last().Role != "user":
		found.add("messages", "must end with a user's message")
	case len(q.messages) > maxMessages:
		found.add("messages", "%d messages, at most %d", len(q.messages), maxMessages)
	}
}

// take adds a message to what was said. Speakers must alternate upstream, so what one says in
// several messages becomes one.
func (q *completionRequest) take(m completionMessage, found *faults) {
	if m.Role == "system" {
		if len(q.messages) > 0 {
			found.add(m.at+".role", "a system message must stand before the conversation")
			return
		}
		q.system, q.persona = strings.TrimSpace(q.system+"\n\n"+m.Content), cmp.Or(m.Name, q.persona)
		return
	}
	q.several = len(q.messages) > 0
	if q.several && q.last().Role == m.Role {
		m.Content = q.last().Content + "\n" + m.Content
		q.messages = q.messages[:len(q.messages)-1]
	}
	q.messages = append(q.messages, m)
}

func (q *completionRequest) last() completionMessage { return q.messages[len(q.messages)-1] }

// readMessage decodes one message. Its role is empty if there is a fault.
func readMessage(at string, raw json.RawMessage, found *faults) (m completionMessage) {
	before := len(*found)
	var fields map[string]json.RawMessage
	found.decode(at, raw, &fields)
	m.at = at
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch name {
		case "role":
			found.decode(at+".role", fields[name], &m.Role)
		case "name":
			found.decode(at+".name", fields[name], &m.Name)
		case "content":
			m.Content = readContent(at+".content", fields[name], found)
		default:
			// Clients send answers back as they have got them, empty fields and all.
			if !isOneOf(fields[name], []any{nil, "", []any{}, map[string]any{}}) {
				found.add(at+"."+name, "is not supported")
			}
		}
	}
	switch m.Role {
	case "developer":
		m.Role = "system"
	case "system", "user", "assistant":
	case "":
		if len(*found) == before {
			found.add(at+".role", "missing")
		}
	default:
		found.add(at+".role", "%q is not supported; use system, user or assistant", m.Role)
	}
	if len(*found) == before && m.Role != "assistant" && strings.TrimSpace(m.Content) == "" {
		found.add(at+".content", "missing")
	}
	if len(*found) > before {
		m.Role = ""
	}
	return m
}

// readContent decodes a text, or a list of parts, each on lines of its own.
func readContent(at string, raw json.RawMessage, found *faults) string {
	if len(raw) == 0 || raw[0] != '[' {
		var text string
		found.decode(at, raw, &text)
		return text
	}
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		found.add(at, "is not a list of parts with type and text")
		return ""
	}
	texts := make([]string, 0, len(parts))
	for i, part := range parts {
		switch {
		case part.Type != "text":
			found.add(fmt.Sprintf("%s[%d].type", at, i), "%q is not supported; use text", part.Type)
		case part.Text == nil:
			found.add(fmt.Sprintf("%s[%d].text", at, i), "missing")
		default:
			texts = append(texts, *part.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// question is what the user has said last.
func (q *completionRequest) question() string { return q.last().Content }

// userName is how the user is called; may be empty.
func (q *completionRequest) userName() string { return q.last().Name }

// roleChat is the request in the words of Xingchen HTTP API, role chat. What a system message
// says is the scene of a character, and the persona of a model.
func (q *completionRequest) roleChat(to partner, user string) xingchen.ChatRequest {
	history := !q.several && q.Metadata[metaHistory] == "true"
	chat := xingchen.ChatRequest{Parameters: &xingchen.Parameters{
		IncrementalOutput: q.Stream, Seed: q.Seed, Temperature: q.Temperature, MaxLength: cmp.Or(q.MaxCompletionTokens, q.MaxTokens),
	}}
	if q.TopP != nil && *q.TopP < 1 { // 1 is no restriction, and none that upstream takes
		chat.Parameters.TopP = q.TopP
	}
	for _, m := range q.messages {
		chat.Input.Messages = append(chat.Input.Messages, xingchen.Message{Role: m.Role, Name: m.Name, Content: m.Content})
	}
	aca := &chat.Input.ACA
	aca.UserProfile = xingchen.UserProfile{UserID: user, UserName: q.userName()}
	aca.Context = &xingchen.ChatContext{UseChatHistory: &history}
	if q.N != nil && *q.N > 1 {
		aca.Context.ResultCount = *q.N
	}
	if to.kind == jobs.BotModel {
		chat.Model = to.id
		aca.BotProfile = xingchen.BotProfile{Name: cmp.Or(q.persona, personaName), Content: q.system}
		return chat
	}
	aca.BotProfile.CharacterID = to.id
	if q.system != "" {
		aca.Scenario = &xingchen.Scenario{Description: q.system}
	}
	return chat
}
