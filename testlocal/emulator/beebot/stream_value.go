package beebot

// Where an answer of the stream comes from.
const (
	streamModel    = "NON_STRUCTURAL_KNOWLEDGE"
	streamDialogue = "TASK_DRIVEN_DIALOGUE"
	streamSystem   = "SYSTEM_ASK_CONFIG"
)

// streamBody is the MessageBody of a stream value; keys in alphabetical order, as on the wire.
type streamBody struct {
	ClarifyMessageBody *clarifyBody       `json:"ClarifyMessageBody,omitempty"`
	Commands           *map[string]string `json:"Commands,omitempty"`
	DirectMessageBody  *directBody        `json:"DirectMessageBody,omitempty"`
	Type               string             `json:"Type"`
}

type clarifyBody struct {
	ClarifyContent string        `json:"ClarifyContent"`
	ClarifyList    []clarifyItem `json:"ClarifyList"`
	Title          string        `json:"Title"`
}

type clarifyItem struct {
	Title string `json:"Title"`
}

type directBody struct {
	AnswerReference     *answerReference `json:"AnswerReference,omitempty"`
	ContentType         string           `json:"ContentType"`
	Ext                 *directExt       `json:"Ext,omitempty"`
	HitSystemAskConfig  string           `json:"HitSystemAskConfig,omitempty"`
	RelatedQuestionList []clarifyItem    `json:"RelatedQuestionList,omitempty"`
	SentenceList        []sentence       `json:"SentenceList"`
}

type directExt struct {
	ExternalFlags struct{} `json:"EXTERNAL_FLAGS"`
}

type sentence struct {
	Content     string `json:"Content"`
	ReferNumber int    `json:"ReferNumber,omitempty"`
}

type answerReference struct {
	ItemList []referenceItem `json:"ItemList"`
}

type referenceItem struct {
	Content      string       `json:"Content"`
	ContentType  string       `json:"ContentType"`
	DataSource   string       `json:"DataSource"`
	Number       int          `json:"Number"`
	ReferenceExt referenceExt `json:"ReferenceExt"`
	Title        string       `json:"Title"`
}

type referenceExt struct {
	DocName string `json:"DocName"`
}

// streamSource names the source of an answer in a stream. The names for FAQ, chit-chat and
// sensitive words are not documented.
func (a answer) streamSource() string {
	switch a.source {
	case sourceDialogue, sourceMixed:
		return streamDialogue
	case sourceNoAnswer, sourceSensitive, sourceCommands:
		return streamSystem
	default:
		return streamModel
	}
}

// streamBody is the message of an answer that no model wrote.
func (a answer) streamBody(q question) streamBody {
	if len(a.items) > 0 {
		return a.clarifyBody(q)
	}
	direct := &directBody{ContentType: a.contentType, SentenceList: []sentence{{Content: a.text}}}
	body := streamBody{DirectMessageBody: direct, Type: "Direct"}
	switch {
	case a.source == sourceDialogue:
		direct.Ext = &directExt{}
		body.Commands = &map[string]string{}
	case a.source == sourceNoAnswer:
		direct.HitSystemAskConfig = sourceNoAnswer
	case a.knowledge != nil:
		a.refer(direct)
	}
	if a.command != "" {
		body.Commands = &map[string]string{"sysToAgent": a.command}
	}
	return body
}

func (a answer) clarifyBody(q question) streamBody {
	clarify := &clarifyBody{ClarifyContent: a.voice, Title: q.utterance}
	if clarify.ClarifyContent == "" {
		clarify.ClarifyContent = askWhich(a.items)
	}
	for _, item := range a.items {
		clarify.ClarifyList = append(clarify.ClarifyList, clarifyItem{Title: item.title})
	}
	return streamBody{ClarifyMessageBody: clarify, Type: "Clarify"}
}

func (a answer) refer(direct *directBody) {
	direct.SentenceList[0].ReferNumber = 1
	direct.AnswerReference = &answerReference{ItemList: []referenceItem{{
		Content: a.text, ContentType: a.contentType, DataSource: "FAQ_DIRECT", Number: 1,
		ReferenceExt: referenceExt{DocName: "FAQ"}, Title: a.knowledge.Title,
	}}}
	for _, related := range a.knowledge.Related {
		direct.RelatedQuestionList = append(direct.RelatedQuestionList, clarifyItem{Title: related.Title})
	}
}
