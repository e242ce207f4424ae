package exportapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"xinghe/shared/httpapi"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// cancel asks the worker to end an export. To ask again changes nothing.
func (a *API) cancel(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.Timeout)
	defer cancel()
	now := a.cfg.Now().UTC()
	entry, err := a.exports.Modify(ctx, id, func(export *jobs.Export) error {
		if export.State.Ended() {
			return conflict(id, export.State, "there is nothing left to cancel")
		}
		if export.CancelledAt == nil {
			export.CancelledAt = &now
		}
		return nil
	})
	if err != nil {
		return a.unread(id, err)
	}
	return httpapi.WriteJSON(w, http.StatusAccepted, entry.Value)
}

// resume starts another round of an export that has not got everything.
func (a *API) resume(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.Timeout)
	defer cancel()
	entry, err := a.exports.Get(ctx, id)
	if err != nil {
		return a.unread(id, err)
	}
	export := entry.Value
	if err := resumable(export); err != nil {
		return err
	}
	export.Round++
	export.State, export.CancelledAt, export.Error, export.FinishedAt = jobs.StateQueued, nil, nil, nil
	if err := a.intake.Claim(ctx, export); err != nil {
		return err
	}
	revision, err := a.exports.Update(ctx, id, export, entry.Revision)
	if err == nil {
		if err = a.intake.Publish(ctx, export); err != nil {
			// Its number is spent: the job may have arrived, and is not carried out any more.
			entry.Value.Round = export.Round
			err = errors.Join(err, a.putBack(ctx, entry.Value, revision))
		}
	}
	if err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Timeout)
		defer cancel()
		undone := a.intake.Release(undo, export)
		if errors.Is(err, queue.ErrConflict) {
			return conflict(id, entry.Value.State, "its record has changed meanwhile; try again")
		}
		return intake.Unaccepted(errors.Join(err, undone))
	}
	w.Header().Set("Location", "/v1/exports/"+id)
	return httpapi.WriteJSON(w, http.StatusAccepted, export)
}

// putBack undoes a change of a record.
func (a *API) putBack(ctx context.Context, export jobs.Export, revision uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Timeout)
	defer cancel()
	_, err := a.exports.Update(ctx, export.ID, export, revision)
	return err
}

func resumable(export jobs.Export) error {
	switch {
	case !export.State.Ended():
		return conflict(export.ID, export.State, "only what has ended can be resumed")
	case export.State == jobs.StateDone:
		return conflict(export.ID, export.State, "nothing is missing that could be resumed")
	}
	return nil
}

func conflict(id string, state jobs.State, reason string) error {
	return &httpapi.Error{
		Status: http.StatusConflict, Code: httpapi.CodeConflict, Detail: fmt.Sprintf("export %s is %s: %s", id, state, reason),
	}
}
