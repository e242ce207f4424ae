package beebot

// Snapshot is one frame of a stream: all that was said so far, and what is new in it.
type Snapshot struct {
	// SessionID goes into the next request of the same conversation.
	SessionID string
	// MessageID names the answer; feedback needs it. It is not the request's message id.
	MessageID string
	// RequestID is upstream's, new with every frame.
	RequestID  string
	SequenceID string
	// Text is what was said so far. It stays where a frame says nothing.
	Text string
	// Delta is what came since the frame before. With Replace it is the whole new text,
	// because upstream took back what it had said.
	Delta   string
	Replace bool
	// ContentType is PLAIN_TEXT or RICH_TEXT.
	ContentType string
	// Source says where the answer comes from; its values are open.
	Source string
	// AIGC marks what a model wrote.
	AIGC          bool
	QuerySegments []string
	// NoAnswer marks the phrase that is configured for when the robot knows nothing.
	NoAnswer bool
	// SystemAsk names the configured phrase that was used: NO_ANSWER, GPTQA_MODEL.
	SystemAsk        string
	Clarify          *Clarify
	Handover         *Handover
	References       []Reference
	RelatedQuestions []string
	// End marks the last frame.
	End bool
}

// Clarify is a question back to the visitor.
type Clarify struct {
	Title   string
	Content string
	Options []string
}

// Reference is a document that the answer rests on.
type Reference struct {
	Number      int
	Title       string
	Content     string
	ContentType string
	// DataSource is FAQ_DIRECT or another source of knowledge.
	DataSource string
	DocName    string
}

// Handover asks for a person to take over.
type Handover struct {
	// SkillGroup is empty where upstream's wish could not be read.
	SkillGroup string `json:"skillGroup"`
	Ext        string `json:"ext,omitempty"`
}
