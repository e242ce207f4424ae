package relay

import (
	"context"
	"net/http"
	"strings"
	"time"

	"xinghe/shared/beebot"
	"xinghe/shared/httpapi"
	"xinghe/shared/xingchen"
)

// consultTimeout bounds a call that is answered in one piece.
const consultTimeout = 15 * time.Second

// Ask makes the role chat for the request in hand and waits for the whole answer, which the
// caller tells in its own way.
func (x *Xingchen) Ask(r *http.Request, call *xingchen.Call, outcome *Outcome) (Reply, error) {
	adopt(r, call)
	ctx, cancel := x.Disconnect.context(r.Context())
	defer cancel()
	reply, err := x.reply(ctx, r, call, outcome)
	return reply, x.refusal(r.Context(), err)
}

// adopt gives a call the id of the request in hand, and what its headers ask for.
func adopt(r *http.Request, call *xingchen.Call) {
	call.RequestID = httpapi.CallFrom(r.Context()).ID
	call.DataInspection = xingchen.WantsInspection(r.Header)
}

// Ask asks a robot for the request in hand and waits for the whole answer, which the caller
// tells in its own way. What it offers to choose from follows its text, a line each.
func (b *Beebot) Ask(r *http.Request, robot beebot.Robot, req beebot.StreamRequest, outcome *Outcome) (Reply, error) {
	req.InstanceID = robot.ID
	if robot.Classic {
		response, err := b.Consult(r.Context(), beebot.ChatRequest{
			InstanceID: req.InstanceID, Utterance: req.Utterance, SessionID: req.SessionID,
			SenderID: req.SenderID, SenderNick: req.SenderNick, VendorParam: req.VendorParam,
		}, outcome)
		if err != nil {
			return Reply{}, err
		}
		return robotReply(outcome, words(response.Answers)), nil
	}
	ctx, cancel := b.Disconnect.context(r.Context())
	defer cancel()
	answer, err := b.collect(ctx, r, req, outcome)
	if err != nil {
		return Reply{}, Refusal(r.Context(), err)
	}
	return robotReply(outcome, answer.Text+answer.Clarify.lines(answer.Text)), nil
}

func robotReply(o *Outcome, text string) Reply {
	return Reply{MessageID: o.MessageID, SessionID: o.SessionID, Usage: o.Usage, Choices: []ReplyChoice{{Text: text}}}
}

// Consult asks a robot of the older edition, which answers in one piece. It follows Beebot,
// session API (Chat).
func (b *Beebot) Consult(ctx context.Context, request beebot.ChatRequest, outcome *Outcome) (*beebot.ChatResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, consultTimeout)
	defer cancel()
	response, err := b.Client.Chat(ctx, request)
	if err != nil {
		return nil, Refusal(ctx, err)
	}
	httpapi.CallFrom(ctx).UpstreamID = response.RequestID
	outcome.MessageID, outcome.SessionID = response.MessageID, response.SessionID
	for _, a := range response.Answers {
		text, _ := a.Content()
		outcome.Source, outcome.Text = a.Source, outcome.Text+text
		outcome.NoAnswer, outcome.Sensitive = outcome.NoAnswer || a.NoAnswer(), outcome.Sensitive || a.Sensitive()
		if a.Handover != nil {
			outcome.Handover = a.Handover
		}
	}
	return response, nil
}

// words is what a robot answers as a text: its answers one below the other, and what it
// offers to choose from, each on a line of its own.
func words(answers []beebot.Answer) string {
	parts := make([]string, 0, len(answers))
	for _, answer := range answers {
		text, _ := answer.Content()
		var options []string
		for _, choice := range answer.Recommends {
			options = append(options, choice.Title)
		}
		parts = append(parts, text+OptionLines(text, options))
	}
	return strings.Join(parts, "\n")
}
