package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Set is what PUT /_emulator/faults takes and GET answers: rules and the seed that replays them.
type Set struct {
	// Seed decides every chance. 0 keeps the seed that is in force.
	Seed uint64 `json:"seed"`
	// Rules all apply; of two rules with the same fault the first that strikes wins.
	Rules []Rule `json:"rules"`
}

// Rule says which requests a fault strikes and how. Empty selectors select everything.
type Rule struct {
	// Route is the path of a request, or the beginning of one followed by "*". Beebot's RPC counts as "/" followed by
	// the action ("/Chat", "/ApplyForStreamAccessToken"), its stream as "/sse/paas4Json".
	Route string
	// Key is the caller's key (Xingchen) or access key id (Beebot).
	Key string
	// User is the end user: userId, bizUserId or SenderId.
	User string
	// Share is the part of the selected requests that is struck, more than 0 to 1. 0 means 1.
	Share float64
	// Fault is what happens.
	Fault Name
	// AtFrame is the frame the fault strikes; the first is 1. 0 means the default of the fault.
	AtFrame int
	// AtByte is the count of body bytes written before Reset, HalfClose or Stall strikes. AtFrame wins.
	AtByte int64
	// Times is how often the rule strikes in all. 0 is without limit.
	Times int
	// Delay is the length of Latency and Stall.
	Delay time.Duration
	// Jitter is added to Delay, between nothing and all of it.
	Jitter time.Duration
	// RetryAfter is what Throttle, Quota and Unavailable announce, in whole seconds (rounded up).
	RetryAfter time.Duration
	// Limit is the number of requests that Quota lets through in a Window.
	Limit int
	// Window is the length of a Quota's window. 0 is one window without end.
	Window time.Duration
	// Bytes is the size of a Huge frame, at most 64 MB. 0 means 5 MB.
	Bytes int
	// Rows counts the rows that LateRows and TotalDrift are about. 0 means 3.
	Rows int
}

// wireRule is a rule in JSON: durations are texts such as "250ms", or numbers of milliseconds.
type wireRule struct {
	Route      string   `json:"route,omitempty"`
	Key        string   `json:"key,omitempty"`
	User       string   `json:"user,omitempty"`
	Share      float64  `json:"share,omitempty"`
	Fault      Name     `json:"fault"`
	AtFrame    int      `json:"atFrame,omitempty"`
	AtByte     int64    `json:"atByte,omitempty"`
	Times      int      `json:"times,omitempty"`
	Delay      wireTime `json:"delay,omitempty"`
	Jitter     wireTime `json:"jitter,omitempty"`
	RetryAfter wireTime `json:"retryAfter,omitempty"`
	Limit      int      `json:"limit,omitempty"`
	Window     wireTime `json:"window,omitempty"`
	Bytes      int      `json:"bytes,omitempty"`
	Rows       int      `json:"rows,omitempty"`
}

type wireTime time.Duration

// MarshalJSON writes the duration as text.
func (d wireTime) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a text such as "250ms" or a number of milliseconds.
func (d *wireTime) UnmarshalJSON(data []byte) error {
	var millis float64
	if err := json.Unmarshal(data, &millis); err == nil {
		*d = wireTime(millis * float64(time.Millisecond))
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New("a duration is a text such as \"250ms\" or a number of milliseconds")
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("duration %q: %w", text, err)
	}
	*d = wireTime(parsed)
	return nil
}

// MarshalJSON writes the rule with its durations as text.
func (r Rule) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireRule{
		Route: r.Route, Key: r.Key, User: r.User, Share: r.Share, Fault: r.Fault, AtFrame: r.AtFrame, AtByte: r.AtByte,
		Times: r.Times, Delay: wireTime(r.Delay), Jitter: wireTime(r.Jitter), RetryAfter: wireTime(r.RetryAfter),
		Limit: r.Limit, Window: wireTime(r.Window), Bytes: r.Bytes, Rows: r.Rows,
	})
}

// UnmarshalJSON reads a rule; durations are texts such as "250ms" or numbers of milliseconds. Unknown fields are an error.
func (r *Rule) UnmarshalJSON(data []byte) error {
	var wire wireRule
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wire); err != nil {
		return fmt.Errorf("decode rule: %w", err)
	}
	*r = Rule{
		Route: wire.Route, Key: wire.Key, User: wire.User, Share: wire.Share, Fault: wire.Fault, AtFrame: wire.AtFrame,
		AtByte: wire.AtByte, Times: wire.Times, Delay: time.Duration(wire.Delay), Jitter: time.Duration(wire.Jitter),
		RetryAfter: time.Duration(wire.RetryAfter), Limit: wire.Limit, Window: time.Duration(wire.Window),
		Bytes: wire.Bytes, Rows: wire.Rows,
	}
	return nil
}

// maxHuge bounds the frame that a Huge fault may ask for.
const maxHuge = 64 << 20

// Validate reports the first field of the rule that makes no sense.
func (r Rule) Validate() error {
	switch {
	case !slices.Contains(Names(), r.Fault):
		return fmt.Errorf("fault: %q is none of %s", r.Fault, joinNames())
	case r.Share < 0 || r.Share > 1:
		return fmt.Errorf("share: %v is not between 0 and 1", r.Share)
	case r.AtFrame < 0 || r.AtByte < 0 || r.Times < 0 || r.Limit < 0 || r.Rows < 0:
		return errors.New("atFrame, atByte, times, limit and rows must not be negative")
	case r.Delay < 0 || r.Jitter < 0 || r.RetryAfter < 0 || r.Window < 0:
		return errors.New("delay, jitter, retryAfter and window must not be negative")
	case r.Bytes < 0 || r.Bytes > maxHuge:
		return fmt.Errorf("bytes: %d is not between 0 and %d", r.Bytes, maxHuge)
	}
	return nil
}

func joinNames() string {
	names := make([]string, 0, len(Names()))
	for _, name := range Names() {
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}

func (r Rule) selects(req Request) bool {
	if r.Key != "" && r.Key != req.Key || r.User != "" && r.User != req.User {
		return false
	}
	if prefix, wild := strings.CutSuffix(r.Route, "*"); wild {
		return strings.HasPrefix(req.Route, prefix)
	}
	return r.Route == "" || r.Route == req.Route
}
