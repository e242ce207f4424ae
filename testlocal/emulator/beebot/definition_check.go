package beebot

import (
	"errors"
	"fmt"
)

// check reports every fault of a definition.
func (b *Bot) check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("bot %q: "+format, append([]any{b.ID}, args...)...))
	}
	if b.ID == "" {
		fault("id is empty")
	}
	switch b.Edition {
	case EditionBoth, EditionClassic, EditionTongyi:
	default:
		fault("edition %q: want classic, tongyi or nothing", b.Edition)
	}
	b.checkKnowledge(fault)
	b.checkDialogues(fault)
	b.checkTalk(fault)
	b.checkClarify(fault)
	return errors.Join(faults...)
}

func (b *Bot) checkKnowledge(fault func(string, ...any)) {
	ids := make(map[string]bool, len(b.Knowledge))
	for i, entry := range b.Knowledge {
		if entry.ID == "" || entry.Title == "" || entry.Content == "" {
			fault("knowledge[%d]: id, title and content must not be empty", i)
		}
		if ids[entry.ID] {
			fault("knowledge[%d]: id %s is given twice", i, entry.ID)
		}
		ids[entry.ID] = true
		if entry.ContentType != "" && entry.ContentType != plainText && entry.ContentType != richText {
			fault("knowledge[%d]: contentType %q: want PLAIN_TEXT or RICH_TEXT", i, entry.ContentType)
		}
	}
}

func (b *Bot) checkDialogues(fault func(string, ...any)) {
	names := make(map[string]bool, len(b.Dialogues))
	for i := range b.Dialogues {
		dialogue := &b.Dialogues[i]
		if dialogue.Name == "" || dialogue.Intent == "" || blank(dialogue.Reply) {
			fault("dialogues[%d]: name, intent and reply must not be empty", i)
		}
		if names[dialogue.Name] {
			fault("dialogues[%d]: name %s is given twice", i, dialogue.Name)
		}
		names[dialogue.Name] = true
		for j, slot := range dialogue.Slots {
			if slot.Name == "" || blank(slot.Ask) {
				fault("dialogues[%d].slots[%d]: name and ask must not be empty", i, j)
			}
		}
		for _, phrase := range dialogue.Phrases {
			if name, ok := firstSlot(phrase); ok && dialogue.slot(name) == nil {
				fault("dialogues[%d]: phrase %q names no slot of the dialogue", i, phrase)
			}
		}
	}
}

func (b *Bot) checkTalk(fault func(string, ...any)) {
	if len(b.Sensitive.Words) > 0 && blank(b.Sensitive.Reply) {
		fault("sensitive: reply is empty")
	}
	for i, entry := range b.Handover {
		if len(entry.Phrases) == 0 || blank(entry.Reply) {
			fault("handover[%d]: phrases and reply must not be empty", i)
		}
	}
	for i, entry := range b.ChitChat {
		if len(entry.Phrases) == 0 || blank(entry.Reply) {
			fault("chitchat[%d]: phrases and reply must not be empty", i)
		}
	}
	for i, entry := range b.Generated {
		if len(entry.Phrases) == 0 || blank(entry.Reply) {
			fault("generated[%d]: phrases and reply must not be empty", i)
		}
	}
}

func (b *Bot) checkClarify(fault func(string, ...any)) {
	for i, entry := range b.Clarify {
		if len(entry.Phrases) == 0 || len(entry.Items) == 0 {
			fault("clarify[%d]: phrases and items must not be empty", i)
		}
		for j, item := range entry.Items {
			known := item.Knowledge != "" && b.knowledge(item.Knowledge) != nil
			known = known || item.Dialogue != "" && b.dialogue(item.Dialogue) != nil
			if !known || item.Knowledge != "" && item.Dialogue != "" {
				fault("clarify[%d].items[%d]: want the id of a knowledge title or the name of a dialogue of this robot", i, j)
			}
		}
	}
}
