package exportapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

func (a *API) post(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	export, err := a.start(r.Context(), body)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/exports/"+export.ID)
	return httpapi.WriteJSON(w, http.StatusAccepted, export)
}

// start checks a spec, claims its name, notes the export as queued and publishes its job.
// It returns when all of that is durable; what fails on the way is undone.
func (a *API) start(ctx context.Context, body []byte) (jobs.Export, error) {
	spec, err := a.spec(body)
	if err != nil {
		return jobs.Export{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	if err := a.checkMark(ctx, spec); err != nil {
		return jobs.Export{}, err
	}
	export := jobs.Export{
		ID: httpapi.NewID("exp"), Name: spec.Name, State: jobs.StateQueued, Spec: spec, Round: 1,
		Progress: jobs.Progress{Windows: planned(spec)}, CreatedAt: a.cfg.Now().UTC(),
	}
	if err := a.claim(ctx, export); err != nil {
		return jobs.Export{}, err
	}
	if _, err = a.exports.Create(ctx, export.ID, export); err == nil {
		err = a.publish(ctx, export)
	}
	if err != nil {
		// Without its record a job that did arrive is not carried out: refused means refused.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Timeout)
		defer cancel()
		return jobs.Export{}, unaccepted(errors.Join(err, a.exports.Delete(undo, export.ID), a.release(undo, export)))
	}
	return export, nil
}

// spec reads and checks a spec. It needs no NATS.
func (a *API) spec(body []byte) (jobs.ExportSpec, error) {
	var spec jobs.ExportSpec
	if err := httpapi.DecodeStrict(body, &spec); err != nil {
		return spec, err
	}
	spec = spec.WithDefaults()
	var fields []httpapi.FieldError
	for _, fault := range spec.Check() {
		fields = append(fields, httpapi.FieldError(fault))
	}
	kind := a.cfg.Sink.Kind()
	if len(fields) == 0 && spec.Sink.Type != "" && spec.Sink.Type != kind {
		fields = append(fields, httpapi.FieldError{Field: "sink.type", Message: fmt.Sprintf("this deployment writes to %q", kind)})
	}
	spec.Sink.Type = kind
	return spec, httpapi.Invalid(fields...)
}

// checkMark sees to it that a run by a watermark has somewhere to begin.
func (a *API) checkMark(ctx context.Context, spec jobs.ExportSpec) error {
	if spec.Watermark == nil || !spec.From.IsZero() {
		return nil
	}
	_, err := a.marks.Get(ctx, spec.Watermark.Name)
	if errors.Is(err, queue.ErrNotFound) {
		return httpapi.Invalid(httpapi.FieldError{
			Field: "from", Message: fmt.Sprintf("missing: the watermark %q has no value yet, so its first run must be told where to begin", spec.Watermark.Name),
		})
	}
	if err != nil {
		return unaccepted(err)
	}
	return nil
}

// planned is how many windows a spec has, or 0 if only the worker can know.
func planned(spec jobs.ExportSpec) int {
	if spec.Characters.Is(jobs.CharactersMine) || spec.Users.Is(jobs.UsersDirectory) {
		return 0
	}
	return len(spec.Characters) * len(spec.Users)
}

// publish hands a round of an export to the workers.
func (a *API) publish(ctx context.Context, export jobs.Export) error {
	data, err := json.Marshal(export)
	if err != nil {
		return fmt.Errorf("encode export: %w", err)
	}
	return a.cfg.Queue.Publish(ctx, queue.Job{
		Subject: jobs.SubjectExport + export.ID, ID: export.ID + "." + strconv.Itoa(export.Round), Data: data,
	})
}

// unaccepted refuses an export that could not be made durable.
func unaccepted(err error) error {
	if errors.Is(err, queue.ErrTooLarge) {
		return httpapi.Invalid(httpapi.FieldError{Field: "users", Message: "the spec is too large for one job; export fewer users at a time"})
	}
	if missing, ok := errors.AsType[*queue.MissingStreamError](err); ok {
		return httpapi.Unavailable("the export was not accepted: "+missing.Error(), err)
	}
	return httpapi.Unavailable("the export was not accepted: NATS does not answer", err)
}
