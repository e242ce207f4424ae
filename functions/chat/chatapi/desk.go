package chatapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"xinghe/shared/budget"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/relay"
	"xinghe/shared/turn"
)

// desk is where calls of a service line up: a user's turn first, then the key's budget. It
// tells what became of them.
type desk struct {
	cfg      Config
	budget   *budget.Budget
	upstream string // so that a user of one service does not wait for the other
}

// conversation is who talks to whom.
type conversation struct {
	bot, user, surface string
	anonymous          bool // the user was made up for this one call, and so waits for nobody
	question           string
	stream             bool
}

// serve has answer called when it is the conversation's turn, and publishes its outcome.
func (d desk) serve(r *http.Request, c conversation, answer func() (relay.Outcome, error)) error {
	start := d.cfg.Now()
	outcome := relay.Outcome{Usage: jobs.ChatUsage{Incomplete: true}}
	leave, err := d.admit(r.Context(), c.user)
	throttled := d.cfg.Now().Sub(start)
	if err == nil {
		outcome, err = answer()
		leave()
		d.heed(err)
	}
	call := httpapi.CallFrom(r.Context())
	call.Usage = &outcome.Usage
	d.tell(call, c, outcome, err, start, throttled)
	return err
}

// admit waits for the user's turn and for the budget.
func (d desk) admit(ctx context.Context, user string) (leave func(), err error) {
	if user != "" {
		user = d.upstream + "/" + user
	}
	leave, err = d.cfg.Turns.Take(ctx, user)
	if full, ok := errors.AsType[*turn.FullError](err); ok {
		return nil, &httpapi.Error{
			Status: http.StatusConflict, Code: httpapi.CodeConflict, RetryAfter: full.RetryAfter, Err: err,
			Detail: "the user has other conversations under way, and can hold one at a time",
		}
	}
	if err != nil {
		return nil, err
	}
	if err := d.spend(ctx); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// spend takes one request of the key's budget.
func (d desk) spend(ctx context.Context) error {
	_, err := d.budget.Wait(ctx, budget.Chat)
	if spent, ok := errors.AsType[*budget.ExhaustedError](err); ok {
		return &httpapi.Error{
			Status: http.StatusTooManyRequests, Code: httpapi.CodeRateLimited, RetryAfter: spent.RetryAfter, Err: err,
			Detail: "the budget of requests to upstream is used up",
		}
	}
	return err
}

// heed makes everybody slow down when upstream says so.
func (d desk) heed(err error) {
	if err == nil {
		return
	}
	if refusal := httpapi.AsError(err); refusal.Status == http.StatusTooManyRequests {
		d.budget.Penalize(refusal.RetryAfter)
	}
}

// tell publishes the events of a conversation that is over.
func (d desk) tell(call *httpapi.Call, c conversation, o relay.Outcome, err error, start time.Time, throttled time.Duration) {
	if d.cfg.Events == nil {
		return
	}
	event := jobs.ChatEvent{
		Bot: c.bot, UserID: c.user, Anonymous: c.anonymous, RequestID: call.ID, MessageID: o.MessageID, SessionID: o.SessionID,
		UpstreamRequestID: call.UpstreamID, Key: call.Key, Surface: c.surface, Stream: c.stream,
		DurMs: d.cfg.Now().Sub(start).Milliseconds(), ThrottledMs: throttled.Milliseconds(), Usage: o.Usage, Source: o.Source,
	}
	if !o.First.IsZero() {
		event.FirstMs = o.First.Sub(start).Milliseconds()
	}
	if d.cfg.EventText {
		event.SetText(c.question, o.Text)
	}
	publish := func(kind string, event jobs.ChatEvent) { d.cfg.Events.Publish(kind, "", event.Bot, &event) }
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
