package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/budget"
	"xinghe/shared/events"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// pendingError says that there is no picture yet.
type pendingError struct {
	reason   string
	after    time.Duration // which upstream asked us to wait; 0 if it did not
	answered bool          // upstream itself said so
}

func (e *pendingError) Error() string { return e.reason }

// finalError says that there will be no picture.
type finalError struct {
	state  jobs.ImageState
	reason string
	none   bool // upstream knows of no picture
}

func (e *finalError) Error() string { return e.reason }

func failed(format string, args ...any) error {
	return &finalError{state: jobs.ImageFailed, reason: sign.Redact(fmt.Sprintf(format, args...))}
}

// work brings a job one step on: asks once, and fetches what is ready.
func (w *Worker) work(ctx context.Context, d *queue.Delivery) error {
	var job jobs.ImageJob
	if err := json.Unmarshal(d.Data, &job); err != nil {
		return queue.Discard(fmt.Errorf("decode picture's job: %w", err))
	}
	entry, err := w.images.Upsert(ctx, jobs.ImageKey(job.MessageID), func(image *jobs.Image) error {
		image.Begin(job)
		return nil
	})
	switch {
	case err != nil:
		return err
	case entry.Value.Round != job.Round:
		return nil // it has been asked for again since
	case entry.Value.State.Ended():
		return w.tell(ctx, entry.Value) // whoever ended it may have died before telling
	}
	age := w.cfg.Now().Sub(job.RequestedAt)
	if age < w.cfg.FirstPoll {
		return queue.Snooze(w.cfg.FirstPoll - max(age, 0))
	}
	var files []jobs.ImageFile
	err = failed("given up: its workers died")
	if d.Attempt > 1 {
		w.sweep(ctx, job)
	}
	if d.Attempt <= w.cfg.Attempts {
		files, err = w.get(ctx, job)
	}
	if err != nil && ctx.Err() != nil {
		return err // the worker is going down; another one goes on
	}
	return w.conclude(ctx, job, d.Attempt, age, files, err)
}

// sweep removes what a worker that died has left half written.
func (w *Worker) sweep(ctx context.Context, job jobs.ImageJob) {
	if err := w.cfg.Sink.Sweep(ctx, folder(job)); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Str("message", job.MessageID).Msg("cannot sweep the folder of a picture")
	}
}

// folder is where the files of a picture are.
func folder(job jobs.ImageJob) string {
	return path.Join(jobs.ImageFolder, jobs.ImageKey(job.MessageID))
}

// conclude decides what follows from a step: an end, another question, or another try.
func (w *Worker) conclude(ctx context.Context, job jobs.ImageJob, attempt int, age time.Duration, files []jobs.ImageFile, err error) error {
	if err == nil {
		return w.end(ctx, job, files, nil)
	}
	if pending, ok := errors.AsType[*pendingError](err); ok {
		if left := w.cfg.Deadline - age; left > 0 {
			return queue.Snooze(min(max(w.wait(age), pending.after), left))
		}
		if !pending.answered && attempt < w.cfg.Attempts {
			return queue.RetryAfter(err, pending.after) // the last question is owed an answer
		}
		return w.end(ctx, job, nil, &finalError{
			state: jobs.ImageFailed, reason: fmt.Sprintf("no picture within %s: %s", w.cfg.Deadline, pending.reason), none: true,
		})
	}
	final, ok := errors.AsType[*finalError](err)
	if !ok && attempt < w.cfg.Attempts {
		return err
	}
	if !ok {
		final = &finalError{state: jobs.ImageFailed, reason: sign.Redact(err.Error())}
	}
	return w.end(ctx, job, nil, final)
}

// wait is how long after a question the next one is asked.
func (w *Worker) wait(age time.Duration) time.Duration {
	return min(max(age/2, w.cfg.FirstPoll), w.cfg.LongestPoll)
}

// get asks for the picture and fetches its files. Where their addresses have expired it asks
// for fresh ones, once.
func (w *Worker) get(ctx context.Context, job jobs.ImageJob) ([]jobs.ImageFile, error) {
	addresses, err := w.poll(ctx, job)
	if err != nil {
		return nil, err
	}
	files, err := w.fetch(ctx, job, addresses)
	if !errors.Is(err, errExpired) {
		return files, err
	}
	if addresses, err = w.poll(ctx, job); err != nil {
		return nil, err
	}
	if files, err = w.fetch(ctx, job, addresses); errors.Is(err, errExpired) {
		err = &finalError{state: jobs.ImageExpired, reason: "the address of the picture expired before it was fetched"}
	}
	return files, err
}

// poll returns the addresses of the files once they are there. It follows Xingchen HTTP API,
// picture polling, where the words of status are an assumption.
func (w *Worker) poll(ctx context.Context, job jobs.ImageJob) ([]string, error) {
	if _, err := w.cfg.Budget.Wait(ctx, budget.Bulk); err != nil {
		return nil, err
	}
	picture, err := w.cfg.Pictures.PollImage(ctx, job.MessageID, job.UserID)
	switch {
	case err != nil:
		return nil, w.refused(err)
	case picture.Failed():
		return nil, failed("upstream could not make the picture: %s", picture.ErrorMessage)
	case !picture.Done():
		return nil, &pendingError{reason: fmt.Sprintf("upstream says %q", picture.Status), answered: true}
	case len(picture.FileURLs) == 0:
		return nil, &pendingError{reason: "upstream names no address", answered: true}
	}
	return picture.FileURLs, nil
}

// refused sorts what came instead of an answer. What may pass is waited for like the picture
// itself.
func (w *Worker) refused(err error) error {
	pending := &pendingError{reason: sign.Redact(err.Error())}
	refusal, ok := errors.AsType[*xingchen.Error](err)
	if !ok {
		return pending
	}
	switch refusal.Kind() {
	case upstream.KindThrottled:
		w.cfg.Budget.Penalize(refusal.RetryAfter)
		pending.after = refusal.RetryAfter
	case upstream.KindNotFound:
		return &finalError{state: jobs.ImageFailed, reason: pending.reason, none: true}
	case upstream.KindInvalid, upstream.KindForbidden:
		return &finalError{state: jobs.ImageFailed, reason: pending.reason}
	}
	return pending
}

// end notes what has become of the picture, and tells of it. Without final it is ready.
func (w *Worker) end(ctx context.Context, job jobs.ImageJob, files []jobs.ImageFile, final *finalError) error {
	now := w.cfg.Now().UTC()
	entry, err := w.images.Modify(ctx, jobs.ImageKey(job.MessageID), func(image *jobs.Image) error {
		if image.Round != job.Round || image.State.Ended() {
			return nil
		}
		image.EndedAt = &now
		if final == nil {
			image.State, image.Files, image.Unasked = jobs.ImageReady, files, false
			return nil
		}
		image.State, image.Error, image.Unasked = final.state, &final.reason, image.Unasked && final.none
		return nil
	})
	if err != nil {
		return err
	}
	return w.tell(ctx, entry.Value)
}

// tell publishes the end of a picture. One that nobody has asked for, and that there is not,
// is forgotten instead.
func (w *Worker) tell(ctx context.Context, image jobs.Image) error {
	if image.Unasked {
		return w.images.Delete(ctx, jobs.ImageKey(image.MessageID))
	}
	if err := w.announce(ctx, image); err != nil {
		return err
	}
	zerolog.Ctx(ctx).Info().Str("message", image.MessageID).Str("state", string(image.State)).Int("files", len(image.Files)).
		Int64("dur_ms", image.EndedAt.Sub(image.RequestedAt).Milliseconds()).Msg("picture ended")
	return nil
}

func (w *Worker) announce(ctx context.Context, image jobs.Image) error {
	kind := jobs.EventImageFailed
	if image.State == jobs.ImageReady {
		kind = jobs.EventImageReady
	}
	id := fmt.Sprintf("img_%s.%d", jobs.ImageKey(image.MessageID), image.Round)
	event, err := jobs.NewEvent(kind, id, "/xinghe/image", image.MessageID, w.cfg.Now(), image)
	if err != nil {
		return err
	}
	return events.Store(ctx, w.cfg.Queue, event)
}
