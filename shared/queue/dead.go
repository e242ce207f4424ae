package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The headers of dead letters, and the one by which a job keeps its id when it is retried.
const (
	headerJobID     = headerOwn + "Job-Id"
	headerReason    = headerOwn + "Dead-Reason"
	headerAttempts  = headerOwn + "Dead-Attempts"
	headerHistory   = headerOwn + "Dead-History"
	headerStream    = headerOwn + "Dead-Stream"
	headerConsumer  = headerOwn + "Dead-Consumer"
	headerSequence  = headerOwn + "Dead-Sequence"
	headerPublished = headerOwn + "Dead-Published"
	headerWasUnique = headerOwn + "Dead-Unique"
)

// maxHistory is how many bytes of a dead letter's headers its history may take.
const maxHistory = reserve / 2

// DeadLetter is a job that failed for good.
type DeadLetter struct {
	Sequence  uint64            `json:"sequence"` // its name: in the stream of dead letters
	Time      time.Time         `json:"time"`     // when it was given up
	Subject   string            `json:"subject"`
	ID        string            `json:"id"`
	Reason    string            `json:"reason"` // redacted, at most 500 bytes
	Attempts  int               `json:"attempts"`
	History   []Failure         `json:"history"` // the last 20 failures at most, oldest first
	Consumer  string            `json:"consumer"`
	Published time.Time         `json:"published"`
	Unique    bool              `json:"unique,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Data      []byte            `json:"data"`
}

// copyDead stores a copy of the job among the dead letters; a second copy of the same
// delivery of the same job within 24 hours is recognised.
func (q *Queue) copyDead(ctx context.Context, d *Delivery) error {
	history, err := historyHeader(d.past.Failures)
	if err != nil {
		return fmt.Errorf("encode history: %w", err)
	}
	original := d.msg.Headers()
	header := nats.Header{}
	for name, values := range original {
		if !strings.HasPrefix(name, headerNATS) && !strings.HasPrefix(name, headerOwn) {
			header[name] = values
		}
	}
	header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s:%s:%d:%d", d.Stream, d.consumer, d.Sequence, d.Published.UnixNano()))
	header.Set(headerJobID, d.ID)
	header.Set(headerReason, d.past.Dead)
	header.Set(headerAttempts, strconv.Itoa(d.Attempt))
	header.Set(headerHistory, history)
	header.Set(headerStream, d.Stream)
	header.Set(headerConsumer, d.consumer)
	header.Set(headerSequence, strconv.FormatUint(d.Sequence, 10))
	header.Set(headerPublished, d.Published.UTC().Format(time.RFC3339Nano))
	if original.Get(headerUnique) == "0" {
		header.Set(headerWasUnique, "true")
	}
	return q.publish(ctx, StreamDead, &nats.Msg{Subject: PrefixDead + d.Subject, Data: d.Data, Header: header})
}

// historyHeader leaves the oldest failures out if they would not fit.
func historyHeader(failures []Failure) (string, error) {
	for {
		history, err := json.Marshal(failures)
		if err != nil || len(history) <= maxHistory {
			return string(history), err
		}
		failures = failures[1:]
	}
}

// DeadLetters yields the dead letters of jobs whose subjects match filter (wildcards
// allowed, "" for all), oldest first.
func (q *Queue) DeadLetters(ctx context.Context, filter string) iter.Seq2[DeadLetter, error] {
	return q.DeadLettersAfter(ctx, filter, 0)
}

// DeadLettersAfter is [Queue.DeadLetters] from behind the given sequence on: the next page.
func (q *Queue) DeadLettersAfter(ctx context.Context, filter string, sequence uint64) iter.Seq2[DeadLetter, error] {
	if filter == "" {
		filter = ">"
	}
	return func(yield func(DeadLetter, error) bool) {
		for next := sequence + 1; ; {
			msg, err := q.deadMessage(ctx, next, jetstream.WithGetMsgSubject(PrefixDead+filter))
			if errors.Is(err, ErrNotFound) {
				return
			}
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("list dead letters: %w", err))
				return
			}
			if !yield(parseDead(msg), nil) {
				return
			}
			next = msg.Sequence + 1
		}
	}
}

// DeadLetter returns the dead letter with the given sequence, or [ErrNotFound].
func (q *Queue) DeadLetter(ctx context.Context, sequence uint64) (DeadLetter, error) {
	msg, err := q.deadMessage(ctx, sequence)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("get dead letter %d: %w", sequence, err)
	}
	return parseDead(msg), nil
}

// RetryDead publishes the job of a dead letter again under its subject, as if it were new
// but with its old id, and removes the dead letter. Errors: [ErrNotFound]; [ErrExists] if
// the job was unique and its subject is taken; those of [Queue.Publish]. Called again after
// a failure in between it does not double the job within Config.DedupeWindow. An event that
// one consumer could not handle is published to all of them again.
func (q *Queue) RetryDead(ctx context.Context, sequence uint64) error {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	letter, err := q.DeadLetter(ctx, sequence)
	if err != nil {
		return fmt.Errorf("retry: %w", err)
	}
	stream, err := streamOf(letter.Subject)
	if err != nil {
		return fmt.Errorf("retry dead letter %d: %w", sequence, err)
	}
	header := nats.Header{}
	for name, value := range letter.Headers {
		header.Set(name, value)
	}
	header.Set(jetstream.MsgIDHeader, fmt.Sprintf("dead:%d:%d", sequence, letter.Time.UnixNano()))
	header.Set(jetstream.ExpectedStreamHeader, stream)
	header.Set(headerJobID, letter.ID)
	if letter.Unique {
		header.Set(headerUnique, "0")
	}
	if err := q.publish(ctx, stream, &nats.Msg{Subject: letter.Subject, Data: letter.Data, Header: header}); err != nil {
		return fmt.Errorf("retry dead letter %d: %w", sequence, err)
	}
	if err := q.DropDead(ctx, sequence); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("retry dead letter %d: published, but: %w", sequence, err)
	}
	return nil
}

// DropDead removes a dead letter for good, or returns [ErrNotFound].
func (q *Queue) DropDead(ctx context.Context, sequence uint64) error {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	tries := 0
	err := q.onDead(ctx, func(ctx context.Context, stream jetstream.Stream) error {
		tries++
		err := stream.DeleteMsg(ctx, sequence)
		if err == nil {
			return nil
		}
		// The server's refusal does not tell a letter that is gone from other troubles.
		if _, missing := stream.GetMsg(ctx, sequence); !errors.Is(missing, jetstream.ErrMsgNotFound) {
			return err
		}
		if tries > 1 {
			return nil // the first try may have dropped it
		}
		return ErrNotFound
	})
	if err != nil {
		return fmt.Errorf("drop dead letter %d: %w", sequence, err)
	}
	return nil
}

// onDead does something with the stream of dead letters.
func (q *Queue) onDead(ctx context.Context, do func(context.Context, jetstream.Stream) error) error {
	return q.on(ctx, StreamDead, do)
}

// on does something with a stream.
func (q *Queue) on(ctx context.Context, name string, do func(context.Context, jetstream.Stream) error) error {
	return q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return &MissingStreamError{Stream: name}
		case err != nil:
			return err
		}
		return do(ctx, stream)
	})
}

func (q *Queue) deadMessage(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	var msg *jetstream.RawStreamMsg
	err := q.onDead(ctx, func(ctx context.Context, stream jetstream.Stream) (err error) {
		msg, err = stream.GetMsg(ctx, sequence, opts...)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return ErrNotFound
		}
		return err
	})
	return msg, err
}

// parseDead is lenient: an operator must be able to see and drop whatever lies there.
func parseDead(msg *jetstream.RawStreamMsg) DeadLetter {
	letter := DeadLetter{
		Sequence: msg.Sequence, Time: msg.Time, Subject: strings.TrimPrefix(msg.Subject, PrefixDead),
		ID: msg.Header.Get(headerJobID), Reason: msg.Header.Get(headerReason), Consumer: msg.Header.Get(headerConsumer),
		Unique: msg.Header.Get(headerWasUnique) == "true", Data: msg.Data,
	}
	letter.Attempts, _ = strconv.Atoi(msg.Header.Get(headerAttempts))
	letter.Published, _ = time.Parse(time.RFC3339Nano, msg.Header.Get(headerPublished))
	_ = json.Unmarshal([]byte(msg.Header.Get(headerHistory)), &letter.History)
	for name := range msg.Header {
		if !strings.HasPrefix(name, headerNATS) && !strings.HasPrefix(name, headerOwn) {
			if letter.Headers == nil {
				letter.Headers = map[string]string{}
			}
			letter.Headers[name] = msg.Header.Get(name)
		}
	}
	return letter
}
