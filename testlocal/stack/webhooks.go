package stack

import (
	"time"

	"xinghe/functions/chat/chatapi"
	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/desk"
	"xinghe/shared/env"
	"xinghe/shared/events"
	"xinghe/shared/httpapi"
	"xinghe/shared/turn"
)

// DefaultWebhookSecret signs the webhooks of [DefaultWebhookSources].
const DefaultWebhookSecret = "whsec_eGluZ2hlLWxvY2FsLXdlYmhvb2stc2VjcmV0" //nolint:gosec // for local use, and in the documents

// DefaultWebhookSources are in force where Xingchen is emulated, unless others are set: an
// order system, whose news of a parcel the character of the documentation's example tells the
// customer. All else that it sends is published.
const DefaultWebhookSources = `[{
	"name": "orders", "standard": {"secrets": ["` + DefaultWebhookSecret + `"]},
	"when": {"/type": "order.shipped"}, "action": "reminder",
	"fields": {
		"characterId": "c39797a35ad243f1a85baaa6e1ec37e0",
		"userId": {"template": "{/data/customer}"},
		"content": {"template": "您的订单 {/data/order} 已经发货了。"}
	}
}]`

// webhooks makes the surface of the webhook function, which has none if there are no
// sources. It shares the clients and budgets of the chat function.
func (s *Stack) webhooks(vars *env.Vars, chat chatapi.Config) ([]httpapi.Route, func(), error) {
	if vars.Secret(webhookapi.EnvSources).IsZero() {
		return nil, func() {}, nil
	}
	publisher, err := events.New(events.Config{Queue: s.queue, Source: webhookapi.EventSource, Logger: s.log})
	if err != nil {
		return nil, nil, err
	}
	cfg := webhookapi.FromEnv(vars)
	place := desk.Desk{Turns: turn.New(turn.Config{}), Events: publisher, EventText: chat.EventText, Now: time.Now}
	cfg.XingchenDesk, cfg.BeebotDesk = place, place
	cfg.XingchenDesk.Upstream, cfg.XingchenDesk.Budget = "xingchen", chat.XingchenBudget
	cfg.BeebotDesk.Upstream, cfg.BeebotDesk.Budget = "beebot", chat.BeebotBudget
	cfg.Queue, cfg.Sink, cfg.Xingchen, cfg.Beebot = s.queue, s.sink.Kind(), chat.Xingchen, chat.Beebot
	err = vars.Err()
	if err == nil {
		var api *webhookapi.API
		if api, err = webhookapi.New(cfg); err == nil {
			return api.Routes(), publisher.Close, nil
		}
	}
	publisher.Close()
	return nil, nil, err
}
