package chatapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"xinghe/shared/beebot"
	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
)

// askTimeout bounds a call that is answered in one piece.
const askTimeout = 15 * time.Second

// askQuestion is the body of POST /v1/beebot/{instanceId}/ask.
type askQuestion struct {
	Utterance   string          `json:"utterance"`
	SessionID   string          `json:"sessionId"`
	SenderID    string          `json:"senderId"`
	SenderNick  string          `json:"senderNick"`
	Tag         string          `json:"tag"`
	Perspective string          `json:"perspective"`
	VendorParam json.RawMessage `json:"vendorParam"`
}

// askAnswer is what it is answered with. It follows Beebot, session API (Chat).
type askAnswer struct {
	RequestID string       `json:"requestId"`
	SessionID string       `json:"sessionId"`
	MessageID string       `json:"messageId"`
	Tag       string       `json:"tag"`
	Answers   []answerItem `json:"answers"`
}

// answerItem is one answer; Kind says which of Knowledge and Recommends is there beside
// the text.
type answerItem struct {
	Kind        beebot.AnswerKind `json:"kind"`
	Source      string            `json:"source"`
	Text        string            `json:"text"`
	ContentType string            `json:"contentType"`
	Knowledge   *knowledge        `json:"knowledge,omitempty"`
	Recommends  []recommend       `json:"recommends,omitempty"`
	Handover    *beebot.Handover  `json:"handover"`
}

type knowledge struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Summary  string    `json:"summary"`
	Category string    `json:"category,omitempty"`
	Score    float64   `json:"score,omitempty"`
	Related  []related `json:"related,omitempty"`
}

type related struct {
	KnowledgeID string `json:"knowledgeId"`
	Title       string `json:"title"`
}

type recommend struct {
	KnowledgeID string  `json:"knowledgeId"`
	Title       string  `json:"title"`
	Source      string  `json:"source"`
	Score       float64 `json:"score"`
	Category    string  `json:"category,omitempty"`
}

func (b *beebotHandler) ask(w http.ResponseWriter, r *http.Request) error {
	var question askQuestion
	if err := decodeQuestion(r, &question); err != nil {
		return err
	}
	if err := question.check(); err != nil {
		return err
	}
	request := beebot.ChatRequest{
		InstanceID: r.PathValue("instanceId"), Utterance: question.Utterance, SessionID: question.SessionID,
		SenderID: question.SenderID, SenderNick: question.SenderNick, Tag: question.Tag, VendorParam: given(question.VendorParam),
	}
	if question.Perspective != "" {
		request.Perspective = []string{question.Perspective}
	}
	c := &desk.Conversation{Bot: jobs.Bot(jobs.BotBeebot, request.InstanceID), User: question.SenderID, Surface: jobs.SurfaceBeebot, Question: question.Utterance}
	return b.desk.Serve(r, c, func(o *relay.Outcome) error { return b.answer(w, r, request, o) })
}

func (b *beebotHandler) answer(w http.ResponseWriter, r *http.Request, request beebot.ChatRequest, outcome *relay.Outcome) error {
	response, err := b.relay.Consult(r.Context(), request, outcome)
	if err != nil {
		return err
	}
	answer := askAnswer{
		RequestID: httpapi.CallFrom(r.Context()).ID, SessionID: response.SessionID, MessageID: response.MessageID,
		// Robots of version 2022-04-08 do not hand the tag back.
		Tag: cmp.Or(response.Tag, request.Tag), Answers: make([]answerItem, 0, len(response.Answers)),
	}
	for _, a := range response.Answers {
		answer.Answers = append(answer.Answers, newAnswerItem(a))
	}
	return httpapi.WriteJSON(w, http.StatusOK, answer)
}

func newAnswerItem(a beebot.Answer) answerItem {
	item := answerItem{Kind: a.Kind, Source: a.Source, Handover: a.Handover}
	item.Text, item.ContentType = a.Content()
	if k := a.Knowledge; k != nil {
		item.Knowledge = &knowledge{ID: k.ID, Title: k.Title, Summary: k.Summary, Category: k.Category, Score: k.Score}
		for _, near := range k.RelatedKnowledges {
			item.Knowledge.Related = append(item.Knowledge.Related, related{near.KnowledgeID, near.Title})
		}
	}
	for _, rec := range a.Recommends {
		item.Recommends = append(item.Recommends, recommend{rec.KnowledgeID, rec.Title, rec.Source, rec.Score, rec.Category})
	}
	return item
}

// check names every fault.
func (q askQuestion) check() error {
	faults := checkQuestion(q.Utterance, q.SessionID, q.VendorParam)
	if utf8.RuneCountInString(q.Tag) > maxTag {
		faults = append(faults, httpapi.FieldError{Field: "tag", Message: fmt.Sprintf("longer than %d characters", maxTag)})
	}
	return httpapi.Invalid(faults...)
}

// maxTag is a limit of ours: the tag travels in an address.
const maxTag = 1024

// streamAccess hands the caller a signed stream address of its own. It is the one answer
// in which a secret stands.
func (b *beebotHandler) streamAccess(w http.ResponseWriter, r *http.Request) error {
	var visitor struct {
		SessionID   string          `json:"sessionId"`
		SenderID    string          `json:"senderId"`
		SenderNick  string          `json:"senderNick"`
		VendorParam json.RawMessage `json:"vendorParam"`
	}
	if err := decodeQuestion(r, &visitor); err != nil {
		return err
	}
	if err := b.desk.Spend(r.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	access, err := b.relay.Client.StreamAccess(ctx, beebot.StreamRequest{
		InstanceID: r.PathValue("instanceId"), SessionID: visitor.SessionID,
		SenderID: visitor.SenderID, SenderNick: visitor.SenderNick, VendorParam: given(visitor.VendorParam),
	})
	if err != nil {
		err = relay.Refusal(r.Context(), err)
		b.desk.Heed(err)
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return httpapi.WriteJSON(w, http.StatusOK, struct {
		URL       string          `json:"url"`
		ExpiresAt time.Time       `json:"expiresAt"`
		Body      json.RawMessage `json:"body"`
	}{access.URL.Reveal(), access.ExpiresAt.UTC(), access.Body})
}
