package jobs

import (
	"slices"
	"strings"
	"time"
)

const (
	// SubjectDelivery is followed by a target's name and carries an [Event] as it was
	// published, to be delivered to that target alone: once more after a failure, or because
	// somebody asked for it again. The headers below go with it.
	SubjectDelivery = SubjectPrefix + "delivery."
	// HeaderDeliveryAttempts tells how many attempts have failed; none if it is missing.
	HeaderDeliveryAttempts = "Delivery-Attempts"
	// HeaderDeliveryDue tells when the next one is due, in RFC 3339; at once if it is missing.
	HeaderDeliveryDue = "Delivery-Due"

	// BucketWebhooks keeps a [Webhook] under its name.
	BucketWebhooks = "xinghe_webhooks"
	// BucketDeliveries keeps a [DeliveryLog] under "<target>.<ULID>".
	BucketDeliveries = "xinghe_deliveries"
)

// EventDeliveryPaused tells that a target gets no events any more; it carries a
// [DeliveryPaused]. Its event's subject is the target's name.
const EventDeliveryPaused = "delivery.paused"

// DeliveryConsumer names the consumer that brings a target what happens.
func DeliveryConsumer(target string) string { return "delivery_" + target }

// RedeliveryConsumer names the consumer that brings a target what is delivered again.
func RedeliveryConsumer(target string) string { return "redelivery_" + target }

// Webhook is a target of deliveries and how it is. All workers share it.
type Webhook struct {
	Name string `json:"name"`
	// Host is the scheme and the host of its address: what comes after may give access.
	Host string `json:"host"`
	// Types of events that it wants, as configured.
	Types []string `json:"types"`

	// Failures counts the attempts that failed since the last one that succeeded, a few of
	// those of the last second left out. Since is the first of them.
	Failures int        `json:"failures"`
	Since    *time.Time `json:"since,omitempty"`
	// Error is what was wrong at last.
	Error string `json:"error,omitempty"`
	// RestUntil is when the target is tried again after failures in a row, by one event at
	// first. Rests counts those failures that made the rest longer.
	RestUntil *time.Time `json:"restUntil,omitempty"`
	Rests     int        `json:"rests,omitempty"`
	// PausedAt tells that the target is paused, Reason why. It is tried at RestUntil, or
	// never by itself if there is none.
	PausedAt *time.Time  `json:"pausedAt,omitempty"`
	Reason   PauseReason `json:"reason,omitempty"`
}

// PauseReason says why a target is paused.
type PauseReason string

// The reasons.
const (
	PauseGone    PauseReason = "gone"    // it answered 410
	PauseFailing PauseReason = "failing" // nothing has succeeded for too long
)

// State is one word for how the target is: "ok", "failing", "resting" or "paused".
func (w Webhook) State(now time.Time) string {
	switch {
	case w.PausedAt != nil:
		return "paused"
	case w.RestUntil != nil && now.Before(*w.RestUntil):
		return "resting"
	case w.Failures > 0:
		return "failing"
	}
	return "ok"
}

// Resume makes the target be tried from now on, by one event at first.
func (w *Webhook) Resume(now time.Time) {
	w.PausedAt, w.Reason, w.Failures, w.Since, w.Rests = nil, "", 0, nil, 0
	w.RestUntil = &now
}

// Wants reports whether the target wants events of a type, with "xinghe." before it or not.
func (w Webhook) Wants(kind string) bool { return WantsEvent(w.Types, kind) }

// WantsEvent reports whether a type of events is among types, of which one may be "*" for
// all, or end in ".*" for all that begin so. "xinghe." before a type makes no difference.
func WantsEvent(types []string, kind string) bool {
	kind = ShortType(kind)
	return slices.ContainsFunc(types, func(want string) bool {
		start, all := strings.CutSuffix(ShortType(want), "*")
		return want == "*" || start == kind || all && strings.HasPrefix(kind, start)
	})
}

// ShortType is a type of events without the "xinghe." that it has on the wire.
func ShortType(kind string) string { return strings.TrimPrefix(kind, "xinghe.") }

// DeliveryPaused is the data of [EventDeliveryPaused].
type DeliveryPaused struct {
	Target string      `json:"target"`
	Host   string      `json:"host"`
	Reason PauseReason `json:"reason"`
	// Error is what was wrong at last.
	Error string `json:"error,omitempty"`
	// Since is when the first of the Failures in a row was.
	Since    time.Time `json:"since"`
	Failures int       `json:"failures"`
	// ResumesAt is when the target is tried again by itself; missing if it is not.
	ResumesAt *time.Time `json:"resumesAt,omitempty"`
}

// DeliveryLog is some attempts in their order.
type DeliveryLog struct {
	Attempts []DeliveryAttempt `json:"attempts"`
}

// DeliveryAttempt is one try to deliver an event.
type DeliveryAttempt struct {
	Target  string    `json:"target"`
	EventID string    `json:"eventId"`
	Type    string    `json:"type"`
	Attempt int       `json:"attempt"` // from 1
	Time    time.Time `json:"time"`
	DurMs   int64     `json:"durMs"`
	// Status is the answer's; 0 if there was none.
	Status int `json:"status,omitempty"`
	// Error is empty if the event was delivered.
	Error string `json:"error,omitempty"`
	// Next is when the event is tried again; missing if it is not.
	Next *time.Time `json:"next,omitempty"`
}
