package intake

import (
	"context"
	"errors"
	"net/http"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// StartAs is [Exports.Start] for who may ask for the same export several times, and in
// several processes at once: the id makes it one export, which is returned as it stands.
// What fails half way is not undone, unless it is for good, but finished by
// the next call.
func (e *Exports) StartAs(ctx context.Context, id string, body []byte) (jobs.Export, error) {
	asked, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	export, err := e.known(asked, id)
	if !errors.Is(err, queue.ErrNotFound) {
		return export, unclaimed(err)
	}
	spec, err := e.Spec(body)
	if err != nil {
		return jobs.Export{}, err
	}
	if err := e.checkMark(asked, spec); err != nil {
		return jobs.Export{}, err
	}
	export = e.queued(id, spec)
	if err := e.Claim(asked, export); err != nil && !e.claimed(asked, err, export) {
		return jobs.Export{}, err
	}
	_, err = e.exports.Create(asked, id, export)
	if err != nil && !errors.Is(err, queue.ErrExists) {
		return jobs.Export{}, Unaccepted(err)
	}
	export, err = e.known(asked, id)
	if errors.Is(err, queue.ErrTooLarge) { // no later call can publish it
		err = errors.Join(err, e.exports.Delete(asked, id), e.Release(asked, export))
	}
	return export, unclaimed(err)
}

// known returns an export that has a record, once its job is sure to be published.
func (e *Exports) known(ctx context.Context, id string) (jobs.Export, error) {
	entry, err := e.exports.Get(ctx, id)
	if err == nil && entry.Value.State == jobs.StateQueued {
		err = e.Publish(ctx, entry.Value)
	}
	return entry.Value, err
}

// claimed reports whether a claim was refused since an earlier call has made it.
func (e *Exports) claimed(ctx context.Context, refused error, export jobs.Export) bool {
	if httpapi.AsError(refused).Status != http.StatusConflict {
		return false
	}
	held, err := e.live.Get(ctx, export.Name)
	return err == nil && held.Value.ExportID == export.ID && held.Value.Round == export.Round
}
