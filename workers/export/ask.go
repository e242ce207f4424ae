package export

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/budget"
	"xinghe/shared/queue"
	"xinghe/shared/redact"
	"xinghe/shared/sign"
	"xinghe/shared/sink"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// effort counts what upstream was asked for.
type effort struct {
	requests  int64
	throttled time.Duration // spent waiting for the budget, and as upstream asked
}

// ask makes a request of upstream within the budget, again and again while trying again may
// help, up to Config.Tries times.
func ask[T any](ctx context.Context, w *Worker, spent *effort, request func(context.Context) (T, error)) (T, error) {
	for try := 1; ; try++ {
		waited, err := w.cfg.Budget.Wait(ctx, budget.Bulk)
		spent.throttled += waited
		if err != nil {
			var none T
			return none, err
		}
		spent.requests++
		answer, err := request(ctx)
		if err == nil || ctx.Err() != nil || !retryable(err) || try >= w.cfg.Tries {
			return answer, err
		}
		delay := w.cfg.Backoff(try)
		if refusal, ok := errors.AsType[*xingchen.Error](err); ok {
			delay = max(delay, refusal.RetryAfter)
			if refusal.Kind() == upstream.KindThrottled {
				w.cfg.Budget.Penalize(refusal.RetryAfter)
				spent.throttled += delay
			}
		}
		zerolog.Ctx(ctx).Debug().Str("error", sign.Redact(err.Error())).Int("attempt", try).Dur("retry_in_ms", delay).Msg("upstream failed, will retry")
		if err := queue.Pause(ctx, delay); err != nil {
			return answer, err
		}
	}
}

// retryable reports whether trying again may help: not where upstream refuses the request
// itself.
func retryable(err error) bool {
	if _, ok := errors.AsType[*upstream.FieldError](err); ok {
		return false
	}
	refusal, ok := errors.AsType[*xingchen.Error](err)
	return !ok || refusal.Retryable()
}

// fatal reports whether an error is not about one window: the next one would meet it too.
func fatal(err error) bool {
	if _, ok := errors.AsType[*sink.Error](err); ok || redact.Failed(err) {
		return true
	}
	refusal, ok := errors.AsType[*xingchen.Error](err)
	if !ok {
		return false
	}
	switch refusal.Kind() {
	case upstream.KindUnauthorized:
		return true
	case upstream.KindForbidden:
		return refusal.Key == "" && refusal.Code == 0 // the service itself gives a key; this was its gateway
	default:
		return false
	}
}

// patiently does what may fail for the export as a whole, again and again for up to
// Config.Patience from the first failure on, or until stop says that it does not matter any
// more. What could not be redacted is not tried again.
func (w *Worker) patiently(ctx context.Context, do func() error, stop func() error) error {
	var since time.Time
	for try := 1; ; try++ {
		err := do()
		if err == nil || ctx.Err() != nil || !fatal(err) || redact.Failed(err) {
			return err
		}
		now := time.Now()
		if since.IsZero() {
			since = now
		}
		if now.Sub(since) >= w.cfg.Patience {
			return err
		}
		zerolog.Ctx(ctx).Warn().Str("error", sign.Redact(err.Error())).Int("attempt", try).Msg("an export cannot go on, will retry")
		if halted := stop(); halted != nil {
			return halted
		}
		if waited := queue.Pause(ctx, w.cfg.Backoff(try)); waited != nil {
			return waited
		}
	}
}
