package beebot

import (
	"maps"
	"strings"
	"time"
)

// dialogueState is where a conversation stands inside a dialogue. It is never changed, only
// replaced.
type dialogueState struct {
	dialogue int
	slots    filled
	pending  int // index of the slot that was asked for
	asked    int // how often in a row
}

type filled map[string]slotValue

type slotValue struct {
	value, origin string
	hit           bool // filled by the last utterance
}

// maxAsked is how often a dialogue asks for the same slot before it gives up.
const maxAsked = 3

// turn decides a question within its session and keeps what the session is left in.
func (s *Server) turn(bot *robot, q question, now time.Time) (answer, *refusal) {
	key := sessionKey(bot, q.session)
	var open *dialogueState
	if state, ok := s.sessions.get(key, now); ok {
		open = &state
	}
	a, next, no := bot.decide(q, open)
	if no != nil {
		return answer{}, no
	}
	if next != nil {
		s.sessions.put(key, *next, now)
	} else if open != nil {
		s.sessions.remove(key)
	}
	return a, nil
}

func sessionKey(bot *robot, session string) string {
	return bot.space + "\x00" + bot.ID + "\x00" + session
}

// enter begins a dialogue with what the first utterance already says.
func (r *robot) enter(q question, index int, said string, found filled) (answer, *dialogueState) {
	dialogue := &r.Dialogues[index]
	slots := maps.Clone(found)
	if slots == nil {
		slots = filled{}
	}
	for i := range dialogue.Slots {
		slot := &dialogue.Slots[i]
		if _, known := slots[slot.Name]; known || len(slot.Values) == 0 {
			continue
		}
		if value, ok := slot.match(said); ok {
			slots[slot.Name] = slotValue{value: value, origin: said, hit: true}
		}
	}
	return r.proceed(q, dialogueState{dialogue: index, slots: slots, pending: -1})
}

// goOn takes an utterance as the answer to the slot that was asked for. It reports false if
// the utterance leads elsewhere.
func (r *robot) goOn(q question, said string, state dialogueState) (answer, *dialogueState, bool) {
	slot := &r.Dialogues[state.dialogue].Slots[state.pending]
	_, taught := r.exact[said]
	value, ok := slot.match(said)
	if taught && (!ok || len(slot.Values) == 0) {
		return answer{}, nil, false
	}
	next := dialogueState{dialogue: state.dialogue, slots: make(filled, len(state.slots)+1), pending: state.pending, asked: state.asked}
	for name, known := range state.slots {
		known.hit = false
		next.slots[name] = known
	}
	if ok {
		if len(slot.Values) == 0 {
			value = strings.TrimSpace(q.utterance)
		}
		next.slots[slot.Name] = slotValue{value: value, origin: q.utterance, hit: true}
	} else if state.asked >= maxAsked {
		return r.noAnswer(q), nil, true
	}
	a, left := r.proceed(q, next)
	return a, left, true
}

// proceed asks for the first slot that is missing, or replies.
func (r *robot) proceed(q question, state dialogueState) (answer, *dialogueState) {
	dialogue := &r.Dialogues[state.dialogue]
	a := answer{source: sourceDialogue, contentType: plainText, dialogue: dialogue, slots: dialogue.report(state.slots)}
	for i, slot := range dialogue.Slots {
		if _, known := state.slots[slot.Name]; known {
			continue
		}
		if state.pending != i {
			state.pending, state.asked = i, 0
		}
		state.asked++
		suffix := ".__" + slot.Name
		a.node = dialogue.Name + "." + orText(dialogue.Fill, "填槽") + suffix
		a.nodeID = r.nodeID(dialogue.FillID, dialogue.Name, "fill") + suffix
		a.text = r.pick(slot.Ask, q.utterance)
		return a, &state
	}
	node := orText(dialogue.Node, "回复信息")
	a.node, a.nodeID = dialogue.Name+"."+node, r.nodeID(dialogue.NodeID, dialogue.Name, node)
	a.text = r.pick(dialogue.Reply, q.utterance)
	for name, known := range state.slots {
		a.text = strings.ReplaceAll(a.text, "{"+name+"}", known.value)
	}
	if dialogue.Handover != nil {
		a.command = dialogue.Handover.command()
	}
	return a, nil
}

func (d *Dialogue) report(slots filled) []slotState {
	out := make([]slotState, 0, len(d.Slots))
	for _, slot := range d.Slots {
		known := slots[slot.Name]
		out = append(out, slotState{Origin: known.origin, Hit: known.hit, Value: known.value, Name: d.Intent + "." + slot.Name})
	}
	return out
}

func orText(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
