// Package desk is where calls of an upstream service line up before they are made: for the
// user's turn, then for the key's budget. It tells by events what became of conversations.
//
//	d := desk.Desk{Upstream: "xingchen", Budget: share, Turns: turns, Events: publisher, Now: time.Now}
//	err := d.Serve(r, conversation, func(o *relay.Outcome) error { return relay.Serve(w, r, call, mode, o) })
//
// It makes no calls itself.
package desk

import (
	"context"
	"errors"
	"net/http"
	"time"

	"xinghe/shared/budget"
	"xinghe/shared/events"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/turn"
)

// Desk is that of one service. Its methods may be called by many goroutines.
type Desk struct {
	// Upstream names the service, so that a user of one does not wait for the other.
	Upstream string
	// Turns lets each user hold one conversation at a time. Required.
	Turns *turn.Turns
	// Budget bounds the requests a second; nil for no bound.
	Budget *budget.Budget
	// Events hears what happened; nil for nobody.
	Events *events.Publisher
	// EventText puts questions and answers into the events.
	EventText bool
	// Now is the clock. Required.
	Now func() time.Time
}

// Conversation is who talks to whom.
type Conversation struct {
	// Bot, User and Surface as in [jobs.ChatEvent].
	Bot, User, Surface string
	// Anonymous tells that the user was made up for this one call.
	Anonymous bool
	Question  string
	Stream    bool
}

// Serve has answer called when it is the conversation's turn, and publishes its outcome.
func (d *Desk) Serve(r *http.Request, c *Conversation, answer func(*relay.Outcome) error) error {
	start := d.Now()
	outcome := relay.NewOutcome()
	leave, err := d.admit(r.Context(), c.User)
	throttled := d.Now().Sub(start)
	if err == nil {
		defer leave()
		err = answer(outcome)
		d.Heed(err)
	}
	d.conclude(r.Context(), c, outcome, err, start, throttled)
	return err
}

// admit waits for the user's turn and for the budget.
func (d *Desk) admit(ctx context.Context, user string) (leave func(), err error) {
	if user != "" {
		user = d.Upstream + "/" + user
	}
	leave, err = d.Turns.Take(ctx, user)
	if full, ok := errors.AsType[*turn.FullError](err); ok {
		return nil, &httpapi.Error{
			Status: http.StatusConflict, Code: httpapi.CodeConflict, RetryAfter: full.RetryAfter, Err: err,
			Detail: "the user has other conversations under way, and can hold one at a time",
		}
	}
	if err != nil {
		return nil, err
	}
	if err := d.Spend(ctx); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// Spend takes one request of the key's budget, or refuses with 429.
func (d *Desk) Spend(ctx context.Context) error {
	_, err := d.Budget.Wait(ctx, budget.Chat)
	if spent, ok := errors.AsType[*budget.ExhaustedError](err); ok {
		return &httpapi.Error{
			Status: http.StatusTooManyRequests, Code: httpapi.CodeRateLimited, RetryAfter: spent.RetryAfter, Err: err,
			Detail: "the budget of requests to upstream is used up",
		}
	}
	return err
}

// Heed makes everybody slow down when upstream says so.
func (d *Desk) Heed(err error) {
	if err == nil {
		return
	}
	if refusal := httpapi.AsError(err); refusal.Status == http.StatusTooManyRequests {
		d.Budget.Penalize(refusal.RetryAfter)
	}
}

// conclude tells of a conversation that is over, in the log line and by events.
func (d *Desk) conclude(ctx context.Context, c *Conversation, o *relay.Outcome, err error, start time.Time, throttled time.Duration) {
	call := httpapi.CallFrom(ctx)
	call.Usage = &o.Usage
	if d.Events != nil {
		d.tell(ctx, call, c, o, err, start, throttled)
	}
}

// tell publishes the events of a conversation that is over.
func (d *Desk) tell(ctx context.Context, call *httpapi.Call, c *Conversation, o *relay.Outcome, err error, start time.Time, throttled time.Duration) {
	event := jobs.ChatEvent{
		Bot: c.Bot, UserID: c.User, Anonymous: c.Anonymous, RequestID: call.ID, MessageID: o.MessageID, SessionID: o.SessionID,
		UpstreamRequestID: call.UpstreamID, Key: call.Key, Surface: c.Surface, Stream: c.Stream,
		DurMs: d.Now().Sub(start).Milliseconds(), ThrottledMs: throttled.Milliseconds(), Usage: o.Usage, Source: o.Source,
	}
	if !o.First.IsZero() {
		event.FirstMs = o.First.Sub(start).Milliseconds()
	}
	if d.EventText {
		event.SetText(c.Question, o.Text)
	}
	publish := func(kind string, event jobs.ChatEvent) { d.Events.Publish(ctx, kind, "", event.Bot, &event) }
	if err != nil {
		event.Error = &jobs.ChatError{Code: "canceled"}
		if !errors.Is(err, context.Canceled) {
			refusal := httpapi.AsError(err)
			event.Error = &jobs.ChatError{Code: refusal.Code, Status: refusal.Status}
		}
		publish(jobs.EventChatFailed, event)
		return
	}
	publish(jobs.EventChatCompleted, event)
	event.Usage = jobs.ChatUsage{} // told once
	if o.Handover != nil {
		handed := event
		handed.Handover = &jobs.ChatHandover{SkillGroup: o.Handover.SkillGroup, Ext: o.Handover.Ext}
		publish(jobs.EventHandoverRequested, handed)
	}
	if o.NoAnswer {
		publish(jobs.EventAnswerMissing, event)
	}
	if o.Sensitive {
		publish(jobs.EventAnswerSensitive, event)
	}
}
