package faas

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// envelope has the fields by which payloads are told apart. Fields that others may use for
// something else are read as they are.
type envelope struct {
	// Requests: HTTP triggers of Function Compute ("v1"), Function URLs and HTTP APIs ("2.0").
	Version        json.RawMessage `json:"version"`
	RequestContext *struct {
		HTTP *struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
	// Requests of REST APIs, load balancers and HTTP APIs of payload format 1.0.
	HTTPMethod json.RawMessage `json:"httpMethod"`
	// Timers of Function Compute.
	TriggerTime *string         `json:"triggerTime"`
	TriggerName *string         `json:"triggerName"`
	Payload     json.RawMessage `json:"payload"`
	// EventBridge of AWS.
	DetailType *string         `json:"detail-type"`
	Resources  json.RawMessage `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
	// CloudEvents, as EventBridge of Alibaba Cloud sends them.
	SpecVersion *string         `json:"specversion"`
	Type        json.RawMessage `json:"type"`
	Data        json.RawMessage `json:"data"`
	// Of both.
	Source json.RawMessage `json:"source"`
	ID     json.RawMessage `json:"id"`
	Time   json.RawMessage `json:"time"`
	// Queues.
	Records json.RawMessage `json:"Records"`
}

// open reads what a payload is. What is no object has no envelope.
func open(payload []byte) envelope {
	var e envelope
	if json.Unmarshal(payload, &e) != nil {
		return envelope{}
	}
	return e
}

// isRequest reports whether the payload is an HTTP request that an adapter can map.
func (e envelope) isRequest(version string) bool {
	return e.RequestContext != nil && e.RequestContext.HTTP != nil && text(e.Version) == version
}

// isOldRequest reports whether the payload is a request in a form that is not served.
func (e envelope) isOldRequest() bool { return e.HTTPMethod != nil }

var errOldRequest = errors.New("the event is a request in payload format 1.0, of a REST API or load balancer: use a Function URL or an HTTP API with payload format 2.0")

// fcEventOf reads an event of Function Compute. The id and the number of retries are those
// of the invocation.
func fcEventOf(payload []byte, id string, retries int, now time.Time) Event {
	e := open(payload)
	event := Event{Kind: KindInvoke, ID: id, Time: now, Attempt: max(retries, 0) + 1, Payload: asJSON(payload)}
	switch {
	case e.TriggerTime != nil && e.TriggerName != nil:
		event.Kind, event.Name, event.Payload = KindTimer, *e.TriggerName, inner(e.Payload)
		event.ID = *e.TriggerName + "@" + *e.TriggerTime
		event.Time = timeOf(*e.TriggerTime, now)
	case e.SpecVersion != nil:
		event = e.cloudEvent(event)
	}
	return event
}

// lambdaEventOf reads an event of Lambda that is neither request nor batch.
func lambdaEventOf(payload []byte, id string, now time.Time) Event {
	e := open(payload)
	event := Event{Kind: KindInvoke, ID: id, Time: now, Attempt: 1, Payload: asJSON(payload)}
	switch {
	case e.DetailType != nil && e.Source != nil:
		event = e.bridged(event)
	case e.SpecVersion != nil:
		event = e.cloudEvent(event)
	}
	return event
}

// The sources of schedules: rules of EventBridge, and EventBridge Scheduler, whose input may
// be given this form.
const (
	sourceRules     = "aws.events"
	sourceScheduler = "aws.scheduler"
)

func (e envelope) bridged(event Event) Event {
	source := text(e.Source)
	event.Kind, event.Name = KindBus, source+" "+*e.DetailType
	event.ID = cmp.Or(text(e.ID), event.ID)
	event.Time = timeOf(text(e.Time), event.Time)
	event.Payload = inner(e.Detail)
	if source == sourceRules || source == sourceScheduler {
		event.Kind = KindSchedule
		var resources []string
		if json.Unmarshal(e.Resources, &resources) == nil && len(resources) > 0 {
			event.Name = last(resources[0], "/")
			// The scheduler's own id is that of the attempt.
			if source == sourceScheduler && text(e.Time) != "" {
				event.ID = resources[0] + "@" + text(e.Time)
			}
		}
	}
	return event
}

func (e envelope) cloudEvent(event Event) Event {
	event.Kind, event.Name = KindBus, strings.TrimSpace(text(e.Source)+" "+text(e.Type))
	if id := text(e.ID); id != "" {
		event.ID = text(e.Source) + "@" + id
	}
	event.Time = timeOf(text(e.Time), event.Time)
	event.Payload = inner(e.Data)
	return event
}

// text is a JSON text's value; empty if it is something else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// inner is a payload within an event: JSON, or a text that holds some.
func inner(raw json.RawMessage) json.RawMessage {
	var s string
	switch {
	case len(raw) == 0:
		return json.RawMessage("null")
	case raw[0] == '"' && json.Unmarshal(raw, &s) == nil:
		return asJSON([]byte(s))
	}
	return raw
}

// asJSON makes valid JSON of a payload: itself, or a text.
func asJSON(payload []byte) json.RawMessage {
	if payload = bytes.TrimSpace(payload); len(payload) == 0 {
		return json.RawMessage("null")
	}
	if json.Valid(payload) {
		return payload
	}
	quoted, _ := json.Marshal(string(payload)) // a text always can be
	return quoted
}

func timeOf(s string, otherwise time.Time) time.Time {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t
	}
	return otherwise
}

// last is what follows the last separator.
func last(s, separator string) string { return s[strings.LastIndex(s, separator)+1:] }
