package userdata

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/budget"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/schedule"
	"xinghe/shared/usage"
)

const (
	// fillerKey is where filling goes: a key, or the end of a subject, that nobody reads.
	fillerKey = "erase-filling"
	// fillerSize is that of one piece, and blockSize more than the largest file in which a
	// server keeps messages, in bytes.
	fillerSize = 512 << 10
	blockSize  = 9 << 20
)

// impersonal are buckets that nothing of a user is ever written to, and that others watch.
var impersonal = []string{
	budget.Bucket, jobs.BucketLive, jobs.BucketMarks, jobs.BucketWebhooks, jobs.BucketDeliveries, schedule.Bucket, usage.Bucket,
}

func (m message) filler() bool { return strings.HasSuffix(m.subject, "."+fillerKey) }

// overwrite makes the server let go of what was removed or replaced earlier, by whoever: such
// a message keeps its place on the disk until the file that it is in is rewritten. The server
// does that by itself when more than half of a file that is full is of no use. So all that is
// needed is to fill the file up, and to remove the filling. A file that holds more than half
// of others' data is left as it is.
//
// The stream of events is left out: whoever follows it would get the filling. Nothing in it
// is ever replaced.
func (f *finder) overwrite(ctx context.Context) (notes []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(f.streams)) {
		prefix := subjectKV + strings.TrimPrefix(name, bucketStream) + "."
		switch {
		case slices.Contains(impersonal, strings.TrimPrefix(name, bucketStream)):
			continue
		case name == queue.StreamDead:
			prefix = queue.PrefixDead
		case name == queue.StreamJobs:
			prefix = jobs.SubjectPrefix
		case name == queue.StreamSchedules:
			prefix = queue.PrefixSchedules
		case !strings.HasPrefix(name, bucketStream):
			continue
		}
		if err := f.fill(ctx, f.streams[name], prefix+fillerKey); err != nil {
			if ctx.Err() != nil {
				return notes, err
			}
			notes = append(notes, fmt.Sprintf("stream %s: what was removed before is not overwritten on the disk: %v", name, err))
		}
	}
	return notes, nil
}

// fill writes as much as a file holds, and removes it.
func (f *finder) fill(ctx context.Context, stream jetstream.Stream, subject string) error {
	size := int64(fillerSize)
	if limit := f.cfg.Conn.MaxPayload(); limit > 0 {
		size = min(size, limit/2)
	}
	filling := make([]byte, size)
	_, _ = rand.Read(filling) // never fails
	var err error
	for written := int64(0); written < f.filling && err == nil; written += size {
		// To readers of a bucket it is the mark of a deletion, and no value.
		_, err = f.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: filling, Header: nats.Header{"KV-Operation": {"DEL"}}})
	}
	return errors.Join(err, stream.Purge(ctx, jetstream.WithPurgeSubject(subject)))
}
