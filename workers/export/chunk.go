package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
)

const (
	// pageSize is the largest that upstream gives. It follows Xingchen HTTP API, history query.
	pageSize = 50
	// maxPages of a chunk. A chunk costs one request beside its pages, and is read again as a
	// whole if it cannot be proven.
	maxPages = 20
	// chunkBytes is about what a chunk may hold before it is closed, and hardBytes what it may
	// hold if all of it is of one millisecond.
	chunkBytes = 4 << 20
	hardBytes  = 32 << 20
	// pageTries is how often a page is asked for that does not fit the others, countTries how
	// often for a count that does not fit the rows, and chunkTries how often a chunk is read.
	pageTries  = 4
	countTries = 3
	chunkTries = 15
)

var (
	// errMoved says that upstream contradicts itself about which rows there are.
	errMoved = errors.New("the history changed while it was read")
	errTies  = fmt.Errorf("more than %d MB of messages in one millisecond", hardBytes>>20)
)

// chunk is what is read of a window at a time: the rows from one millisecond on.
type chunk struct {
	from, to int64 // to is the window's end
	total    int64 // rows in [from, to), as upstream says
	rows     []jobs.Row
	ids      map[string]struct{}
	bytes    int
	ended    bool  // there is nothing behind
	until    int64 // where the rows end that are proven
	doubles  int64 // rows that a page that fits brought twice
}

// read takes pages until the chunk is large enough or the window is at its end.
func (c *chunk) read(ctx context.Context, s *source, pages int) error {
	for number := 1; ; number++ {
		if err := c.page(ctx, s, number); err != nil {
			return err
		}
		if int64(number)*pageSize >= c.total {
			c.ended, c.until = true, c.to
			break
		}
		first, last := c.span()
		if c.bytes >= hardBytes && first == last {
			return errTies
		}
		if (number >= pages || c.bytes >= chunkBytes) && first < last {
			c.until = last // of that millisecond there may be more
			break
		}
	}
	slices.SortFunc(c.rows, func(a, b jobs.Row) int {
		return cmp.Or(cmp.Compare(a.GmtCreate, b.GmtCreate), cmp.Compare(a.MessageID, b.MessageID))
	})
	if !c.ended {
		cut, _ := slices.BinarySearchFunc(c.rows, c.until, func(row jobs.Row, at int64) int { return cmp.Compare(row.GmtCreate, at) })
		c.rows = c.rows[:cut]
	}
	return nil
}

// span is the time of the first and the last row.
func (c *chunk) span() (first, last int64) {
	first, last = c.rows[0].GmtCreate, c.rows[0].GmtCreate
	for _, row := range c.rows {
		first, last = min(first, row.GmtCreate), max(last, row.GmtCreate)
	}
	return first, last
}

// page takes a page in. One that does not fit what is known, as it lacks or repeats a row
// or has another total, is asked for again.
func (c *chunk) page(ctx context.Context, s *source, number int) error {
	for range pageTries {
		page, err := s.page(ctx, c.from, c.to, number, pageSize)
		if err != nil {
			return err
		}
		if number == 1 {
			c.total = int64(page.Total)
		}
		doubles := c.add(s, page.List)
		if int64(page.Total) == c.total && int64(len(c.rows)) == min(int64(number)*pageSize, c.total) {
			c.doubles += doubles
			return nil
		}
	}
	return fmt.Errorf("%w: page %d from %s on does not fit those before it", errMoved, number, time.UnixMilli(c.from).UTC().Format(time.RFC3339Nano))
}

// add keeps the rows that are new, and counts the others.
func (c *chunk) add(s *source, list []xingchen.HistoryMessage) (doubles int64) {
	for _, message := range list {
		if _, known := c.ids[message.MessageID]; known {
			doubles++
			continue
		}
		c.ids[message.MessageID] = struct{}{}
		row := s.row(message)
		c.rows = append(c.rows, row)
		c.bytes += len(row.Content) + len(row.MessageID) + len(row.ChatID) + len(row.SessionID) + 200
	}
	return doubles
}

// prove asks upstream how many rows there are where the chunk's lie.
func (c *chunk) prove(ctx context.Context, s *source) error {
	var count int64
	for range countTries {
		var err error
		if count, err = s.count(ctx, c.from, c.until); err != nil {
			return err
		}
		if count == int64(len(c.rows)) {
			return nil
		}
	}
	return fmt.Errorf("%w: %d rows from %s to %s, of which upstream counts %d", errMoved, len(c.rows),
		time.UnixMilli(c.from).UTC().Format(time.RFC3339Nano), time.UnixMilli(c.until).UTC().Format(time.RFC3339Nano), count)
}

// source asks upstream for a window's messages. Ranges are in Unix milliseconds and exclude
// their end.
type source struct {
	worker *Worker
	window jobs.Window
	effort
}

func (s *source) page(ctx context.Context, from, to int64, number, size int) (xingchen.Page[xingchen.HistoryMessage], error) {
	query := xingchen.HistoryQuery{
		Where: xingchen.HistoryWhere{
			CharacterID: s.window.CharacterID, BizUserID: s.window.UserID,
			StartTime: xingchen.Millis(from), EndTime: xingchen.Millis(to) - 1, // upstream includes both ends
		},
		OrderBy: []string{"gmtCreate asc"}, PageNum: number, PageSize: size,
	}
	return ask(ctx, s.worker, &s.effort, func(ctx context.Context) (xingchen.Page[xingchen.HistoryMessage], error) {
		return s.worker.cfg.Histories.Histories(ctx, query)
	})
}

func (s *source) count(ctx context.Context, from, to int64) (int64, error) {
	if from >= to {
		return 0, nil
	}
	page, err := s.page(ctx, from, to, 1, 1)
	return int64(page.Total), err
}

func (s *source) row(m xingchen.HistoryMessage) jobs.Row {
	return jobs.Row{
		MessageID: m.MessageID, ChatID: m.ChatID, SessionID: m.SessionID,
		CharacterID: s.window.CharacterID, UserID: s.window.UserID,
		MessageType: m.MessageType, Content: m.Content, Rating: m.Rating,
		GmtCreate: int64(m.GmtCreate), Time: m.GmtCreate.Time().Format("2006-01-02T15:04:05.000Z"),
	}
}

// ceil is the first whole millisecond that is not before t.
func ceil(t time.Time) int64 {
	millis := t.UnixMilli()
	if time.UnixMilli(millis).Before(t) {
		millis++
	}
	return millis
}
