package userdata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// finder goes through all there is, first for what leads to the user's data, then for the
// data itself: in the order in which it can be erased, what leads to others last.
type finder struct {
	*Holder
	matcher
	visit func(item) error
	busy  []string

	streams map[string]jetstream.Stream
	// exports are all, by their folders; windows are the user's, by number.
	exports map[string]*export
	// pictures are the folders of pictures, and whether a state of them is kept.
	pictures map[string]picture
	// chunks are the keys of ratings among which are some of the user's messages.
	chunks map[string]bool
	left   int // visited with FateLeft
	// keys are those of the pictures of the user's messages.
	keys map[string]bool
}

// look visits all that is held.
func (f *finder) look(ctx context.Context) error {
	streams, err := f.Holder.streams(ctx)
	if err != nil {
		return err
	}
	f.streams, f.chunks = map[string]jetstream.Stream{}, map[string]bool{}
	for _, stream := range streams {
		f.streams[stream.CachedInfo().Config.Name] = stream
	}
	for _, step := range []func(context.Context) error{
		f.lookAtExports, f.lookAtFiles, f.links,
		f.ratings, f.dead, f.jobs, f.schedules, f.directory, f.others,
		f.pictureFiles, f.exportFiles, f.exportBuckets, f.states, f.events,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// read calls each with what a stream holds, if it is there.
func (f *finder) read(ctx context.Context, stream, filter string, each func(message) error) error {
	s, ok := f.streams[stream]
	if !ok {
		return nil
	}
	for msg, err := range f.messages(ctx, s, filter) {
		if err != nil {
			return err
		}
		if msg.filler() {
			continue
		}
		if err := each(msg); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) bucket(ctx context.Context, bucket, filter string, each func(message) error) error {
	return f.read(ctx, bucketStream+bucket, subjectKV+bucket+"."+filter, each)
}

// found visits a message.
func (f *finder) found(m message, kind string, fate Fate, excerpt []byte) error {
	i := item{
		place: "stream " + m.stream, kind: kind, name: m.subject, fate: fate, bytes: int64(len(m.data)),
		stream: m.stream, sequence: m.sequence, excerpt: excerpt,
	}
	if strings.HasPrefix(m.stream, bucketStream) {
		i.place, i.name = "bucket "+m.bucket(), m.key()
	}
	if fate == FateLeft {
		f.left++
	}
	return f.visit(i)
}

// links reads what tells the ids of the user's messages.
func (f *finder) links(ctx context.Context) error {
	err := f.read(ctx, queue.StreamEvents, ">", func(m message) error {
		f.names(m.data, false)
		return nil
	})
	if err != nil {
		return err
	}
	return f.bucket(ctx, jobs.BucketImages, ">", func(m message) error {
		f.names(m.data, false)
		return nil
	})
}

// events visits what is told of the user.
func (f *finder) events(ctx context.Context) error {
	return f.read(ctx, queue.StreamEvents, ">", func(m message) error {
		kind := strings.TrimPrefix(m.subject, jobs.EventPrefix)
		if !f.tells(kind, m.data) {
			return nil
		}
		return f.found(m, kind, FateRemoved, f.eventExcerpt(kind, m.data))
	})
}

// tells reports whether an event is about the user.
func (f *finder) tells(kind string, data []byte) bool {
	switch kind {
	case jobs.EventWebhookReceived:
		return f.names(data, true) // what stands in it is the sender's choice
	case jobs.EventRatingApplied, jobs.EventRatingFailed:
		return f.linked(data)
	}
	return f.names(data, false)
}

// dead visits jobs that failed for good.
func (f *finder) dead(ctx context.Context) error {
	return f.read(ctx, queue.StreamDead, ">", func(m message) error {
		subject := strings.TrimPrefix(m.subject, queue.PrefixDead)
		kind, event := strings.CutPrefix(subject, jobs.EventPrefix)
		hit := event && f.tells(kind, m.data) || !event && f.names(m.data, strings.HasPrefix(subject, jobs.SubjectDelivery))
		for _, values := range m.header {
			hit = hit || f.user.Bot == "" && f.says(strings.Join(values, " "))
		}
		if !hit {
			return nil
		}
		return f.found(m, kindOfJob(subject), FateRemoved, f.eventExcerpt(kind, m.data))
	})
}

// jobs notes what waits or runs.
func (f *finder) jobs(ctx context.Context) error {
	err := f.read(ctx, queue.StreamJobs, ">", func(m message) error {
		rating, isRating := strings.CutPrefix(m.subject, jobs.SubjectRating)
		isRating = isRating && f.chunks[ratingChunk(rating)]
		if isRating || f.names(m.data, strings.HasPrefix(m.subject, jobs.SubjectDelivery)) {
			f.busy = append(f.busy, "job "+m.subject)
		}
		return nil
	})
	for _, folder := range slices.Sorted(maps.Keys(f.exports)) {
		if e := f.exports[folder]; e.known && !e.record.State.Ended() && f.covers(e) {
			f.busy = append(f.busy, fmt.Sprintf("export %s (%s)", e.record.ID, e.record.State))
		}
	}
	return err
}

// covers reports whether an export reads what the user has said, or may.
func (f *finder) covers(e *export) bool {
	spec := e.record.Spec
	all := spec.Characters.Is(jobs.CharactersMine)
	if !all && !slices.ContainsFunc(spec.Characters, f.character) {
		return false
	}
	if spec.Users.Is(jobs.UsersDirectory) {
		return e.record.Range == nil || len(e.windows) > 0
	}
	return slices.Contains(spec.Users, f.user.ID)
}

// schedules visits those of exports. One that names the user is the operator's to change:
// without its users it may be of no use. What it has published last is removed when it has
// been taken.
func (f *finder) schedules(ctx context.Context) error {
	taken := uint64(0)
	if stream, ok := f.streams[queue.StreamSchedules]; ok {
		consumer, err := stream.Consumer(ctx, scheduleConsumer)
		if err == nil {
			taken = consumer.CachedInfo().AckFloor.Stream
		} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	return f.read(ctx, queue.StreamSchedules, ">", func(m message) error {
		due := strings.HasPrefix(m.subject, queue.PrefixDue)
		switch {
		case !f.names(m.data, false):
			return nil
		case due && m.sequence > taken:
			f.busy = append(f.busy, "schedule "+strings.TrimPrefix(m.subject, queue.PrefixDue)+" (due)")
			return nil
		case due:
			return f.found(m, "schedule that was due", FateRemoved, nil)
		}
		return f.found(m, "schedule", FateLeft, nil)
	})
}

// scheduleConsumer is the name of the consumer that takes what is due.
const scheduleConsumer = "schedule"

// kindOfJob is the part of a subject that tells what a job does.
func kindOfJob(subject string) string {
	if kind, ok := strings.CutPrefix(subject, jobs.EventPrefix); ok {
		return "failed job: " + kind
	}
	kind, _, _ := strings.Cut(strings.TrimPrefix(subject, jobs.SubjectPrefix), ".")
	return "failed job: " + kind
}

// notes say what cannot be told for sure.
func (f *finder) notes() []string {
	var notes []string
	if f.left > 0 {
		notes = append(notes, fmt.Sprintf("%d places name the user that only an operator can change: schedules by \"xinghe schedule\", what is unknown by hand", f.left))
	}
	nobodys := 0
	for folder, p := range f.pictures {
		if !p.known && !f.mine(path.Base(folder)) {
			nobodys += len(p.files)
		}
	}
	if nobodys > 0 {
		notes = append(notes, fmt.Sprintf("%d files of pictures are older than the record of whose they are; see %s", nobodys, jobs.ImageFolder))
	}
	return notes
}
