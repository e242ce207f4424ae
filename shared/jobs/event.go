package jobs

import (
	"encoding/json"
	"fmt"
	"time"
)

// Event is a CloudEvents 1.0 event in structured JSON.
type Event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

// NewEvent makes an event of one of the types above. Its id is the caller's, so that what
// is told twice counts once; source is the part of Xinghe that speaks, such as
// "/xinghe/export"; subject is the thing it speaks of.
func NewEvent(kind, id, source, subject string, at time.Time, data any) (Event, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return Event{}, fmt.Errorf("encode event %s: %w", kind, err)
	}
	return Event{
		SpecVersion: "1.0", ID: id, Source: source, Type: "xinghe." + kind, Subject: subject,
		Time: at.UTC(), DataContentType: "application/json", Data: encoded,
	}, nil
}
