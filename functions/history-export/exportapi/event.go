package exportapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"

	"github.com/oklog/ulid/v2"

	"xinghe/shared/faas"
	"xinghe/shared/jobs"
)

// Event starts the export that the event's payload describes, and returns its state.
// Platforms call more than once for one tick of a timer, or one message: all of these calls
// are about one export. Whoever invokes the function gets a fresh one each time.
func (a *API) Event(ctx context.Context, event faas.Event) (json.RawMessage, error) {
	export, err := a.begin(ctx, event)
	if err != nil {
		return nil, err
	}
	return json.Marshal(export)
}

func (a *API) begin(ctx context.Context, event faas.Event) (jobs.Export, error) {
	if id, ok := idOf(event); ok {
		return a.intake.StartAs(ctx, id, event.Payload)
	}
	return a.intake.Start(ctx, event.Payload)
}

// idOf is the id of an event's export: like others it begins with a time, which is the
// event's own; the rest stands for the event.
func idOf(event faas.Event) (string, bool) {
	if !event.Unattended() || event.ID == "" {
		return "", false
	}
	var id ulid.ULID
	digest := sha256.Sum256([]byte(event.Kind + "\n" + event.Name + "\n" + event.ID))
	if id.SetTime(ulid.Timestamp(event.Time)) != nil || id.SetEntropy(digest[:10]) != nil {
		return "", false
	}
	return "exp_" + id.String(), true
}
