// Package usage tells how much was chatted: requests, failures, tokens and throttled time of
// each key and bot, per day. The usage worker counts chat events, each exactly once; here
// the counts are kept and read.
//
//	all, err := usage.Open(q)
//	rows, err := all.Read(ctx, usage.Day(time.Now()), usage.Day(time.Now()))
//	for _, row := range usage.Sum(rows, usage.ByBot) { … }
//
// Days are those of UTC. The counts are as good as the events: a chat whose event was lost
// is not in them, and tokens are what upstream told, see [jobs.ChatUsage]. No users are in
// them, and no texts.
package usage

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Bucket keeps counts under "day.<day>.<key>.<bot>", and under "reader" how far events are read.
const Bucket = "xinghe_usage"

// Retention is how long counts are kept after the last change, longer than a year.
const Retention = 400 * 24 * time.Hour

// Other stands for bots whose names are longer than [jobs.MaxDirectoryID].
const Other = "other"

// Counts add up what chats have used.
type Counts struct {
	// Requests are all chats, Failures those that ended in chat.failed, also since the
	// caller left.
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	// InputTokens and OutputTokens are what upstream told, Incomplete the chats of which it
	// told nothing or not all.
	InputTokens  int64 `json:"inputTokens"`
	OutputTokens int64 `json:"outputTokens"`
	Incomplete   int64 `json:"incomplete"`
	// ThrottledMs is how long chats have waited for a budget or their user's turn.
	ThrottledMs int64 `json:"throttledMs"`
}

func (c Counts) plus(other Counts) Counts {
	return Counts{
		Requests: c.Requests + other.Requests, Failures: c.Failures + other.Failures,
		InputTokens: c.InputTokens + other.InputTokens, OutputTokens: c.OutputTokens + other.OutputTokens,
		Incomplete: c.Incomplete + other.Incomplete, ThrottledMs: c.ThrottledMs + other.ThrottledMs,
	}
}

// CountsOf are the counts of one chat event: of [jobs.EventChatCompleted] or
// [jobs.EventChatFailed], in which alone usage stands.
func CountsOf(kind string, chat jobs.ChatEvent) Counts {
	c := Counts{
		Requests: 1, InputTokens: chat.Usage.InputTokens, OutputTokens: chat.Usage.OutputTokens, ThrottledMs: chat.ThrottledMs,
	}
	if kind == jobs.EventChatFailed {
		c.Failures = 1
	}
	if chat.Usage.Incomplete {
		c.Incomplete = 1
	}
	return c
}

// Row is what was used on a day with a key by a bot. A sum has only some of the three.
type Row struct {
	Day string `json:"day,omitempty"` // as 2006-01-02, of UTC
	Key string `json:"key,omitempty"` // name of the key; empty if the event named none
	Bot string `json:"bot,omitempty"`
	Counts
}

// Day writes the day of a time, in UTC.
func Day(at time.Time) string { return at.UTC().Format(time.DateOnly) }

// cell is what is kept of a row.
type cell struct {
	Row
	// Last is the event that was counted last.
	Last Position `json:"last"`
}

// Position is a place in the stream of events.
type Position struct {
	// Stream is when the stream was made: sequences begin anew with it.
	Stream   time.Time `json:"stream"`
	Sequence uint64    `json:"sequence"`
}

// passed reports whether what is at p has been counted when the last thing counted is at
// last.
func (p Position) passed(last Position) bool {
	return p.Stream.Equal(last.Stream) && p.Sequence <= last.Sequence
}

// Event is a chat event to be counted.
type Event struct {
	At       time.Time // decides on the day
	Key, Bot string
	Counts   Counts
	Position Position
}

func (e Event) row() Row {
	bot := e.Bot
	if len(bot) > jobs.MaxDirectoryID {
		bot = Other
	}
	return Row{Day: Day(e.At), Key: e.Key, Bot: bot}
}

// storeKey is where a row is kept.
func (r Row) storeKey() string {
	part := func(text string) string { return "=" + base64.RawURLEncoding.EncodeToString([]byte(text)) } // never empty
	return "day." + r.Day + "." + part(r.Key) + "." + part(r.Bot)
}

// Usage reads and writes counts. It is safe for concurrent use.
type Usage struct {
	cells  *queue.Store[cell]
	reader *queue.Store[Reader]
}

// Open returns the counts. It does not touch the network; where nothing was counted yet there
// are none.
func Open(q *queue.Queue) (*Usage, error) {
	u := &Usage{}
	var faults [2]error
	u.cells, faults[0] = queue.OpenStore[cell](q, Bucket, queue.StoreConfig{TTL: Retention})
	u.reader, faults[1] = queue.OpenStore[Reader](q, Bucket, queue.StoreConfig{TTL: Retention})
	if err := errors.Join(faults[:]...); err != nil {
		return nil, fmt.Errorf("open usage: %w", err)
	}
	return u, nil
}

// Read returns the rows of the days from first to last, both included, sorted by day, key
// and bot. It asks for each day by itself. Errors: [queue.ErrInvalid] for what are no days,
// [queue.ErrUnavailable].
func (u *Usage) Read(ctx context.Context, first, last string) ([]Row, error) {
	day, err := time.Parse(time.DateOnly, first)
	if err == nil {
		_, err = time.Parse(time.DateOnly, last)
	}
	if err != nil {
		return nil, fmt.Errorf("read usage: %w: %w", queue.ErrInvalid, err)
	}
	var rows []Row
	for ; Day(day) <= last; day = day.AddDate(0, 0, 1) {
		for entry, err := range u.cells.List(ctx, "day."+Day(day)+".>") {
			if err != nil {
				return nil, fmt.Errorf("read usage: %w", err)
			}
			rows = append(rows, entry.Value.Row)
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows, nil
}

func compareRows(a, b Row) int {
	return cmp.Or(strings.Compare(a.Day, b.Day), strings.Compare(a.Key, b.Key), strings.Compare(a.Bot, b.Bot))
}

// Dimension is what a sum tells apart.
type Dimension func(Row) Row

// The dimensions.
var (
	ByDay Dimension = func(r Row) Row { return Row{Day: r.Day} }
	ByKey Dimension = func(r Row) Row { return Row{Key: r.Key} }
	ByBot Dimension = func(r Row) Row { return Row{Bot: r.Bot} }
	// InAll tells nothing apart: there is one sum at most.
	InAll Dimension = func(Row) Row { return Row{} }
)

// Sum adds rows up by a dimension, sorted by it.
func Sum(rows []Row, by Dimension) []Row {
	sums := map[Row]Counts{}
	for _, row := range rows {
		group := by(row)
		sums[group] = sums[group].plus(row.Counts)
	}
	sorted := make([]Row, 0, len(sums))
	for row, counts := range sums {
		row.Counts = counts
		sorted = append(sorted, row)
	}
	slices.SortFunc(sorted, compareRows)
	return sorted
}
