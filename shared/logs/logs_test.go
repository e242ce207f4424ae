package logs

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLinesOfManyGoroutinesStayWhole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := New(&out, "")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range 50 {
				log.Info().Int("n", n).Msg("counted")
				log.Debug().Msg("below the level")
			}
		})
	}
	group.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 400 {
		t.Errorf("%d lines, want 400", len(lines))
	}
	for _, line := range lines {
		var fields struct {
			Level     string    `json:"level"`
			Message   string    `json:"message"`
			Timestamp time.Time `json:"timestamp"`
		}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if fields.Level != "info" || fields.Message != "counted" || fields.Timestamp.IsZero() {
			t.Fatalf("%+v", fields)
		}
	}
}

func TestLevelIsNamedWhenWrong(t *testing.T) {
	t.Parallel()
	if _, err := New(&bytes.Buffer{}, "loud"); err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("error %v", err)
	}
}
