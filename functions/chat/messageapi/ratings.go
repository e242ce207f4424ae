package messageapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"xinghe/shared/httpapi"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// ratings takes ratings and tells what has become of them.
type ratings struct {
	cfg     Config
	intake  *intake.Ratings
	jobs    *queue.Store[jobs.RatingJob]
	rows    *queue.Store[jobs.RatingChunk]
	results *queue.Store[jobs.RatingResult]
}

func newRatings(cfg Config) (*ratings, error) {
	r := &ratings{cfg: cfg}
	var errs [4]error
	bucket := queue.StoreConfig{TTL: jobs.RatingRetention}
	r.jobs, errs[0] = queue.OpenStore[jobs.RatingJob](cfg.Queue, jobs.BucketRatings, bucket)
	r.rows, errs[1] = queue.OpenStore[jobs.RatingChunk](cfg.Queue, jobs.BucketRatings, bucket)
	r.results, errs[2] = queue.OpenStore[jobs.RatingResult](cfg.Queue, jobs.BucketRatings, bucket)
	r.intake, errs[3] = intake.NewRatings(intake.RatingsConfig{Queue: cfg.Queue, Timeout: cfg.Timeout, Now: cfg.Now})
	return r, errors.Join(errs[:]...)
}

func (r *ratings) routes() []httpapi.Route {
	return []httpapi.Route{
		{Pattern: "POST /v1/ratings", Scope: httpapi.ScopeMessageWrite, Idempotent: true, Handler: r.post},
		{Pattern: "GET /v1/ratings/{id}", Scope: httpapi.ScopeMessageRead, Handler: r.get},
		{Pattern: "GET /v1/ratings/{id}/results", Scope: httpapi.ScopeMessageRead, Handler: r.getResults},
	}
}

// accepted is the answer of POST /v1/ratings.
type accepted struct {
	// ID is empty for a dry run.
	ID       string `json:"id"`
	Accepted int    `json:"accepted"`
	// RejectedCount is how many rows were not accepted, Rejected what is wrong with them: all
	// of it for a dry run, else up to maxRejected faults.
	RejectedCount int        `json:"rejectedCount"`
	Rejected      []rejected `json:"rejected"`
	DryRun        bool       `json:"dryRun,omitempty"`
}

// rejected is a fault of one row; a row may have several.
type rejected struct {
	Row     int    `json:"row"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

const (
	// maxRejected is how many faults an answer names: it may have to be kept for repeats.
	maxRejected = 2_000
	// maxNamed is how many faults a refusal names, which is for a request without a good row.
	maxNamed = 100
)

func (r *ratings) post(w http.ResponseWriter, req *http.Request) error {
	dryRun, err := flag(req, "dryRun")
	if err != nil {
		return err
	}
	sheet, err := readSheet(req)
	if err != nil {
		return err
	}
	answer := accepted{Accepted: len(sheet.rows), RejectedCount: sheet.count - len(sheet.rows), Rejected: sheet.rejected, DryRun: dryRun}
	switch {
	case dryRun:
		return httpapi.WriteJSON(w, http.StatusOK, answer)
	case len(sheet.rows) == 0:
		return sheet.refuse()
	}
	answer.ID, answer.Rejected = httpapi.NewID("rat"), sheet.rejected[:min(len(sheet.rejected), maxRejected)]
	if err := r.intake.Accept(req.Context(), answer.ID, sheet.rows); err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/ratings/"+answer.ID)
	return httpapi.WriteJSON(w, http.StatusAccepted, answer)
}

func flag(req *http.Request, name string) (bool, error) {
	text := req.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	set, err := strconv.ParseBool(text)
	if err != nil {
		return false, httpapi.Invalid(httpapi.FieldError{Field: name, Message: "must be true or false"})
	}
	return set, nil
}

func (r *ratings) get(w http.ResponseWriter, req *http.Request) error {
	ctx, cancel := context.WithTimeout(req.Context(), r.cfg.Timeout)
	defer cancel()
	job, err := r.find(ctx, req.PathValue("id"))
	if err != nil {
		return err
	}
	state, err := r.state(ctx, job)
	if err != nil {
		return unreadable(err)
	}
	return httpapi.WriteJSON(w, http.StatusOK, state)
}

func (r *ratings) find(ctx context.Context, id string) (jobs.RatingJob, error) {
	entry, err := r.jobs.Get(ctx, "job."+id)
	switch {
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, queue.ErrInvalid):
		return jobs.RatingJob{}, httpapi.NotFound("rating job " + id)
	case err != nil:
		return jobs.RatingJob{}, unreadable(err)
	}
	return entry.Value, nil
}

func unreadable(err error) error {
	return httpapi.Unavailable("the state of ratings cannot be read: NATS does not answer", err)
}

// state counts the outcomes of a job's rows.
func (r *ratings) state(ctx context.Context, job jobs.RatingJob) (jobs.RatingState, error) {
	state := jobs.RatingState{
		ID: job.ID, State: jobs.StateRunning, Accepted: job.Rows, Failed: []jobs.RatingFailure{}, CreatedAt: job.CreatedAt,
	}
	failing := map[int]jobs.RatingResult{}
	for entry, err := range r.results.List(ctx, "done."+job.ID+".*") {
		if err != nil {
			return state, err
		}
		failures := state.FailedCount
		for _, outcome := range entry.Value.Outcomes {
			count(&state, outcome)
		}
		if state.FailedCount > failures {
			number, err := strconv.Atoi(entry.Key[len("done."+job.ID+"."):])
			if err != nil {
				return state, fmt.Errorf("key %s: %w", entry.Key, err)
			}
			failing[number] = entry.Value
		}
	}
	state.Pending = job.Rows - state.Applied - state.Superseded - state.FailedCount
	if state.Pending == 0 {
		state.State = jobs.StateDone
	}
	return state, r.nameFailed(ctx, job, failing, &state)
}

func count(state *jobs.RatingState, outcome jobs.RatingOutcome) {
	switch outcome.Outcome {
	case jobs.RatingApplied:
		state.Applied++
	case jobs.RatingSuperseded:
		state.Superseded++
	case jobs.RatingFailed:
		state.FailedCount++
	}
}

// nameFailed lists the first rows that failed.
func (r *ratings) nameFailed(ctx context.Context, job jobs.RatingJob, failing map[int]jobs.RatingResult, state *jobs.RatingState) error {
	for number := 0; number < job.Chunks && len(state.Failed) < jobs.MaxRatingFailed; number++ {
		result, ok := failing[number]
		if !ok {
			continue
		}
		chunk, err := r.rows.Get(ctx, "rows."+jobs.RatingTask{ID: job.ID, Chunk: number}.Key())
		if err != nil {
			return err
		}
		for i, row := range chunk.Value.Rows {
			if outcome := result.Outcomes[i]; outcome.Outcome == jobs.RatingFailed && len(state.Failed) < jobs.MaxRatingFailed {
				state.Failed = append(state.Failed, jobs.RatingFailure{Row: row.Row, MessageID: row.MessageID, Reason: outcome.Reason})
			}
		}
	}
	return nil
}
