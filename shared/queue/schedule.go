package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// The stream of schedules. It is one of its own: a stream that has schedules can neither
// refuse what comes new, nor be a source of others.
const (
	StreamSchedules = "XINGHE_SCHEDULES"
	PrefixSchedules = "xinghe.schedules."
	// PrefixDue begins the subject of what a schedule publishes; the rest is its name.
	PrefixDue = PrefixSchedules + "due."

	prefixSet = PrefixSchedules + "set."
)

// HeaderNext is the header of a delivery from a schedule that says, in RFC 3339, when the
// schedule is due again. If the server publishes twice for one time, both say the same.
const HeaderNext = jetstream.ScheduleNextHeader

// ErrUnsupported means that the server is too old for what is asked of it.
var ErrUnsupported = errors.New("not supported by this NATS server")

// Schedule is data that the server publishes by itself at the times of a cron line.
type Schedule struct {
	// Name may be all that may follow a prefix in a subject.
	Name string
	// Cron has six fields, from seconds to weekdays.
	Cron string
	// TimeZone is a name of the IANA time zone database that the server knows.
	TimeZone string
	// Data becomes that of the deliveries, which are consumed below [PrefixDue].
	Data []byte
	// SetAt is when the schedule was stored; it is only read.
	SetAt time.Time
}

// EnsureSchedules creates the stream of schedules, which holds each of them and what it has
// published last, or leaves an existing one as it is. It is apart from [Queue.Ensure] as it
// asks for a server that schedules messages (by cron lines with time zones; 2.15 does); with an
// older one the error is [ErrUnsupported].
func (q *Queue) EnsureSchedules(ctx context.Context) error {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	want := jetstream.StreamConfig{
		Name: StreamSchedules, Description: "schedules, and what each has published last", Subjects: []string{PrefixSchedules + ">"},
		MaxMsgsPerSubject: 1, AllowMsgSchedules: true, Duplicates: q.cfg.DedupeWindow,
	}
	supported := false
	err := q.patiently(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		if err := q.ensureStream(ctx, js, want); err != nil {
			return err
		}
		stream, err := js.Stream(ctx, StreamSchedules)
		if err == nil {
			supported = stream.CachedInfo().Config.AllowMsgSchedules
		}
		return err
	})
	if err == nil && !supported {
		err = ErrUnsupported
	}
	if err != nil {
		return fmt.Errorf("ensure stream %s: %w", StreamSchedules, err)
	}
	return nil
}

// SetSchedule stores a schedule, in the place of one that has its name. Errors: [ErrInvalid],
// also for a line or a zone that the server does not take; [ErrTooLarge]; [ErrUnavailable],
// of which [*MissingStreamError] is one.
func (q *Queue) SetSchedule(ctx context.Context, s Schedule) error {
	err := checkSubject(prefixSet+s.Name, prefixSet)
	if strings.ContainsAny(s.Cron+s.TimeZone, "\r\n") {
		err = errors.Join(err, fmt.Errorf("%w: line or zone of several lines", ErrInvalid))
	}
	if err == nil {
		err = scheduleRefusal(q.publish(ctx, StreamSchedules, &nats.Msg{Subject: prefixSet + s.Name, Data: s.Data, Header: nats.Header{
			jetstream.ScheduleHeader:         {s.Cron},
			jetstream.ScheduleTimeZoneHeader: {s.TimeZone},
			jetstream.ScheduleTargetHeader:   {PrefixDue + s.Name},
			jetstream.ExpectedStreamHeader:   {StreamSchedules},
			jetstream.MsgIDHeader:            {nuid.Next()},
		}}))
	}
	if err != nil {
		return fmt.Errorf("set schedule %s: %w", s.Name, err)
	}
	return nil
}

// codeTimeZoneInvalid is what a server answers that does not know a zone.
const codeTimeZoneInvalid = 10223

// scheduleRefusal tells what the server has against a schedule from other troubles.
func scheduleRefusal(err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeSchedulePatternInvalid, codeTimeZoneInvalid:
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case jetstream.JSErrCodeMessageSchedulesDisabled:
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

// Schedules returns all schedules, sorted by their names.
func (q *Queue) Schedules(ctx context.Context) ([]Schedule, error) {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	var all []Schedule
	err := q.on(ctx, StreamSchedules, func(ctx context.Context, stream jetstream.Stream) error {
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefixSet+">"))
		if err != nil {
			return err
		}
		all = make([]Schedule, 0, len(info.State.Subjects))
		for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
			msg, err := stream.GetLastMsgForSubject(ctx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue // removed meanwhile
			}
			if err != nil {
				return err
			}
			all = append(all, Schedule{
				Name: strings.TrimPrefix(subject, prefixSet), Cron: msg.Header.Get(jetstream.ScheduleHeader),
				TimeZone: msg.Header.Get(jetstream.ScheduleTimeZoneHeader), Data: msg.Data, SetAt: msg.Time,
			})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	return all, nil
}

// RemoveSchedule ends a schedule, and takes back what it has published last if nobody has
// consumed that yet. The error is [ErrNotFound] if there is none of the name.
func (q *Queue) RemoveSchedule(ctx context.Context, name string) error {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	err := checkSubject(prefixSet+name, prefixSet)
	if err == nil {
		tries := 0
		err = q.on(ctx, StreamSchedules, func(ctx context.Context, stream jetstream.Stream) error {
			tries++
			_, err := stream.GetLastMsgForSubject(ctx, prefixSet+name)
			if errors.Is(err, jetstream.ErrMsgNotFound) && tries == 1 { // later the first try may have removed it
				return ErrNotFound
			}
			if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
				return err
			}
			if err := stream.Purge(ctx, jetstream.WithPurgeSubject(prefixSet+name)); err != nil {
				return err
			}
			return stream.Purge(ctx, jetstream.WithPurgeSubject(PrefixDue+name))
		})
	}
	if err != nil {
		return fmt.Errorf("remove schedule %s: %w", name, err)
	}
	return nil
}
