package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Claim makes an export's round the live one of its name, or refuses with 409. The claim of
// a round that has ended is taken over, and that of one that never came to be.
func (e *Exports) Claim(ctx context.Context, export jobs.Export) error {
	claim := jobs.Live{ExportID: export.ID, Round: export.Round, Since: e.cfg.Now().UTC()}
	for {
		_, err := e.live.Create(ctx, export.Name, claim)
		if !errors.Is(err, queue.ErrExists) {
			return unclaimed(err)
		}
		held, err := e.live.Get(ctx, export.Name)
		if errors.Is(err, queue.ErrNotFound) {
			continue // given back meanwhile
		}
		if err != nil {
			return unclaimed(err)
		}
		holds, err := e.holds(ctx, held.Value)
		if err != nil {
			return unclaimed(err)
		}
		if holds {
			return nameTaken(export.Name, held.Value.ExportID)
		}
		if _, err = e.live.Update(ctx, export.Name, claim, held.Revision); !errors.Is(err, queue.ErrConflict) {
			return unclaimed(err)
		}
	}
}

func unclaimed(err error) error {
	if err == nil {
		return nil
	}
	return Unaccepted(err)
}

// holds reports whether a claim is in force: its round is under way, or about to be.
func (e *Exports) holds(ctx context.Context, claim jobs.Live) (bool, error) {
	if claim.ExportID == "" {
		return false, nil
	}
	entry, err := e.exports.Get(ctx, claim.ExportID)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return false, err
	}
	if export := entry.Value; err == nil && export.Round >= claim.Round {
		return !export.State.Ended(), nil
	}
	return e.cfg.Now().Sub(claim.Since) < jobs.MaxClaim, nil
}

func nameTaken(name, id string) error {
	return &httpapi.Error{
		Status: http.StatusConflict, Code: httpapi.CodeConflict,
		Fields: []httpapi.FieldError{{Field: "name", Message: fmt.Sprintf("%q is being exported by %s; wait for its end, or cancel it", name, id)}},
	}
}

// Release gives the claim of an export's round back, if it is that round's.
func (e *Exports) Release(ctx context.Context, export jobs.Export) error {
	_, err := e.live.Modify(ctx, export.Name, func(claim *jobs.Live) error {
		if claim.ExportID == export.ID && claim.Round == export.Round {
			*claim = jobs.Live{}
		}
		return nil
	})
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	return err
}
