package xingchen

import "time"

// Millis is a point in time as the API carries it: Unix milliseconds. The zero value means
// "not given".
type Millis int64

// MillisOf converts a time, cutting what is finer than a millisecond.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time converts back, in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }
