package beebot

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// Where an answer comes from, in the words of Chat.
const (
	sourceKnowledgeBase = "KnowledgeBase"
	sourceKnowledge     = "KNOWLEDGE"
	sourceDialogue      = "BotFramework"
	sourceMixed         = "INTENT_FAQ_CLARIFY"
	sourceChitChat      = "ChitChat"
	sourceUserChitChat  = "USER_DEFINED_CHAT"
	sourceSensitive     = "SENSITIVE_WORD"
	sourceCommands      = "COMMANDS"
	sourceNoAnswer      = "NO_ANSWER"
)

const (
	plainText = "PLAIN_TEXT"
	richText  = "RICH_TEXT"
)

// question is one turn of a visitor, however it came in.
type question struct {
	instance, session, senderID string
	utterance                   string
	perspective                 string
	knowledgeID, intent         string
	command                     string
	stream                      bool
}

// answer is what a robot decided on, before either call puts it into its own shape.
type answer struct {
	source      string // of Chat
	text        string
	contentType string
	generated   bool // worded by the language model
	fallback    bool // generated, but not taught

	knowledge *Knowledge
	items     []recommend
	voice     string

	dialogue         *Dialogue
	node, nodeID     string
	slots            []slotState
	command          string // sysToAgent
	hit, titleOfTalk string
}

type recommend struct {
	id, title, source, category string
	score                       float64
}

type slotState struct {
	Origin string `json:"Origin"`
	Hit    bool   `json:"Hit"`
	Value  string `json:"Value"`
	Name   string `json:"Name"`
}

// decide finds the answer to a question in a session, and what the session is left in; a nil
// state means that no dialogue is open.
func (r *robot) decide(q question, state *dialogueState) (answer, *dialogueState, *refusal) {
	if q.command == commandTimeout {
		return r.noticeTimeout(), state, nil
	}
	if q.knowledgeID != "" || q.intent != "" {
		return r.enterDirectly(q)
	}
	said := normalise(q.utterance)
	if r.sensitive(said) {
		return answer{source: sourceSensitive, text: r.pick(r.Sensitive.Reply, q.utterance), contentType: plainText}, state, nil
	}
	if handover := r.handoverFor(said); handover != nil {
		return answer{
			source: sourceCommands, text: r.pick(handover.Reply, q.utterance), contentType: plainText,
			command: handover.command(),
		}, nil, nil
	}
	if state != nil {
		if a, next, ok := r.goOn(q, said, *state); ok {
			return a, next, nil
		}
	}
	a, next := r.begin(q, said)
	return a, next, nil
}

func (r *robot) begin(q question, said string) (answer, *dialogueState) {
	var found filled
	t, ok := r.exact[said]
	if !ok || t.kind == topicGenerated && !q.stream {
		t, found, ok = r.find(said, q.stream)
	}
	if ok {
		return r.answerTopic(q, said, t, found)
	}
	if items := r.similar(said); len(items) > 0 {
		return answer{source: sourceKnowledge, items: items}, nil
	}
	if q.stream && len(r.Fallback) > 0 {
		text := strings.ReplaceAll(r.pick(r.Fallback, q.utterance), "{utterance}", q.utterance)
		return answer{text: text, contentType: richText, generated: true, fallback: true}, nil
	}
	return r.noAnswer(q), nil
}

func (r *robot) answerTopic(q question, said string, t topic, found filled) (answer, *dialogueState) {
	switch t.kind {
	case topicDialogue:
		return r.enter(q, t.index, said, found)
	case topicClarify:
		return r.clarify(&r.Clarify[t.index]), nil
	case topicKnowledge:
		return known(&r.Knowledge[t.index], q), nil
	case topicChitChat:
		return r.smallTalk(&r.ChitChat[t.index], q), nil
	case topicGenerated:
		text := r.pick(r.Generated[t.index].Reply, q.utterance)
		return answer{text: text, contentType: richText, generated: true}, nil
	default:
		return r.noAnswer(q), nil
	}
}

// enterDirectly answers a question that names a title or an intent in place of an utterance.
func (r *robot) enterDirectly(q question) (answer, *dialogueState, *refusal) {
	if entry := r.knowledge(q.knowledgeID); entry != nil {
		return known(entry, q), nil, nil
	}
	for i := range r.Dialogues {
		dialogue := &r.Dialogues[i]
		if q.knowledgeID != "" && dialogue.ID == q.knowledgeID || q.intent != "" && dialogue.Intent == q.intent {
			a, next := r.enter(q, i, normalise(q.utterance), nil)
			return a, next, nil
		}
	}
	if q.knowledgeID != "" {
		return answer{}, nil, invalid("KnowledgeId", "")
	}
	return answer{}, nil, invalid("IntentName", "")
}

func (r *robot) noAnswer(q question) answer {
	return answer{source: sourceNoAnswer, text: r.pick(r.NoAnswer.Reply, q.utterance), contentType: plainText}
}

func (r *robot) noticeTimeout() answer {
	if blank(r.Timeout) {
		return r.noAnswer(question{})
	}
	return answer{source: sourceDialogue, text: r.pick(r.Timeout, ""), contentType: plainText}
}

func known(entry *Knowledge, q question) answer {
	text, contentType := entry.Content, entry.ContentType
	if other, ok := entry.Perspectives[q.perspective]; ok {
		text = other
	}
	if contentType == "" {
		contentType = plainText
	}
	return answer{source: sourceKnowledgeBase, text: text, contentType: contentType, knowledge: entry}
}

func (r *robot) smallTalk(entry *ChitChat, q question) answer {
	a := answer{
		source: sourceUserChitChat, text: r.pick(entry.Reply, q.utterance), contentType: plainText,
		hit: q.utterance, titleOfTalk: entry.Title,
	}
	if entry.System {
		a.source = sourceChitChat
	}
	return a
}

// clarify asks which item is meant. The source of the whole follows from those of its items.
func (r *robot) clarify(entry *Clarify) answer {
	a := answer{voice: entry.Voice}
	for _, item := range entry.Items {
		line := recommend{score: item.Score, source: sourceKnowledge}
		if dialogue := r.dialogue(item.Dialogue); dialogue != nil {
			line.id, line.title, line.source = dialogue.ID, dialogue.title(), sourceDialogue
		} else {
			title := r.knowledge(item.Knowledge)
			line.id, line.title, line.category = title.ID, title.Title, title.Category
		}
		switch {
		case a.source == "":
			a.source = line.source
		case a.source != line.source:
			a.source = sourceMixed
		}
		a.items = append(a.items, line)
	}
	if a.voice == "" && a.source != sourceKnowledge {
		a.voice = askWhich(a.items)
	}
	return a
}

func askWhich(items []recommend) string {
	titles := make([]string, 0, len(items))
	for _, item := range items {
		titles = append(titles, item.title)
	}
	return "请问你说的是" + strings.Join(titles, ",还是")
}

// command is the inner JSON of sysToAgent.
func (h *Handover) command() string {
	return string(marshal(struct {
		SkillGroup string `json:"skillGroup"`
		Ext        string `json:"ext,omitempty"`
	}{h.SkillGroup, h.Ext}))
}

const (
	commandTimeout   = "TIMEOUT"
	commandGuidepost = "GUIDEPOST"

	maxSessionID = 64
)

// admitUtterance holds an utterance to its limit, in code points.
func (s *Server) admitUtterance(text string) (string, *refusal) {
	limit := s.cfg.Assume.MaxUtterance
	if len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return text, nil
	}
	if s.cfg.Assume.CutUtterance {
		return string([]rune(text)[:limit]), nil
	}
	return "", invalid("Utterance", "It is too long.")
}

// admitBot finds the robot that a question is for and checks that the caller may use it.
func (s *Server) admitBot(q question, space string) (*robot, *refusal) {
	bot, known := s.bots[q.instance]
	if !known {
		return nil, s.unknownBot(q.instance)
	}
	if bot.space != space {
		return nil, s.forbidden("The robot belongs to another business space, check the AgentKey.")
	}
	if bot.Frozen {
		return nil, refuse(http.StatusForbidden, codeFrozen, "The instance is frozen.")
	}
	if q.stream && bot.Edition == EditionClassic || !q.stream && bot.Edition == EditionTongyi {
		return nil, s.forbidden("The edition of this robot may not call this API.")
	}
	return bot, nil
}
