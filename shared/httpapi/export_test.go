package httpapi

import "time"

// SetClock gives the keys another clock.
func SetClock(k *Keys, now func() time.Time) { k.now = now }
