package userdata

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"xinghe/shared/budget"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// The kinds of keys of the bucket of ratings, see [jobs.BucketRatings].
const (
	ratingRows = "rows."
	ratingLast = "last."
)

// ratingChunk is the task that a key of ratings, or the end of a subject, belongs to.
func ratingChunk(name string) string {
	parts := strings.Split(strings.TrimPrefix(name, ratingRows), ".")
	return strings.Join(parts[max(len(parts)-2, 0):], ".")
}

// ratings visits those of the user's messages.
func (f *finder) ratings(ctx context.Context) error {
	last := make(map[string]bool, len(f.ids))
	for id := range f.ids {
		last[jobs.RatingLastKey(id)] = true
	}
	return f.bucket(ctx, jobs.BucketRatings, ">", func(m message) error {
		switch key := m.key(); {
		case last[key]:
			return f.found(m, "latest rating", FateRemoved, m.data)
		case strings.HasPrefix(key, ratingRows) && f.linked(m.data):
			f.chunks[ratingChunk(key)] = true
			return f.found(m, "ratings", FateRewritten, f.ratingExcerpt(m.data))
		}
		return nil
	})
}

// blankRatings takes the user's rows out of a chunk, whose other rows keep their places.
func (m *matcher) blankRatings(data []byte) ([]byte, error) {
	var chunk jobs.RatingChunk
	if err := json.Unmarshal(data, &chunk); err != nil {
		return nil, err
	}
	for i, row := range chunk.Rows {
		if m.matches(row.MessageID) {
			chunk.Rows[i] = jobs.RatingRow{Row: row.Row, SupersededBy: row.SupersededBy}
		}
	}
	return encode(chunk)
}

func (m *matcher) matches(messageID string) bool { return m.ids[messageID] }

// unpacked is the body of an answer that package idempotency keeps; nil if it is none.
func unpacked(data []byte) []byte {
	var record struct{ Answer struct{ Packed []byte } }
	if json.Unmarshal(data, &record) != nil || len(record.Answer.Packed) == 0 {
		return nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(record.Answer.Packed))
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		return nil
	}
	return body
}

// directory visits the user's entries, and the marks that forgotten ones have left.
func (f *finder) directory(ctx context.Context) error {
	filter, ok := jobs.DirectoryUserFilter(f.user.ID)
	if f.user.Bot != "" {
		filter, ok = jobs.DirectoryKey(f.user.Bot, f.user.ID)
	}
	if !ok {
		return nil // such an id cannot stand in it
	}
	return f.bucket(ctx, jobs.BucketDirectory, filter, func(m message) error {
		return f.found(m, "entry of the directory", FateRemoved, m.data)
	})
}

// states visits those of pictures.
func (f *finder) states(ctx context.Context) error {
	return f.bucket(ctx, jobs.BucketImages, ">", func(m message) error {
		if !f.mine(m.key()) && !f.names(m.data, false) {
			return nil
		}
		return f.found(m, "state of a picture", FateRemoved, m.data)
	})
}

// mine reports whether the key of a picture is that of a message of the user's.
func (f *finder) mine(key string) bool {
	if f.keys == nil || len(f.keys) != len(f.ids) {
		f.keys = make(map[string]bool, len(f.ids))
		for id := range f.ids {
			f.keys[jobs.ImageKey(id)] = true
		}
	}
	return f.keys[key]
}

// known are the streams that have a step of their own, or in which no user can stand.
var known = []string{
	queue.StreamEvents, queue.StreamJobs, queue.StreamDead, queue.StreamSchedules,
	bucketStream + jobs.BucketRatings, bucketStream + jobs.BucketDirectory,
	bucketStream + jobs.BucketImages, bucketStream + jobs.BucketExports, bucketStream + jobs.BucketWindows,
	bucketStream + jobs.BucketPlans, bucketStream + jobs.BucketMarks, bucketStream + jobs.BucketLive, bucketStream + budget.Bucket,
}

// others visits the rest: answers that are kept for requests which come again, in whatever
// bucket, records of failed attempts, and what names the user where nobody has said what to do.
func (f *finder) others(ctx context.Context) error {
	for name := range f.streams {
		if slices.Contains(known, name) {
			continue
		}
		err := f.read(ctx, name, ">", func(m message) error {
			body := unpacked(m.data)
			switch {
			case body != nil && (f.names(body, false) || f.linked(body)):
				return f.found(m, "answer of a request", FateRemoved, nil)
			case name == bucketStream+queue.BucketAttempts && f.user.Bot == "" && f.says(string(m.data)):
				return f.found(m, "record of failed attempts", FateRemoved, m.data)
			case f.names(m.data, false):
				return f.found(m, "unknown", FateLeft, m.data)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
