package webhookapi

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"xinghe/shared/events"
	"xinghe/shared/httpapi"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// action is what is done with a message.
type action interface {
	// lacks says what the action misses in this deployment.
	lacks() error
	// check names the faults of its fields, a JSON object, as a refusal.
	check(fields []byte) error
	// do carries it out with fields that have passed check. It returns when what it accepts
	// is durable; after an error the message may come again.
	do(r *http.Request, m message, fields []byte) (answer, error)
}

// answer is what a sender is told.
type answer struct {
	Source string `json:"source"`
	ID     string `json:"id"`
	Action string `json:"action"`
	// Job is that of an export or a rating.
	Job string `json:"job,omitempty"`
	// Event is the id of the event that was published.
	Event string `json:"event,omitempty"`
	// Answer is what a bot has said.
	Answer *said `json:"answer,omitempty"`

	status   int
	location string
}

// said is a bot's answer.
type said struct {
	MessageID string             `json:"messageId"`
	SessionID string             `json:"sessionId,omitempty"`
	Text      string             `json:"text"`
	Handover  *jobs.ChatHandover `json:"handover"`
}

const actionPublish = "publish"

// publish only publishes messages. So are those that a source's conditions leave out.
type publish struct{ api *API }

func (publish) lacks() error { return nil }

func (publish) check(fields []byte) error { return httpapi.DecodeStrict(fields, &struct{}{}) }

func (p publish) do(r *http.Request, m message, _ []byte) (answer, error) {
	id := "whk_" + m.digest
	data := jobs.WebhookMessage{
		Source: m.source.Name, ID: m.id, ContentType: r.Header.Get("Content-Type"),
		RequestID: httpapi.CallFrom(r.Context()).ID, Body: m.body,
	}
	err := p.api.publish(r, jobs.EventWebhookReceived, id, m.source.Name, data)
	return answer{Action: actionPublish, Event: id, status: http.StatusAccepted}, err
}

// publish stores an event, or refuses.
func (a *API) publish(r *http.Request, kind, id, source string, data any) error {
	event, err := jobs.NewEvent(kind, id, EventSource, source, a.cfg.Now(), data)
	if err != nil {
		return err
	}
	ctx, cancel := a.bounded(r.Context())
	defer cancel()
	err = events.Store(ctx, a.cfg.Queue, event)
	if errors.Is(err, queue.ErrTooLarge) {
		return &httpapi.Error{
			Status: http.StatusRequestEntityTooLarge, Code: httpapi.CodeBodyTooLarge, Err: err,
			Detail: "the body is larger than an event can be",
		}
	}
	if err != nil {
		return intake.Unavailable("the webhook was not accepted", err)
	}
	return nil
}

// reminder has a character write a fixed text to a user. It follows Xingchen HTTP API,
// system recommendation.
type reminder struct{ api *API }

type reminderFields struct {
	CharacterID string `json:"characterId"`
	UserID      string `json:"userId"`
	Content     string `json:"content"`
}

func (a reminder) lacks() error { return a.api.lacksXingchen() }

func (a *API) lacksXingchen() error {
	if a.cfg.Xingchen == nil {
		return errors.New("wants XINGCHEN_API_KEY")
	}
	return nil
}

func (reminder) check(fields []byte) error {
	var f reminderFields
	if err := httpapi.DecodeStrict(fields, &f); err != nil {
		return err
	}
	return httpapi.Invalid(missing(map[string]string{"characterId": f.CharacterID, "userId": f.UserID, "content": f.Content})...)
}

func (a reminder) do(r *http.Request, _ message, fields []byte) (answer, error) {
	var f reminderFields
	if err := httpapi.DecodeStrict(fields, &f); err != nil {
		return answer{}, err
	}
	desk := a.api.cfg.XingchenDesk
	if err := desk.Spend(r.Context()); err != nil {
		return answer{}, err
	}
	call := httpapi.CallFrom(r.Context())
	err := a.api.cfg.Xingchen.Remind(r.Context(), xingchen.ReminderRequest{
		CharacterID: f.CharacterID, BizUserID: f.UserID, Content: f.Content,
	}, xingchen.WithRequestID(call.ID))
	err = relay.Refusal(r.Context(), err)
	desk.Heed(err)
	return answer{status: http.StatusOK}, err
}

// rating rates one message, by the worker for ratings.
type rating struct{ intake *intake.Ratings }

type ratingFields struct {
	MessageID string `json:"messageId"`
	Rating    *int   `json:"rating"`
	Info      string `json:"info"`
}

func (rating) lacks() error { return nil }

func (rating) check(fields []byte) error {
	row, given, err := ratingRow(fields)
	if err != nil {
		return err
	}
	faults := row.Check()
	if !given {
		faults = append(faults, jobs.Fault{Field: "rating", Message: "missing"})
	}
	return httpapi.Invalid(httpapi.Fields(faults)...)
}

func ratingRow(fields []byte) (row jobs.RatingRow, given bool, err error) {
	var f ratingFields
	if err := httpapi.DecodeStrict(fields, &f); err != nil {
		return row, false, err
	}
	row = jobs.RatingRow{MessageID: f.MessageID, Info: f.Info}
	if f.Rating != nil {
		row.Rating = *f.Rating
	}
	return row, f.Rating != nil, nil
}

func (a rating) do(r *http.Request, _ message, fields []byte) (answer, error) {
	row, _, err := ratingRow(fields)
	if err != nil {
		return answer{}, err
	}
	id := httpapi.NewID("rat")
	err = a.intake.Accept(r.Context(), id, []jobs.RatingRow{row})
	return answer{Job: id, status: http.StatusAccepted, location: "/v1/ratings/" + id}, err
}

// export starts an export. Its fields are those of the body of POST /v1/exports.
type export struct{ intake *intake.Exports }

func (export) lacks() error { return nil }

func (a export) check(fields []byte) error {
	_, err := a.intake.Spec(fields)
	return err
}

func (a export) do(r *http.Request, _ message, fields []byte) (answer, error) {
	started, err := a.intake.Start(r.Context(), fields)
	return answer{Job: started.ID, status: http.StatusAccepted, location: "/v1/exports/" + started.ID}, err
}

// missing names the texts that are empty.
func missing(texts map[string]string) []httpapi.FieldError {
	var faults []httpapi.FieldError
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if strings.TrimSpace(texts[name]) == "" {
			faults = append(faults, httpapi.FieldError{Field: name, Message: "missing"})
		}
	}
	return faults
}
