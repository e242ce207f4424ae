package stack

import (
	"context"
	"net/http"
	"slices"

	"xinghe/functions/character/characterapi"
	"xinghe/functions/chat/chatapi"
	"xinghe/functions/chat/messageapi"
	"xinghe/functions/history-export/exportapi"
	"xinghe/shared/env"
	"xinghe/shared/events"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
)

func (s *Stack) startFront(ctx context.Context, cfg Config) error {
	vars := env.New(s.upstream(cfg))
	front := httpapi.FromEnv(vars, s.log)
	front.Observe = s.telemetry.Request
	if !ownKeys(cfg.Getenv) {
		s.Key = DefaultKey
	}
	chat := chatapi.FromEnv(vars)
	stopChat, err := chat.Attach(ctx, vars, s.queue, s.log)
	if err != nil {
		return err
	}
	s.stopFront = stopChat
	replays, err := idempotency.New(idempotency.FromEnv(vars, s.queue))
	if err != nil {
		return err
	}
	front.Replays, front.Ready = replays, replays.Ready
	characters := characterapi.FromEnv(vars)
	characters.Events, err = events.New(events.Config{Queue: s.queue, Source: characterapi.Source, Logger: s.log}) //nolint:contextcheck // ends by its Close
	if err != nil {
		return err
	}
	s.stopFront = func() {
		stopChat()
		characters.Events.Close()
	}
	if err := vars.Err(); err != nil {
		return err
	}
	if cfg.Chat != nil {
		cfg.Chat(s, &chat)
	}
	characters.Client = chat.Xingchen
	exports, err := exportapi.New(exportapi.Config{Queue: s.queue, Sink: s.sink})
	if err != nil {
		return err
	}
	messages, err := messageapi.New(messageapi.Config{Queue: s.queue, Sink: s.sink})
	if err != nil {
		return err
	}
	webhooks, stopWebhooks, err := s.webhooks(vars, chat) //nolint:contextcheck // ends by stopWebhooks
	if err != nil {
		return err
	}
	stopOthers := s.stopFront
	s.stopFront = func() {
		stopWebhooks()
		stopOthers()
	}
	s.front, err = httpapi.New(front, slices.Concat(chatapi.Routes(chat), messages.Routes(), characterapi.Routes(characters), exports.Routes(), webhooks)...)
	if err != nil {
		return err
	}
	listener, err := faas.Listen(ctx, s.settings.addr, "XINGHE_ADDR")
	if err != nil {
		return err
	}
	var stopServing func()
	stopParts := s.stopFront
	metrics := s.telemetry.Handler()
	door := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" { // the stack's own; no function serves it
			metrics.ServeHTTP(w, r)
			return
		}
		s.front.ServeHTTP(w, r)
	})
	s.URL, stopServing = s.serve(ctx, listener, door)
	s.stopFront = func() {
		stopServing()
		stopParts()
	}
	return nil
}
