package userdata

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"xinghe/shared/jobs"
)

// matcher tells what is a user's.
type matcher struct {
	user User
	// ids are those of the user's messages, as far as they are known.
	ids map[string]bool
}

func newMatcher(user User) matcher { return matcher{user: user, ids: map[string]bool{}} }

// userFields are the names of fields that hold the id of a user, in lower case.
var userFields = []string{"userid", "bizuserid", "senderid", "user"}

// is reports whether a pair of a bot and a user is meant. Where the bot is not known the
// id of the message may tell.
func (m *matcher) is(bot, user, messageID string) bool {
	if user != m.user.ID {
		return false
	}
	return m.user.Bot == "" || bot == m.user.Bot || bot == "" && m.ids[messageID]
}

// character reports whether a character's part of a list of users is meant.
func (m *matcher) character(id string) bool {
	return m.user.Bot == "" || m.user.Bot == jobs.Bot(jobs.BotCharacter, id)
}

// names reports whether a JSON document names the user, by a field or in a list, and notes
// the ids of messages that stand beside it. With anywhere every text that is the id counts.
func (m *matcher) names(data []byte, anywhere bool) bool {
	value, err := decode(data)
	if err != nil {
		return false
	}
	return m.walk(value, "", anywhere)
}

// linked reports whether a JSON document names a message of the user's.
func (m *matcher) linked(data []byte) bool {
	value, err := decode(data)
	return err == nil && m.hangs(value)
}

func decode(data []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

// parse decodes a document; ok tells whether it is one.
func parse[T any](data []byte) (value T, ok bool) {
	ok = json.Unmarshal(data, &value) == nil
	return value, ok
}

func (m *matcher) walk(value any, bot string, anywhere bool) (found bool) {
	switch v := value.(type) {
	case string:
		return anywhere && v == m.user.ID
	case []any:
		for _, element := range v {
			found = m.walk(element, bot, anywhere) || found
		}
	case map[string]any:
		bot = botOf(v, bot)
		messageID, _ := v["messageId"].(string)
		for name, field := range v {
			switch id, text := field.(string); {
			case text && slices.Contains(userFields, strings.ToLower(name)) && m.is(bot, id, messageID):
				if messageID != "" {
					m.ids[messageID] = true
				}
				found = true
			case m.user.Bot == "" && strings.EqualFold(name, "users") && m.lists(field):
				found = true
			default:
				found = m.walk(field, bot, anywhere) || found
			}
		}
	}
	return found
}

// botOf is the bot that an object speaks of.
func botOf(object map[string]any, outer string) string {
	if bot, ok := object["bot"].(string); ok {
		return bot
	}
	if id, ok := object["characterId"].(string); ok {
		return jobs.Bot(jobs.BotCharacter, id)
	}
	return outer
}

// lists reports whether the user is one of a list of ids.
func (m *matcher) lists(value any) bool {
	list, ok := value.([]any)
	return ok && slices.Contains(list, any(m.user.ID))
}

// hangs reports whether a field messageId is one of the user's.
func (m *matcher) hangs(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, m.hangs)
	case map[string]any:
		if id, ok := v["messageId"].(string); ok && m.ids[id] {
			return true
		}
		for _, field := range v {
			if m.hangs(field) {
				return true
			}
		}
	}
	return false
}

// sentences are the names of fields that hold one, in lower case.
var sentences = []string{"error", "reason"}

// scrub puts [Erased] in the place of the user, in fields, lists of users and sentences.
func (m *matcher) scrub(value any) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			m.scrub(element)
		}
	case map[string]any:
		for name, field := range v {
			switch text, ok := field.(string); {
			case ok && slices.Contains(userFields, strings.ToLower(name)) && text == m.user.ID:
				v[name] = Erased
			case ok && slices.Contains(sentences, strings.ToLower(name)):
				v[name] = m.scrubText(text)
			case strings.EqualFold(name, "users"):
				replaceAll(field, m.user.ID)
			default:
				m.scrub(field)
			}
		}
	}
}

func replaceAll(value any, id string) {
	list, _ := value.([]any)
	for i := range list {
		if list[i] == any(id) {
			list[i] = Erased
		}
	}
}

// scrubJSON is scrub for a document; changed tells whether there was anything to do.
func (m *matcher) scrubJSON(data []byte) (scrubbed []byte, changed bool, err error) {
	value, err := decode(data)
	if err != nil {
		return nil, false, err
	}
	before, err := encode(value)
	if err != nil {
		return nil, false, err
	}
	m.scrub(value)
	after, err := encode(value)
	return after, !bytes.Equal(before, after), err
}

func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// scrubText replaces the user's id where it stands as a word of its own.
func (m *matcher) scrubText(text string) string {
	var clean strings.Builder
	done := 0
	for from := 0; ; {
		at := strings.Index(text[from:], m.user.ID)
		if at < 0 {
			break
		}
		at += from
		end := at + len(m.user.ID)
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[end:])
		if inWord(before) || inWord(after) {
			_, size := utf8.DecodeRuneInString(text[at:])
			from = at + size
			continue
		}
		clean.WriteString(text[done:at] + Erased)
		done, from = end, end
	}
	return clean.String() + text[done:]
}

// says reports whether a sentence names the user.
func (m *matcher) says(text string) bool { return m.scrubText(text) != text }

func inWord(c rune) bool {
	return c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c)
}
