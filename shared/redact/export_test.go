package redact

import "time"

// SetClock replaces the clock.
func (r *Redactor) SetClock(now func() time.Time) { r.now = now }

// MaxText is the longest text that is looked through.
const MaxText = maxText
