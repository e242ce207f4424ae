package delivery

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
)

const (
	// logEvery is how often attempts are written, and logBatch how many at once.
	logEvery = 100 * time.Millisecond
	logBatch = 256
)

// attemptLog writes down the attempts of a target: many together if there are many.
type attemptLog struct {
	w      *Worker
	target string
	in     chan jobs.DeliveryAttempt
}

func newAttemptLog(w *Worker, target string) *attemptLog {
	return &attemptLog{w: w, target: target, in: make(chan jobs.DeliveryAttempt, 4*logBatch)}
}

// add hands an attempt over to be written. It waits where the log is too slow.
func (l *attemptLog) add(attempt jobs.DeliveryAttempt) { l.in <- attempt }

// run writes until the channel is closed and empty.
func (l *attemptLog) run(ctx context.Context) {
	pace := time.NewTicker(logEvery)
	defer pace.Stop()
	for first := range l.in {
		batch := []jobs.DeliveryAttempt{first}
		for more := true; more && len(batch) < logBatch; {
			select {
			case next, ok := <-l.in:
				if more = ok; ok {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		if _, err := l.w.log.Put(ctx, l.target+"."+ulid.Make().String(), jobs.DeliveryLog{Attempts: batch}); err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Str("target", l.target).Int("attempts", len(batch)).Msg("attempts are missing in the log")
		}
		if len(l.in) < logBatch {
			<-pace.C
		}
	}
}
