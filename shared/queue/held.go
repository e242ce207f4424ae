package queue

import (
	"context"
	"sync"
	"time"
)

// held is the jobs that are in this process, waiting or running.
type held struct {
	limit int           // how many there may be
	low   int           // how much room makes a request worth while
	room  chan struct{} // signalled when so much has become free

	mu    sync.Mutex
	count int
	asked int // by requests, and not here yet
	first *Delivery
	last  *Delivery
}

// request is room that is kept for jobs on their way.
type request struct{ left int } // guarded by held.mu once there is a pull

// add takes a job in that came for a request.
func (h *held) add(d *Delivery, asked *request) {
	d.taken = time.Now()
	d.contact = d.taken
	h.mu.Lock()
	defer h.mu.Unlock()
	if asked.left > 0 { // else it comes after the request was withdrawn
		asked.left--
		h.asked--
	}
	h.count++
	if d.before = h.last; h.last == nil {
		h.first = d
	} else {
		h.last.after = d
	}
	h.last = d
}

func (h *held) remove(d *Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.before == nil {
		h.first = d.after
	} else {
		d.before.after = d.after
	}
	if d.after == nil {
		h.last = d.before
	} else {
		d.after.before = d.before
	}
	d.before, d.after = nil, nil
	h.count--
	h.tell()
}

// tell wakes one who waits for room, if there is enough. It is for calls under mu.
func (h *held) tell() {
	if h.limit-h.count-h.asked < h.low {
		return
	}
	select {
	case h.room <- struct{}{}:
	default:
	}
}

// ask returns a request for all the room there is once that is worth while, or nil when ctx
// has ended. Until then every worker has something to do.
func (h *held) ask(ctx context.Context) *request {
	for ctx.Err() == nil {
		h.mu.Lock()
		room := h.limit - h.count - h.asked
		if room >= h.low {
			h.asked += room
			h.mu.Unlock()
			return &request{left: room}
		}
		h.mu.Unlock()
		select {
		case <-h.room:
		case <-ctx.Done():
		}
	}
	return nil
}

// withdraw gives up the room of what did not come.
func (h *held) withdraw(asked *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked -= asked.left
	asked.left = 0
	h.tell()
}

// since returns the jobs that were taken before the given time.
func (h *held) since(before time.Time) []*Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	var old []*Delivery
	for d := h.first; d != nil && d.taken.Before(before); d = d.after {
		old = append(old, d)
	}
	return old
}

// twin reports whether an earlier delivery of the same job is still here.
func (h *held) twin(of *Delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for d := of.before; d != nil; d = d.before {
		if d.known.Load() == of.Sequence {
			return true
		}
	}
	return false
}
