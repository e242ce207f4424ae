package beebot

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// robot is a definition made ready for questions. It does not change.
type robot struct {
	Bot
	space   string
	seed    uint64
	words   dictionary
	exact   map[string]topic
	within  []lesson  // phrases that may stand inside an utterance, longest first
	pattern []pattern // phrases with a slot
	blocked []string  // sensitive words, normalised
}

// topic is what a phrase leads to: one entry of one list of the definition.
type topic struct {
	kind  topicKind
	index int
}

type topicKind int

const (
	topicDialogue topicKind = iota + 1
	topicClarify
	topicKnowledge
	topicChitChat
	topicGenerated
	topicNoAnswer
	topicHandover
)

type lesson struct {
	phrase string
	topic  topic
}

type pattern struct {
	before, after string
	dialogue      int
	slot          string
}

func (s *Server) addBot(bot Bot) error {
	if _, taken := s.bots[bot.ID]; taken {
		return fmt.Errorf("bot %q: defined twice", bot.ID)
	}
	if err := bot.check(); err != nil {
		return err
	}
	space := bot.AgentKey
	if space == "" {
		space = s.cfg.AgentKey
	}
	s.spaces[space] = true
	s.bots[bot.ID] = newRobot(bot, space, s.cfg.Seed)
	return nil
}

func newRobot(bot Bot, space string, seed uint64) *robot {
	r := &robot{Bot: bot, space: space, seed: seed, words: newDictionary(bot.Words), exact: make(map[string]topic)}
	if blank(r.NoAnswer.Reply) {
		r.NoAnswer.Reply = Texts{"我还没有学会这个问题"}
	}
	for _, word := range bot.Sensitive.Words {
		if word = normalise(word); word != "" {
			r.blocked = append(r.blocked, word)
		}
	}
	r.learnDialogues()
	for i, entry := range bot.Clarify {
		r.learn(topic{topicClarify, i}, true, entry.Phrases...)
	}
	for i, entry := range bot.Knowledge {
		r.learn(topic{topicKnowledge, i}, true, append([]string{entry.Title}, entry.Similar...)...)
	}
	for i, entry := range bot.ChitChat {
		r.learn(topic{topicChitChat, i}, false, entry.Phrases...)
	}
	for i, entry := range bot.Generated {
		r.learn(topic{topicGenerated, i}, true, entry.Phrases...)
	}
	r.learn(topic{topicNoAnswer, 0}, false, bot.NoAnswer.Phrases...)
	slices.SortStableFunc(r.within, func(a, b lesson) int { return len(b.phrase) - len(a.phrase) })
	return r
}

func (r *robot) learnDialogues() {
	r.Dialogues = slices.Clone(r.Dialogues)
	for i := range r.Dialogues {
		dialogue := &r.Dialogues[i]
		dialogue.ID = r.nodeID(dialogue.ID, dialogue.Name, "id")
		plain := []string{dialogue.Name, dialogue.title(), dialogue.Intent}
		for _, phrase := range dialogue.Phrases {
			name, ok := firstSlot(phrase)
			if !ok {
				plain = append(plain, phrase)
				continue
			}
			before, after, _ := strings.Cut(phrase, "{"+name+"}")
			r.pattern = append(r.pattern, pattern{before: normalise(before), after: normalise(after), dialogue: i, slot: name})
		}
		r.learn(topic{topicDialogue, i}, true, plain...)
	}
}

// learn binds phrases to a topic; of two topics with the same phrase the first counts.
func (r *robot) learn(t topic, inside bool, phrases ...string) {
	for _, phrase := range phrases {
		phrase = normalise(phrase)
		if phrase == "" {
			continue
		}
		if _, taken := r.exact[phrase]; taken {
			continue
		}
		r.exact[phrase] = t
		if inside && utf8.RuneCountInString(phrase) > 1 {
			r.within = append(r.within, lesson{phrase: phrase, topic: t})
		}
	}
}

// pick chooses one of several wordings, the same each time for the same utterance.
func (r *robot) pick(texts Texts, utterance string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[mix(r.seed, r.ID, utterance)%uint64(len(texts))]
}

// nodeID is the given one or, failing that, one made from the name.
func (r *robot) nodeID(given, dialogue, node string) string {
	if given != "" {
		return given
	}
	return strconv.FormatUint(mix(r.seed, r.ID, dialogue, node)>>24, 36)
}

func (r *robot) sensitive(said string) bool {
	return slices.ContainsFunc(r.blocked, func(word string) bool { return strings.Contains(said, word) })
}

func (r *robot) handoverFor(said string) *Handover {
	for i := range r.Handover {
		for _, phrase := range r.Handover[i].Phrases {
			if phrase = normalise(phrase); phrase != "" && strings.Contains(said, phrase) {
				return &r.Handover[i]
			}
		}
	}
	return nil
}

// find is the topic of an utterance that was not taught word for word.
func (r *robot) find(said string, stream bool) (topic, filled, bool) {
	for _, p := range r.pattern {
		rest, ok := strings.CutPrefix(said, p.before)
		if !ok {
			continue
		}
		if rest, ok = strings.CutSuffix(rest, p.after); !ok || rest == "" {
			continue
		}
		if value, ok := r.Dialogues[p.dialogue].slot(p.slot).match(rest); ok {
			return topic{topicDialogue, p.dialogue}, filled{p.slot: {value: value, origin: rest, hit: true}}, true
		}
	}
	for _, l := range r.within {
		if strings.Contains(said, l.phrase) && (stream || l.topic.kind != topicGenerated) {
			return l.topic, nil, true
		}
	}
	return topic{}, nil, false
}

// maxSimilar is how many titles a clarification proposes.
const maxSimilar = 5

// similar lists the knowledge titles that contain the utterance, with a score from 0 to 100.
func (r *robot) similar(said string) []recommend {
	length := utf8.RuneCountInString(said)
	if length < 2 {
		return nil
	}
	var items []recommend
	for i := range r.Knowledge {
		entry := &r.Knowledge[i]
		title := normalise(entry.Title)
		if strings.Contains(title, said) && len(items) < maxSimilar {
			score := 100 * length / utf8.RuneCountInString(title)
			items = append(items, recommend{id: entry.ID, title: entry.Title, score: float64(score), source: sourceKnowledge})
		}
	}
	return items
}

// match finds the value that a text, in normal form, names. A slot without values takes all.
func (s *Slot) match(said string) (string, bool) {
	if len(s.Values) == 0 {
		return said, said != ""
	}
	best, found, at := "", "", -1
	for value, synonyms := range s.Values {
		for _, word := range append([]string{value}, synonyms...) {
			word = normalise(word)
			if word == "" || !strings.Contains(said, word) {
				continue
			}
			if len(word) > at || len(word) == at && word < found {
				best, found, at = value, word, len(word)
			}
		}
	}
	return best, at >= 0
}
