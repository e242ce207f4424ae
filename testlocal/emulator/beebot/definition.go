package beebot

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed bots.yaml
var defaultBots []byte

// Edition says which calls a robot serves.
type Edition string

// The editions. Robots of the old edition answer Chat, those of the Tongyi edition answer the
// stream; the zero value serves both.
const (
	EditionBoth    Edition = ""
	EditionClassic Edition = "classic"
	EditionTongyi  Edition = "tongyi"
)

// Bot defines one robot: what it has been taught to answer. Utterances are compared without
// regard to case, width, spaces and punctuation. A robot looks, in this order, for a sensitive
// word, a global hand-over, an open slot of the running dialogue, an utterance taught word for
// word, an utterance that contains something taught, a question that contains the utterance,
// and in a stream for the fallback of the language model; what is left has no answer.
type Bot struct {
	ID       string  `yaml:"id"`       // InstanceId
	AgentKey string  `yaml:"agentKey"` // business space; default the configured one
	Edition  Edition `yaml:"edition"`
	Frozen   bool    `yaml:"frozen"` // refused with InstanceFreezing
	// Words are kept whole when an utterance is segmented, beside a small list of common ones.
	Words     []string    `yaml:"words"`
	Sensitive Sensitive   `yaml:"sensitive"`
	Handover  []Handover  `yaml:"handover"`
	Knowledge []Knowledge `yaml:"knowledge"`
	Dialogues []Dialogue  `yaml:"dialogues"`
	Clarify   []Clarify   `yaml:"clarify"`
	ChitChat  []ChitChat  `yaml:"chitchat"`
	Generated []Generated `yaml:"generated"`
	// Fallback words what the language model says in a stream to anything unknown;
	// {utterance} stands for the visitor's text. Without it the robot has no answer.
	Fallback Texts    `yaml:"fallback"`
	NoAnswer NoAnswer `yaml:"noAnswer"`
	// Welcome is what BeginSession greets with.
	Welcome Texts `yaml:"welcome"`
	// Timeout answers Command=TIMEOUT of the stream.
	Timeout Texts `yaml:"timeout"`
}

// Texts are wordings of the same reply, of which the seed picks one. In YAML a single text may
// stand in place of the list.
type Texts []string

// UnmarshalYAML reads a text or a list of texts.
func (t *Texts) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*t = Texts{node.Value}
		return nil
	}
	var list []string
	if err := node.Decode(&list); err != nil {
		return fmt.Errorf("line %d: want a text or a list of texts: %w", node.Line, err)
	}
	*t = list
	return nil
}

// Sensitive refuses utterances that contain one of the words.
type Sensitive struct {
	Words []string `yaml:"words"`
	Reply Texts    `yaml:"reply"`
}

// Handover passes the visitor to a person: globally when it stands in a [Bot], at the end of
// a [Dialogue] otherwise. SkillGroup and Ext go into the command sysToAgent.
type Handover struct {
	Phrases    []string `yaml:"phrases"` // global only
	Reply      Texts    `yaml:"reply"`   // global only
	SkillGroup string   `yaml:"skillGroup"`
	Ext        string   `yaml:"ext"`
}

// Knowledge is one title of the FAQ.
type Knowledge struct {
	ID          string   `yaml:"id"`
	Title       string   `yaml:"title"`
	Similar     []string `yaml:"similar"`
	Category    string   `yaml:"category"`
	Content     string   `yaml:"content"`
	ContentType string   `yaml:"contentType"` // PLAIN_TEXT (default) or RICH_TEXT
	Summary     string   `yaml:"summary"`
	// Perspectives are answers for a perspective code in place of Content.
	Perspectives map[string]string `yaml:"perspectives"`
	Related      []Related         `yaml:"related"`
}

// Related points from one title to another.
type Related struct {
	ID    string `yaml:"id"`
	Title string `yaml:"title"`
}

// Dialogue is one flow of the dialogue factory: it is entered by a phrase, asks for its slots
// one after the other, and replies. Phrases and replies may hold {slot}.
type Dialogue struct {
	Name     string    `yaml:"name"`
	Title    string    `yaml:"title"` // shown in clarifications; default Name
	Intent   string    `yaml:"intent"`
	ID       string    `yaml:"id"` // KnowledgeId in clarifications, default derived from the seed
	Phrases  []string  `yaml:"phrases"`
	Slots    []Slot    `yaml:"slots"`
	Fill     string    `yaml:"fill"`   // name of the node that asks, default 填槽
	FillID   string    `yaml:"fillId"` // its NodeId, default derived from the seed
	Node     string    `yaml:"node"`   // name of the node that replies, default 回复信息
	NodeID   string    `yaml:"nodeId"` // its NodeId, default derived from the seed
	Reply    Texts     `yaml:"reply"`
	Handover *Handover `yaml:"handover"`
}

// Slot is something a dialogue must know. Without values any utterance fills it.
type Slot struct {
	Name   string              `yaml:"name"`
	Ask    Texts               `yaml:"ask"`
	Values map[string][]string `yaml:"values"` // value to other ways of saying it
}

// Clarify asks back which of its items is meant.
type Clarify struct {
	Phrases []string      `yaml:"phrases"`
	Voice   string        `yaml:"voice"` // VoiceTitle; default a question made of the titles
	Items   []ClarifyItem `yaml:"items"`
}

// ClarifyItem names a dialogue or the id of a knowledge title.
type ClarifyItem struct {
	Dialogue  string  `yaml:"dialogue"`
	Knowledge string  `yaml:"knowledge"`
	Score     float64 `yaml:"score"`
}

// ChitChat is small talk, the system's own or defined by the user.
type ChitChat struct {
	Phrases []string `yaml:"phrases"`
	Title   string   `yaml:"title"` // UserDefinedChatTitle
	System  bool     `yaml:"system"`
	Reply   Texts    `yaml:"reply"`
}

// Generated is what the language model of a Tongyi robot says, with optional references. A
// stream gives it in growing snapshots; Chat does not know it.
type Generated struct {
	Phrases []string `yaml:"phrases"`
	Reply   Texts    `yaml:"reply"`
}

// NoAnswer is the reply to everything else, and to the phrases in any case.
type NoAnswer struct {
	Phrases []string `yaml:"phrases"`
	Reply   Texts    `yaml:"reply"`
}

// DefaultBots returns the robot [DefaultInstanceID], whose answers are those of the examples
// in the Beebot conversation API page and the stream quick start.
func DefaultBots() []Bot {
	bots, err := ParseBots(bytes.NewReader(defaultBots))
	if err != nil {
		panic("beebot emulator: the embedded definition: " + err.Error())
	}
	return bots
}

// maxDefinition is the longest robot definition that ParseBots reads.
const maxDefinition = 16 << 20

// ParseBots reads robots from YAML, a document with the one key "bots". Unknown keys are
// refused; whether a definition makes sense is checked by [New]. At most 16 MiB are read.
func ParseBots(r io.Reader) ([]Bot, error) {
	var document struct {
		Bots []Bot `yaml:"bots"`
	}
	decoder := yaml.NewDecoder(io.LimitReader(r, maxDefinition))
	decoder.KnownFields(true)
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("read robot definition: %w", err)
	}
	if len(document.Bots) == 0 {
		return nil, errors.New("read robot definition: no robot under the key bots")
	}
	return document.Bots, nil
}

func (b *Bot) knowledge(id string) *Knowledge {
	for i := range b.Knowledge {
		if b.Knowledge[i].ID == id {
			return &b.Knowledge[i]
		}
	}
	return nil
}

func (b *Bot) dialogue(name string) *Dialogue {
	for i := range b.Dialogues {
		if b.Dialogues[i].Name == name {
			return &b.Dialogues[i]
		}
	}
	return nil
}

func (d *Dialogue) slot(name string) *Slot {
	for i := range d.Slots {
		if d.Slots[i].Name == name {
			return &d.Slots[i]
		}
	}
	return nil
}

func (d *Dialogue) title() string {
	if d.Title != "" {
		return d.Title
	}
	return d.Name
}

func blank(texts Texts) bool {
	for _, text := range texts {
		if strings.TrimSpace(text) != "" {
			return false
		}
	}
	return true
}

// firstSlot returns the name in the first pair of braces of a phrase.
func firstSlot(phrase string) (string, bool) {
	_, rest, found := strings.Cut(phrase, "{")
	if !found {
		return "", false
	}
	name, _, found := strings.Cut(rest, "}")
	return name, found
}
