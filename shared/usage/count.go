package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/queue"
)

// writers is how many rows are written at once.
const writers = 16

// Reader says how far events are counted, and by whom.
type Reader struct {
	// Position up to which all events are counted.
	Position Position `json:"position"`
	// Owner is the process that counts, and Until when another one may take over. That only
	// spares them doing the same: counts are right whoever counts, and at once.
	Owner string    `json:"owner,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// Reader returns how far events are counted, and the revision for [Usage.Move]: zero before
// the first.
func (u *Usage) Reader(ctx context.Context) (Reader, uint64, error) {
	entry, err := u.reader.Get(ctx, "reader")
	if errors.Is(err, queue.ErrNotFound) {
		return Reader{}, 0, nil
	}
	return entry.Value, entry.Revision, err
}

// Move writes the reader if it still has the revision, else the error is
// [queue.ErrConflict].
func (u *Usage) Move(ctx context.Context, to Reader, revision uint64) error {
	if revision > 0 {
		_, err := u.reader.Update(ctx, "reader", to, revision)
		return err
	}
	_, err := u.reader.Create(ctx, "reader", to)
	if errors.Is(err, queue.ErrExists) {
		return fmt.Errorf("%w: %w", queue.ErrConflict, err)
	}
	return err
}

// Count counts events that follow one another in their stream, the first of them the one
// after the position of [Usage.Reader], none left out. Each is counted once, though Count be
// called again with the same after a failure, or by several processes at once: every row
// knows the last event that it has counted, and is only written if nobody else has
// meanwhile. Who counts must not go on behind them before Count has returned nil.
func (u *Usage) Count(ctx context.Context, events []Event) error {
	byRow := map[Row][]Event{}
	for _, event := range events {
		row := event.row()
		byRow[row] = append(byRow[row], event)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for row, events := range byRow {
		group.Go(func() error { return u.countRow(ctx, row, events) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("count usage: %w", err)
	}
	return nil
}

func (u *Usage) countRow(ctx context.Context, row Row, events []Event) error {
	_, err := u.cells.Upsert(ctx, row.storeKey(), func(c *cell) error {
		if c.Day == "" {
			c.Row = row
		}
		for _, event := range events {
			if event.Position.passed(c.Last) {
				continue
			}
			c.Counts, c.Last = c.plus(event.Counts), event.Position
		}
		return nil
	})
	return err
}
