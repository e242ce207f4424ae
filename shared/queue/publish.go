package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"xinghe/shared/trace"
)

const (
	// reserve is what the headers of a dead letter may take beside the job itself.
	reserve = 32 << 10
	// maxID is how many bytes an id may have.
	maxID = 1024
	// inFlight is how many jobs PublishAll has under way at once.
	inFlight = 512

	headerNATS   = "Nats-"
	headerOwn    = "Xinghe-"
	headerUnique = jetstream.ExpectedLastSubjSeqHeader
)

// Job is what is published.
type Job struct {
	// Subject begins with [PrefixJobs] and has no wildcards.
	Subject string
	// ID names the job, and makes a second publication within Config.DedupeWindow a no-op,
	// unless the job is Unique. Without one a fresh id is made. At most 1 KiB.
	ID string
	// Data is the payload: with the headers up to the server's limit (1 MiB by default)
	// less 32 KiB.
	Data []byte
	// Headers travel with the job. Names that begin with Nats- or Xinghe- are refused.
	Headers map[string]string
	// Unique refuses the job while another one waits or runs under the same subject. As soon
	// as that is done or dead the subject is free, for a job with the same ID as well: what
	// was done a moment ago can be asked for again.
	Unique bool
}

// Publish returns when JetStream has stored the job, or knows its id from before. It waits
// for a lost connection and repeats what got no answer, until ctx or Config.Timeout ends.
// Errors: [ErrExists] for a unique subject that is taken, [ErrInvalid], [ErrTooLarge],
// [ErrUnavailable], of which [*MissingStreamError] is one.
func (q *Queue) Publish(ctx context.Context, job Job) error {
	msg, err := job.message(PrefixJobs, StreamJobs)
	if err == nil {
		carry(ctx, msg)
		err = q.publish(ctx, StreamJobs, msg)
	}
	if err != nil {
		return fmt.Errorf("publish job %s: %w", job.Subject, err)
	}
	return nil
}

// PublishEvent returns when JetStream has stored the event. The id (that of the CloudEvent)
// makes a second publication within Config.DedupeWindow a no-op. Errors as for
// [Queue.Publish]. Callers to whom events are best effort bound ctx.
func (q *Queue) PublishEvent(ctx context.Context, subject, id string, data []byte) error {
	event := Job{Subject: subject, ID: id, Data: data}
	msg, err := event.message(PrefixEvents, StreamEvents)
	if err == nil {
		carry(ctx, msg)
		err = q.publish(ctx, StreamEvents, msg)
	}
	if err != nil {
		return fmt.Errorf("publish event %s: %w", subject, err)
	}
	return nil
}

// BatchError tells which jobs of [Queue.PublishAll] were not stored.
type BatchError struct {
	Total  int
	Failed map[int]error // by index
}

func (e *BatchError) Error() string {
	for i := range e.Total {
		if err := e.Failed[i]; err != nil {
			return fmt.Sprintf("publish %d jobs: %d failed, the first is number %d: %v", e.Total, len(e.Failed), i, err)
		}
	}
	return fmt.Sprintf("publish %d jobs", e.Total)
}

// Unwrap lets errors.Is look at each failure.
func (e *BatchError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, err := range e.Failed {
		errs = append(errs, err)
	}
	return errs
}

// PublishAll publishes many jobs at the speed of the connection, in their order (but one
// that has to be repeated may come after up to 511 that follow it). It returns nil when all
// are stored, else a [*BatchError]. Bound ctx by what the batch may take: Config.Timeout
// applies to each group of 512.
func (q *Queue) PublishAll(ctx context.Context, jobs []Job) error {
	failed := map[int]error{}
	msgs := make([]*nats.Msg, len(jobs))
	for i, job := range jobs {
		var err error
		if msgs[i], err = job.message(PrefixJobs, StreamJobs); err != nil {
			failed[i] = err
			continue
		}
		carry(ctx, msgs[i])
	}
	for start := 0; start < len(msgs); start += inFlight {
		q.publishGroup(ctx, msgs[start:min(start+inFlight, len(msgs))], func(i int, err error) { failed[start+i] = err })
	}
	if len(failed) > 0 {
		return &BatchError{Total: len(jobs), Failed: failed}
	}
	return nil
}

func (q *Queue) publishGroup(ctx context.Context, msgs []*nats.Msg, failed func(int, error)) {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	futures := make([]jetstream.PubAckFuture, len(msgs))
	if js, err := q.js(ctx); err == nil {
		for i, msg := range msgs {
			if msg != nil && q.fits(js, msg) == nil {
				futures[i], _ = js.PublishMsgAsync(msg) // what fails here is published again below
			}
		}
	}
	for i, msg := range msgs {
		if msg == nil {
			continue
		}
		err := answer(ctx, futures[i])
		if errors.Is(err, errUnknown) {
			// Once more by itself, with all the patience and the diagnosis; the id prevents a
			// double. The reply subject belongs to the asynchronous publisher.
			err = q.publish(ctx, StreamJobs, &nats.Msg{Subject: msg.Subject, Data: msg.Data, Header: msg.Header})
		}
		if err != nil {
			failed(i, err)
		}
	}
}

// answer returns nil if the message is stored, why it was refused, or errUnknown.
func answer(ctx context.Context, future jetstream.PubAckFuture) error {
	if future == nil {
		return errUnknown
	}
	timer := time.NewTimer(try)
	defer timer.Stop()
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		if err = refusal(err); !lost(err) {
			return unavailable(err)
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return errUnknown
}

func (j Job) message(prefix, stream string) (*nats.Msg, error) {
	if err := checkSubject(j.Subject, prefix); err != nil {
		return nil, err
	}
	header := make(nats.Header, len(j.Headers)+3)
	for name, value := range j.Headers {
		if strings.HasPrefix(name, headerNATS) || strings.HasPrefix(name, headerOwn) || name == "" ||
			strings.ContainsAny(name, ": \r\n") || strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("header %q: %w", name, ErrInvalid)
		}
		header.Set(name, value)
	}
	id := j.ID
	if id == "" {
		id = nuid.Next()
	}
	if len(id) > maxID || strings.ContainsAny(id, "\r\n") {
		return nil, fmt.Errorf("id: %w: not one line of at most %d bytes", ErrInvalid, maxID)
	}
	header.Set(jetstream.ExpectedStreamHeader, stream)
	if j.Unique {
		header.Set(headerUnique, "0")
		header.Set(headerJobID, id)
		id = nuid.Next() // recognises repetitions by Publish itself, and nothing else
	}
	header.Set(jetstream.MsgIDHeader, id)
	return &nats.Msg{Subject: j.Subject, Data: j.Data, Header: header}, nil
}

// carry hands the trace on that the context belongs to, unless the message has one.
func carry(ctx context.Context, msg *nats.Msg) {
	if parent := trace.From(ctx); parent != "" && msg.Header.Get(trace.Header) == "" {
		msg.Header.Set(trace.Header, string(parent))
	}
}

func checkSubject(subject, prefix string) error {
	rest, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return fmt.Errorf("subject %q: %w: does not begin with %s", subject, ErrInvalid, prefix)
	}
	for token := range strings.SplitSeq(rest, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			return fmt.Errorf("subject %q: %w: empty part, wildcard or white space", subject, ErrInvalid)
		}
	}
	return nil
}

// publish stores a message that carries an id, repeating it for as long as nothing is known
// about its fate and ctx allows.
func (q *Queue) publish(ctx context.Context, stream string, msg *nats.Msg) error {
	_, err := q.store(ctx, stream, msg)
	return err
}

// store is publish for those who want to know the sequence.
func (q *Queue) store(ctx context.Context, stream string, msg *nats.Msg) (sequence uint64, err error) {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	tries := 0
	err = q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		if err := q.fits(js, msg); err != nil {
			return err
		}
		tries++
		ack, err := js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0)) // patience is ours
		if err == nil {
			sequence = ack.Sequence
			return nil
		}
		if errors.Is(err, jetstream.ErrNoStreamResponse) {
			// Either nobody has made the stream, or its leader is being elected.
			if _, err := js.Stream(ctx, stream); errors.Is(err, jetstream.ErrStreamNotFound) {
				return &MissingStreamError{Stream: stream}
			}
		}
		err = refusal(err)
		if tries > 1 && errors.Is(err, ErrExists) {
			sequence, err = ours(ctx, js, stream, msg)
		}
		return err
	})
	return sequence, err
}

// ours tells whether a subject is taken by the message itself, stored by an earlier try whose
// answer was lost: a stream with one replica looks at its expectations before the ids.
func ours(ctx context.Context, js jetstream.JetStream, stream string, msg *nats.Msg) (sequence uint64, err error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	last, err := s.GetLastMsgForSubject(ctx, msg.Subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, errUnknown // gone meanwhile: the next try is recognised by its id, or stored
	}
	if err != nil {
		return 0, err
	}
	if last.Header.Get(jetstream.MsgIDHeader) != msg.Header.Get(jetstream.MsgIDHeader) {
		return 0, errTaken
	}
	return last.Sequence, nil
}

// errUnknown means that a message may or may not be stored.
var errUnknown = errors.New("outcome unknown")

// refusal translates what the server says of a message that it does not store.
func refusal(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return errTaken
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

// errTaken means that a subject holds something else than was expected of it.
var errTaken = fmt.Errorf("subject is taken: %w", ErrExists)

// fits keeps room for the headers that a dead letter adds.
func (q *Queue) fits(js jetstream.JetStream, msg *nats.Msg) error {
	limit := js.Conn().MaxPayload()
	if limit <= 0 || !strings.HasPrefix(msg.Subject, PrefixJobs) && !strings.HasPrefix(msg.Subject, PrefixEvents) &&
		!strings.HasPrefix(msg.Subject, PrefixSchedules) {
		return nil
	}
	limit -= reserve
	size := int64(len(msg.Data))
	for name, values := range msg.Header {
		size += int64(len(name) + len(values[0]) + len(": \r\n"))
	}
	if size > limit {
		return fmt.Errorf("%w: %d bytes with its headers, at most %d", ErrTooLarge, size, limit)
	}
	return nil
}
