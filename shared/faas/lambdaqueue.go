package faas

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

const sourceQueue = "aws:sqs"

// record is a message of a queue.
type record struct {
	MessageID   string            `json:"messageId"`
	Body        string            `json:"body"`
	Attributes  map[string]string `json:"attributes"`
	EventSource string            `json:"eventSource"`
	SourceARN   string            `json:"eventSourceARN"`
}

func (r record) event(now time.Time) Event {
	event := Event{Kind: KindQueue, Name: last(r.SourceARN, ":"), ID: r.MessageID, Time: now, Attempt: 1, Payload: asJSON([]byte(r.Body))}
	if n, err := strconv.Atoi(r.Attributes["ApproximateReceiveCount"]); err == nil {
		event.Attempt = max(n, 1)
	}
	if ms, err := strconv.ParseInt(r.Attributes["SentTimestamp"], 10, 64); err == nil {
		event.Time = time.UnixMilli(ms).UTC()
	}
	return event
}

// batchFailure names a message that is to be delivered again.
type batchFailure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// batch does the events of a batch one after another and names those that failed; the rest
// is not delivered again. It needs FunctionResponseTypes: [ReportBatchItemFailures]. What
// follows a failure in a queue that keeps order (FIFO) has failed too, and so has what the
// deadline leaves.
func (l *lambdaEntry) batch(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
	var records []record
	if err := json.Unmarshal(raw, &records); err != nil || len(records) == 0 || records[0].EventSource != sourceQueue {
		return nil, errNoQueue
	}
	failures := []batchFailure{}
	for _, r := range records {
		ordered := strings.HasSuffix(r.SourceARN, ".fifo")
		var err error
		if ordered && len(failures) > 0 {
			err = errAfterFailure
		} else if err = ctx.Err(); err == nil {
			_, err = l.handle(ctx, r.event(l.cfg.Now()))
		}
		if err != nil {
			failures = append(failures, batchFailure{r.MessageID})
		}
	}
	return json.Marshal(map[string]any{"batchItemFailures": failures})
}

var (
	errNoQueue      = errors.New("the event's records are not of SQS, the only source of records that is served")
	errAfterFailure = errors.New("a message before it failed")
)
