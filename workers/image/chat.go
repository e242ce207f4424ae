package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// answered asks for the picture of an answer that nobody has asked for: there may be none,
// and then nobody hears of it.
func (w *Worker) answered(ctx context.Context, d *queue.Delivery) error {
	var event struct {
		Time time.Time      `json:"time"`
		Data jobs.ChatEvent `json:"data"`
	}
	if err := json.Unmarshal(d.Data, &event); err != nil {
		zerolog.Ctx(ctx).Warn().EmbedObject(d).Err(err).Msg("not a chat event")
		return nil
	}
	request := jobs.ImageRequest{MessageID: event.Data.MessageID, UserID: event.Data.UserID}
	now := w.cfg.Now()
	if !w.draws(event.Data.Bot) || event.Data.Anonymous || len(request.Check()) > 0 || now.Sub(event.Time) > w.cfg.Deadline {
		return nil
	}
	key := jobs.ImageKey(request.MessageID)
	if _, err := w.images.Get(ctx, key); !errors.Is(err, queue.ErrNotFound) {
		return err // somebody has asked, or it is not to be known
	}
	data, err := json.Marshal(jobs.ImageJob{ImageRequest: request, Round: 1, RequestedAt: now.UTC(), Unasked: true})
	if err != nil {
		return fmt.Errorf("encode picture's job: %w", err)
	}
	err = w.cfg.Queue.Publish(ctx, queue.Job{Subject: jobs.SubjectImage + key, ID: key, Data: data, Unique: true})
	if errors.Is(err, queue.ErrExists) {
		return nil
	}
	return err
}

// draws reports whether answers of the bot are asked about.
func (w *Worker) draws(bot string) bool {
	kind, id, ok := jobs.SplitBot(bot)
	return ok && kind == jobs.BotCharacter && (slices.Contains(w.cfg.FromChat, "*") || slices.Contains(w.cfg.FromChat, id))
}
