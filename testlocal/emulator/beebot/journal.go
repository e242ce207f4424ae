package beebot

import (
	"slices"
	"sync"
	"time"
)

// maxTurns is how many turns the journal remembers; beyond that the oldest are forgotten.
const maxTurns = 1 << 16

// turnRecord is one question and its answer, as the lists of conversations show it.
type turnRecord struct {
	at              time.Time
	space, instance string
	session, sender string
	messageID       string // of the answer
	chatID          string // of the question, where it has one
	question        string
	answer, source  string
	feedback, note  string
}

// journal remembers turns in their order. It is safe for concurrent use.
type journal struct {
	mu    sync.Mutex
	turns []turnRecord
}

func (j *journal) add(turn turnRecord) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.turns) == maxTurns {
		j.turns = slices.Delete(j.turns, 0, maxTurns/16)
	}
	j.turns = append(j.turns, turn)
}

// find returns those of a robot that match, oldest first, most at most.
func (j *journal) find(space, instance string, most int, match func(turnRecord) bool) []turnRecord {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := []turnRecord{}
	for _, turn := range j.turns {
		if turn.space == space && turn.instance == instance && match(turn) && len(found) < most {
			found = append(found, turn)
		}
	}
	return found
}

// change changes the turn whose answer has that id in a space, and reports whether there is one.
func (j *journal) change(space, messageID string, change func(*turnRecord)) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range slices.Backward(j.turns) {
		if turn := &j.turns[i]; turn.space == space && turn.messageID == messageID {
			change(turn)
			return true
		}
	}
	return false
}

// live are the streams that run, which can be cancelled.
type live struct {
	mu      sync.Mutex
	streams map[*stream]bool
}

func (l *live) enter(t *stream) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams = make(map[*stream]bool)
	}
	l.streams[t] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.streams, t)
	}
}

// cancel makes the next frame of each stream that matches its last, and returns how many there are.
func (l *live) cancel(shown *string, match func(*stream) bool) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for t := range l.streams {
		if match(t) {
			t.cancelled.Store(&cancellation{shown})
			count++
		}
	}
	return count
}

// cancellation says what was shown of an answer, if the caller has said so.
type cancellation struct{ shown *string }
