package export

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"xinghe/shared/jobs"
)

// turn is what one side says before the other one does.
type turn struct {
	role string
	text string
	// prompted by nobody: an opening remark, or a reminder.
	unprompted bool
}

// dialogue is what of a session becomes a line.
type dialogue struct {
	rows  []jobs.Row // of which the turns are made
	turns []turn
}

// compose makes a dialogue of all messages of a session, in their order, and tells why each
// of the others is left out. The dialogue is empty if there is nothing to learn from it.
//
// Both sides must speak in turn, so what one says in several messages becomes one turn; a
// dialogue begins with the user and ends with the character. Opening remarks and reminders
// answer nothing: they are context for what follows, if the format can say so.
func compose(format string, rows []jobs.Row, left func(reason string)) dialogue {
	slices.SortFunc(rows, spokenBefore)
	var d dialogue
	begun, answered := false, 0 // rows up to the last answer
	for _, row := range rows {
		t := turn{text: row.Content}
		switch row.MessageType {
		case jobs.TypeUser:
			t.role = jobs.TypeUser
		case jobs.TypeCharacter:
			t.role = jobs.TypeCharacter
		case jobs.TypeOpening, jobs.TypeReminder:
			t.role, t.unprompted = jobs.TypeCharacter, true
		default:
			left(jobs.LeftType)
			continue
		}
		if strings.TrimSpace(t.text) == "" {
			left(jobs.LeftEmpty)
			continue
		}
		answer := t.role == jobs.TypeCharacter && !t.unprompted
		begun = begun || t.role == jobs.TypeUser
		if answer && !begun || t.unprompted && format != jobs.FormatOpenAI {
			left(jobs.LeftUnprompted)
			continue
		}
		d.rows, d.turns = append(d.rows, row), append(d.turns, t)
		if answer {
			answered = len(d.rows)
		}
	}
	for _, t := range d.turns[answered:] {
		if t.unprompted {
			left(jobs.LeftUnprompted)
			continue
		}
		left(jobs.LeftUnanswered)
	}
	d.rows, d.turns = d.rows[:answered], d.turns[:answered]
	return d
}

// spokenBefore compares messages by when they were said. Within one millisecond an opening
// remark comes first, and an answer behind its question, which has the same chatId.
func spokenBefore(a, b jobs.Row) int {
	first := func(kind string) int { // whichever of the two is of the kind
		switch {
		case a.MessageType == b.MessageType:
			return 0
		case a.MessageType == kind:
			return -1
		case b.MessageType == kind:
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.GmtCreate, b.GmtCreate), first(jobs.TypeOpening), cmp.Compare(a.ChatID, b.ChatID),
		first(jobs.TypeUser), cmp.Compare(a.MessageID, b.MessageID))
}

// joined are the turns, with what one side says in several messages made one.
func (d dialogue) joined() []turn {
	var turns []turn
	for _, t := range d.turns {
		if n := len(turns); n > 0 && turns[n-1].role == t.role && turns[n-1].unprompted == t.unprompted {
			turns[n-1].text += "\n" + t.text
			continue
		}
		turns = append(turns, t)
	}
	return turns
}

// line is the dialogue in a format: as OpenAI takes examples of chats to tune models with,
// where a weight of 0 says that a message is not to be learned, or as ShareGPT's files are.
// A system message is not written: the character may have changed since it spoke.
func (d dialogue) line(format string) ([]byte, error) {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
		Weight  *int   `json:"weight,omitempty"`
	}
	type speech struct {
		From  string `json:"from"`
		Value string `json:"value"`
	}
	var document struct {
		Messages      []message `json:"messages,omitempty"`
		Conversations []speech  `json:"conversations,omitempty"`
	}
	for _, t := range d.joined() {
		if format == jobs.FormatShareGPT {
			from := map[string]string{jobs.TypeUser: "human", jobs.TypeCharacter: "gpt"}[t.role]
			document.Conversations = append(document.Conversations, speech{from, t.text})
			continue
		}
		m := message{Role: map[string]string{jobs.TypeUser: "user", jobs.TypeCharacter: "assistant"}[t.role], Content: t.text}
		if t.unprompted {
			m.Weight = new(int)
		}
		document.Messages = append(document.Messages, m)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("encode dialogue: %w", err)
	}
	return text.Bytes(), nil
}
