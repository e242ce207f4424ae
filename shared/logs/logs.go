// Package logs builds the one logger of a program: JSON lines with the fields that both
// platforms filter by (timestamp in RFC 3339, lower-case level).
package logs

import (
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
)

// New returns a logger that writes to w from the level on: debug, info, warn or error;
// empty means info. Lines of several goroutines reach w one after another and whole.
func New(w io.Writer, level string) (zerolog.Logger, error) {
	if level == "" {
		level = "info"
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("%q is no level: use debug, info, warn or error", level)
	}
	return zerolog.New(zerolog.SyncWriter(w)).Level(parsed).Hook(timestamp{}), nil
}

// timestamp stamps each line without touching zerolog's global settings.
type timestamp struct{}

func (timestamp) Run(event *zerolog.Event, _ zerolog.Level, _ string) {
	event.Str("timestamp", time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}
