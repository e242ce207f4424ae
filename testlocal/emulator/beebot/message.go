package beebot

import (
	"sync/atomic"
	"time"
)

// messageStore remembers what was answered to which messageId. It keeps the answer, not its
// frames: these follow from the number of the request again, byte for byte.
type messageStore struct{ seen *aged[*exchange] }

// exchange is one message and its answer.
type exchange struct {
	nth     uint64
	session string
	running atomic.Bool
	answer  *answer // set before running ends; nil if the message was never answered
	words   []string
}

func newMessageStore(lifetime time.Duration) *messageStore {
	return &messageStore{seen: newAged[*exchange](lifetime, maxMessages)}
}

// begin claims a messageId. It reports false if the id was claimed before: the exchange that
// it returns then may still be running.
func (m *messageStore) begin(key string, nth uint64, now time.Time) (*exchange, bool) {
	fresh := &exchange{nth: nth}
	fresh.running.Store(true)
	for {
		x, added := m.seen.add(key, fresh, now)
		if added || x.running.Load() || x.answer != nil {
			return x, added
		}
		m.seen.remove(key)
	}
}

// finish ends an exchange. One without an answer is forgotten, so that it can be tried again.
func (m *messageStore) finish(key string, x *exchange) {
	if x.answer == nil {
		m.seen.remove(key)
	}
	x.running.Store(false)
}
