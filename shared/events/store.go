package events

import (
	"context"
	"encoding/json"
	"fmt"

	"xinghe/shared/jobs"
)

// Store publishes an event that must not be lost: it returns when NATS has stored it, or
// knows its id from before. Errors are those of the queue.
func Store(ctx context.Context, q Queue, event jobs.Event) error {
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", event.Type, err)
	}
	return q.PublishEvent(ctx, jobs.EventPrefix+jobs.ShortType(event.Type), event.ID, data)
}
