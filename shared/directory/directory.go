// Package directory lists the users that have talked to a bot. Upstream has no such list;
// this one is gathered by the directory worker from chat events, in a key-value bucket.
//
//	users, err := directory.Open(q)
//	for entry, err := range users.Users(ctx, "character:c39797a3") { … }
//
// It is best effort. A chat whose event was lost leaves no trace, nor does a caller who
// names no user; LastSeen may be an hour behind. Who must miss nobody brings a list of
// users of their own.
package directory

import (
	"context"
	"fmt"
	"iter"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Directory reads and writes the directory. It is safe for concurrent use.
type Directory struct {
	store *queue.Store[jobs.DirectoryEntry]
}

// Open returns the directory. It does not touch the network; a directory that nobody has
// written to reads as empty.
func Open(q *queue.Queue) (*Directory, error) {
	store, err := queue.OpenStore[jobs.DirectoryEntry](q, jobs.BucketDirectory, queue.StoreConfig{})
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &Directory{store: store}, nil
}

// Users yields the users of a bot, in no particular order, nor the same one each time: who
// numbers them must keep the list. An entry that cannot be read comes as an error and does
// not end the loop, any other error does: [queue.ErrInvalid] for what is no bot's name,
// [queue.ErrUnavailable].
func (d *Directory) Users(ctx context.Context, bot string) iter.Seq2[jobs.DirectoryEntry, error] {
	filter, ok := jobs.DirectoryFilter(bot)
	return d.list(ctx, filter, ok, "bot", bot)
}

// Bots yields the entries of one user, as Users does, whatever the bot.
func (d *Directory) Bots(ctx context.Context, userID string) iter.Seq2[jobs.DirectoryEntry, error] {
	filter, ok := jobs.DirectoryUserFilter(userID)
	return d.list(ctx, filter, ok, "user", userID)
}

func (d *Directory) list(ctx context.Context, filter string, ok bool, what, name string) iter.Seq2[jobs.DirectoryEntry, error] {
	return func(yield func(jobs.DirectoryEntry, error) bool) {
		if !ok {
			yield(jobs.DirectoryEntry{}, fmt.Errorf("directory: %s %q: %w", what, name, queue.ErrInvalid))
			return
		}
		for entry, err := range d.store.List(ctx, filter) {
			if !yield(entry.Value, err) {
				return
			}
		}
	}
}

// Seen notes that a user talked to a bot at a time, in whatever order it hears of that, and
// returns the entry as it stands then. LastSeen is written only if it is older by
// [jobs.DirectoryEvery]. Errors: [queue.ErrInvalid] for a pair that has no
// [jobs.DirectoryKey], [queue.ErrUnavailable].
func (d *Directory) Seen(ctx context.Context, bot, userID string, at time.Time) (jobs.DirectoryEntry, error) {
	key, ok := jobs.DirectoryKey(bot, userID)
	if !ok {
		return jobs.DirectoryEntry{}, fmt.Errorf("directory: a pair of such ids: %w", queue.ErrInvalid)
	}
	at = at.UTC()
	entry, err := d.store.Upsert(ctx, key, func(e *jobs.DirectoryEntry) error {
		if e.FirstSeen.IsZero() {
			*e = jobs.DirectoryEntry{Bot: bot, UserID: userID, FirstSeen: at, LastSeen: at}
		}
		if at.Before(e.FirstSeen) {
			e.FirstSeen = at
		}
		if at.Sub(e.LastSeen) >= jobs.DirectoryEvery {
			e.LastSeen = at
		}
		return nil
	})
	if err != nil {
		return jobs.DirectoryEntry{}, fmt.Errorf("directory: %w", err)
	}
	return entry.Value, nil
}

// Forget removes a pair; one that is not there is no error. A worker that has noted the
// pair within the last hour does not note it again before that hour is over.
func (d *Directory) Forget(ctx context.Context, bot, userID string) error {
	key, ok := jobs.DirectoryKey(bot, userID)
	if !ok {
		return nil
	}
	if err := d.store.Delete(ctx, key); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	return nil
}
