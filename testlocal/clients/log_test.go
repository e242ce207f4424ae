package clients_test

import (
	"bytes"
	"sync"
)

// locked is a log that many goroutines write.
type locked struct {
	mu   sync.Mutex
	text *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}
