package beebot

import (
	"encoding/json"
	"strings"

	"xinghe/shared/upstream"
)

// Decoder turns the frames of one stream into snapshots. It keeps the text so far, to tell
// what is new. The zero value is ready; it is for one goroutine.
type Decoder struct {
	text string
}

// frame is the envelope around every push. It follows Beebot, SSE stream interface, section
// "response".
type frame struct {
	refusal
	Data []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"data"`
}

// value is the document inside a frame, which travels as a text.
type value struct {
	SessionID    string   `json:"SessionId"`
	MessageID    string   `json:"MessageId"`
	SequenceID   string   `json:"SequenceId"`
	StreamEnd    bool     `json:"StreamEnd"`
	IsAIGC       bool     `json:"IsAIGC"`
	Source       string   `json:"Source"`
	QuerySegList []string `json:"QuerySegList"`
	MessageBody  *body    `json:"MessageBody"`
}

type body struct {
	Type                string       `json:"Type"`
	DirectMessageBody   *directBody  `json:"DirectMessageBody"`
	ClarifyMessageBody  *clarifyBody `json:"ClarifyMessageBody"`
	Commands            commands     `json:"Commands"`
	RelatedQuestionList titles       `json:"RelatedQuestionList"`
	HitSystemAskConfig  string       `json:"HitSystemAskConfig"`
}

type directBody struct {
	ContentType  string `json:"ContentType"`
	SentenceList []struct {
		Content string `json:"Content"`
	} `json:"SentenceList"`
	HitSystemAskConfig string `json:"HitSystemAskConfig"`
	AnswerReference    struct {
		ItemList []referenceItem `json:"ItemList"`
	} `json:"AnswerReference"`
	RelatedQuestionList titles `json:"RelatedQuestionList"`
}

type referenceItem struct {
	Number       int    `json:"Number"`
	Title        string `json:"Title"`
	Content      string `json:"Content"`
	ContentType  string `json:"ContentType"`
	DataSource   string `json:"DataSource"`
	ReferenceExt struct {
		DocName string `json:"DocName"`
	} `json:"ReferenceExt"`
}

type clarifyBody struct {
	Title          string `json:"Title"`
	ClarifyContent string `json:"ClarifyContent"`
	ClarifyList    titles `json:"ClarifyList"`
}

// Decode reads the data of one event. It returns an [*Error] for a frame that calls itself a
// failure, [*upstream.DecodeError] for one that is not in the documented form, and
// [upstream.ErrTruncated] around that where only the end of the frame is missing. The data is not kept.
func (d *Decoder) Decode(data []byte) (Snapshot, error) {
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		return Snapshot{}, upstream.Malformed(name, "stream frame", data, err)
	}
	if f.failed() {
		return Snapshot{}, newError(200, nil, data)
	}
	var v value
	for _, item := range f.Data {
		if item.Type != "JSON_TEXT" && item.Type != "" {
			continue
		}
		if err := json.Unmarshal([]byte(item.Value), &v); err != nil {
			return Snapshot{}, &upstream.DecodeError{Service: name, What: "value of a stream frame", Err: err}
		}
	}
	return d.snapshot(&f, &v), nil
}

func (d *Decoder) snapshot(f *frame, v *value) Snapshot {
	s := Snapshot{
		SessionID: v.SessionID, MessageID: v.MessageID, RequestID: f.RequestID, SequenceID: v.SequenceID,
		Source: v.Source, AIGC: v.IsAIGC, QuerySegments: v.QuerySegList, End: v.StreamEnd,
	}
	text, spoken := "", false
	if b := v.MessageBody; b != nil {
		text, spoken = b.fill(&s)
	}
	d.advance(&s, text, spoken)
	return s
}

// fill copies the answer and returns its text, and whether it has one at all: an empty
// list of sentences says nothing, an empty sentence says that the text is empty.
func (b *body) fill(s *Snapshot) (text string, spoken bool) {
	s.Handover = b.Commands.handover()
	s.SystemAsk, s.RelatedQuestions = b.HitSystemAskConfig, b.RelatedQuestionList
	if c := b.ClarifyMessageBody; c != nil {
		s.Clarify = &Clarify{Title: c.Title, Content: c.ClarifyContent, Options: c.ClarifyList}
		text = c.ClarifyContent
		if text == "" {
			text = c.Title
		}
		spoken = text != ""
	}
	if direct := b.DirectMessageBody; direct != nil {
		s.ContentType = direct.ContentType
		if direct.HitSystemAskConfig != "" {
			s.SystemAsk = direct.HitSystemAskConfig
		}
		if len(direct.RelatedQuestionList) > 0 {
			s.RelatedQuestions = direct.RelatedQuestionList
		}
		s.References = direct.references()
		if len(direct.SentenceList) > 0 {
			text, spoken = direct.text(), true
		}
	}
	s.NoAnswer = strings.EqualFold(s.SystemAsk, SourceNoAnswer)
	return text, spoken
}

// text joins the sentences; nothing stands between them.
func (b *directBody) text() string {
	if len(b.SentenceList) == 1 {
		return b.SentenceList[0].Content
	}
	var text strings.Builder
	for _, sentence := range b.SentenceList {
		text.WriteString(sentence.Content)
	}
	return text.String()
}

func (b *directBody) references() []Reference {
	items := b.AnswerReference.ItemList
	if len(items) == 0 {
		return nil
	}
	references := make([]Reference, len(items))
	for i, item := range items {
		references[i] = Reference{
			Number: item.Number, Title: item.Title, Content: item.Content, ContentType: item.ContentType,
			DataSource: item.DataSource, DocName: item.ReferenceExt.DocName,
		}
	}
	return references
}

// replacement is what stands at the end of a text that upstream cut inside a character: in
// the middle of its bytes, or between the halves of an escaped pair.
const replacement = "\uFFFD"

// advance compares with the text so far. Both are valid UTF-8, so what follows the common
// part begins with a whole character.
func (d *Decoder) advance(s *Snapshot, text string, spoken bool) {
	if !spoken {
		s.Text = d.text
		return
	}
	if !s.End {
		text = strings.TrimRight(text, replacement)
	}
	s.Text = text
	if delta, ok := strings.CutPrefix(text, d.text); ok {
		s.Delta = delta
	} else {
		s.Delta, s.Replace = text, true
	}
	d.text = text
}

// titles reads a list whose items may be texts or objects with a title: what they are is not
// documented. What is neither is left out.
type titles []string

// UnmarshalJSON never fails.
func (t *titles) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		return nil //nolint:nilerr // an undocumented list must not cost the answer
	}
	*t = nil
	for _, item := range items {
		var text string
		if json.Unmarshal(item, &text) != nil {
			var object struct{ Title string }
			if json.Unmarshal(item, &object) != nil {
				continue
			}
			text = object.Title
		}
		if text != "" {
			*t = append(*t, text)
		}
	}
	return nil
}
