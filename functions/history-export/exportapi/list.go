package exportapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Limits of a list.
const (
	defaultPage = 50
	maxPage     = 200
	// maxLooked is how many exports one answer looks at for those in a state.
	maxLooked = 1000
	// maxListed is from which size on, in bytes, an answer takes in no more exports:
	// platforms let no more than 6 MB through.
	maxListed = 4 << 20
)

// page is an answer. It may hold fewer exports than were asked for, even none, while
// NextCursor says that there are more.
type page struct {
	Exports    []json.RawMessage `json:"exports"`
	NextCursor string            `json:"nextCursor,omitempty"`
}

// query is what a list is asked for.
type query struct {
	state  jobs.State
	cursor string
	limit  int
}

func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.Timeout)
	defer cancel()
	answer, err := a.page(ctx, q)
	if err != nil {
		return a.unread("", err)
	}
	return httpapi.WriteJSON(w, http.StatusOK, answer)
}

func readQuery(r *http.Request) (query, error) {
	values := r.URL.Query()
	q := query{state: jobs.State(values.Get("state")), cursor: values.Get("cursor"), limit: defaultPage}
	var faults []httpapi.FieldError
	for name := range values {
		if !slices.Contains([]string{"state", "cursor", "limit"}, name) {
			faults = append(faults, httpapi.FieldError{Field: name, Message: "is not known here; there are state, cursor and limit"})
		}
	}
	if q.state != "" && !q.state.Ended() && q.state != jobs.StateQueued && q.state != jobs.StateRunning {
		faults = append(faults, httpapi.FieldError{Field: "state", Message: fmt.Sprintf("%q is no state", q.state)})
	}
	if text := values.Get("limit"); text != "" {
		var err error
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > maxPage {
			faults = append(faults, httpapi.FieldError{Field: "limit", Message: fmt.Sprintf("must be 1 to %d", maxPage)})
		}
	}
	slices.SortFunc(faults, func(a, b httpapi.FieldError) int { return cmp.Compare(a.Field, b.Field) })
	return q, httpapi.Invalid(faults...)
}

// page gathers exports, the newest first: their ids sort by the time they were made.
func (a *API) page(ctx context.Context, q query) (page, error) {
	ids, err := a.ids(ctx, q.cursor)
	if err != nil {
		return page{}, err
	}
	answer := page{Exports: []json.RawMessage{}}
	bytes := 0
	for i, id := range ids {
		if len(answer.Exports) == q.limit || i == maxLooked || bytes >= maxListed {
			answer.NextCursor = ids[i-1]
			break
		}
		entry, err := a.exports.Get(ctx, id)
		if errors.Is(err, queue.ErrNotFound) || err == nil && q.state != "" && entry.Value.State != q.state {
			continue
		}
		if err != nil {
			return page{}, err
		}
		body, err := json.Marshal(entry.Value)
		if err != nil {
			return page{}, fmt.Errorf("encode export: %w", err)
		}
		bytes += len(body)
		answer.Exports = append(answer.Exports, body)
	}
	return answer, nil
}

// ids are those of all exports older than the cursor, the newest first.
func (a *API) ids(ctx context.Context, cursor string) ([]string, error) {
	var ids []string
	for id, err := range a.exports.Keys(ctx, ">") {
		if err != nil {
			return nil, err
		}
		if cursor == "" || id < cursor {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	return ids, nil
}
