package exportapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sse"
)

// events streams the states of an export until it has ended, each with its revision as id.
// A client that comes back with Last-Event-ID gets what is newer; one that has had the end
// gets 204, by which browsers know not to come again. A function that ends, and a platform's
// deadline, end the stream in good order before: the client comes again.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	entry, err := a.read(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	last, err := lastSeen(r)
	if err != nil {
		return err
	}
	if last == entry.Revision && entry.Value.State.Ended() {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if last > entry.Revision {
		last = 0 // of a bucket that is no more
	}
	ctx, cancel := context.WithCancel(r.Context())
	states := a.watch(ctx, entry.Key)
	defer func() {
		cancel()
		for range states { // the watch ends before the answer does
		}
	}()
	s := stream{flush: httpapi.BeginStream(w), out: sse.NewWriter(w), last: last}
	err = s.relay(ctx, states, a.cfg.Heartbeat)
	if err != nil && !errors.Is(r.Context().Err(), context.DeadlineExceeded) { // the platform's, after which the client comes again
		return fmt.Errorf("%w: %w", httpapi.ErrStreamBegun, err)
	}
	return nil
}

// lastSeen is the revision that the client has got to.
func lastSeen(r *http.Request) (uint64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		return 0, nil
	}
	last, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, httpapi.Invalid(httpapi.FieldError{Field: "Last-Event-ID", Message: fmt.Sprintf("%q is no id of an event", text)})
	}
	return last, nil
}

// state is what a watch yields.
type state struct {
	entry queue.Entry[jobs.Export]
	err   error
}

// watch yields an export's states until ctx ends.
func (a *API) watch(ctx context.Context, id string) <-chan state {
	states := make(chan state)
	go func() {
		defer close(states)
		for entry, err := range a.exports.Watch(ctx, id) {
			select {
			case states <- state{entry, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return states
}

// stream is the client's side of an event stream.
type stream struct {
	out   *sse.Writer
	flush httpapi.ErrorFlusher
	last  uint64 // revision that the client has
}

// relay passes states on until the last, or until the function ends.
func (s *stream) relay(ctx context.Context, states <-chan state, heartbeat time.Duration) error {
	if err := s.beat(); err != nil { // the headers go out at once
		return err
	}
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-faas.Leaving(ctx):
			return nil
		case next, ok := <-states:
			if !ok {
				return ctx.Err()
			}
			if next.err != nil {
				return next.err
			}
			if more, err := s.send(next.entry); err != nil || !more {
				return err
			}
			ticker.Reset(heartbeat)
		case <-ticker.C:
			if err := s.beat(); err != nil {
				return err
			}
		}
	}
}

// beat writes a comment. No blank line follows it: some clients take that for an event.
func (s *stream) beat() error { return errors.Join(s.out.Comment(""), s.flush.FlushError()) }

// send writes a state that the client has not got, and reports whether more may follow.
func (s *stream) send(entry queue.Entry[jobs.Export]) (more bool, err error) {
	if entry.Deleted {
		return false, errors.New("the export's record was deleted")
	}
	if entry.Revision <= s.last {
		return true, nil
	}
	data, err := json.Marshal(entry.Value)
	if err != nil {
		return false, fmt.Errorf("encode export: %w", err)
	}
	s.last = entry.Revision
	event := sse.Event{Type: kind(entry.Value.State), ID: strconv.FormatUint(entry.Revision, 10), Data: data}
	return !entry.Value.State.Ended(), errors.Join(s.out.Event(event), s.flush.FlushError())
}

// kind is the type of event that tells of a state.
func kind(state jobs.State) string {
	switch state {
	case jobs.StateDone, jobs.StatePartial:
		return "done"
	case jobs.StateFailed, jobs.StateCancelled:
		return "failed"
	}
	return "progress"
}
