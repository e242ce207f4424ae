package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	"xinghe/shared/jobs"
	"xinghe/shared/redact"
	"xinghe/shared/sink"
)

// passes is how often a window is read, in part or as a whole, before it is given up for
// changing all the time.
const passes = 4

// reader reads a window, from where its last part ends. It belongs to one goroutine.
type reader struct {
	source
	parts  *parts
	from   int64 // of the window
	to     int64
	result jobs.WindowResult
	// note keeps the result, which has a new part.
	note func(context.Context, jobs.WindowResult) error
	// halt returns an error if the export does not want the window any more.
	halt func(context.Context) error

	pages int // of the next chunk
	ids   map[string]struct{}
	rows  []jobs.Row
	one   [1]jobs.Row // the row that is taken

	position
	sessions *sessions        // nil if rows are written as they come
	redactor *redact.Redactor // nil if nothing is to be redacted
	redacted map[string]int64
	unnoted  struct{ parts, plain int64 } // of which the result is not kept yet
}

func newReader(w *Worker, window jobs.Window, result jobs.WindowResult) (*reader, error) {
	p, err := newParts(w.cfg.Sink, window, w.cfg.PartBytes)
	if err != nil {
		return nil, err
	}
	result.Number, result.Round, result.Error, result.Fatal = window.Number, window.Round, "", false
	if result.Parts == nil {
		result.Parts = []jobs.Part{}
	}
	var redactor *redact.Redactor
	if window.Redact != nil {
		if redactor, err = redact.New(*window.Redact); err != nil {
			return nil, err
		}
	}
	count := &result.Window
	count.Number, count.CharacterID, count.UserID, count.From, count.To = window.Number, window.CharacterID, window.UserID, window.From, window.To
	r := &reader{
		source: source{worker: w, window: window}, parts: p, from: ceil(window.From), to: ceil(window.To), result: result, redactor: redactor, redacted: map[string]int64{},
		pages: maxPages, ids: make(map[string]struct{}, maxPages*pageSize), rows: make([]jobs.Row, 0, maxPages*pageSize),
	}
	if jobs.Dialogues(window.Format) {
		r.sessions = &sessions{}
	}
	return r, nil
}

// run brings the window to its end: all rows written, and proven.
func (r *reader) run(ctx context.Context) error {
	defer r.parts.abort()
	if err := r.present(ctx); err != nil {
		return err
	}
	for pass := 1; ; pass++ {
		counted, err := r.rest(ctx)
		if err != nil && (!torn(err) || pass == passes) {
			return err
		}
		halves := err != nil
		if !halves {
			proven, err := r.settle(ctx, counted)
			if err != nil || proven {
				return err
			}
		}
		if pass == passes {
			c := r.result.Window
			return fmt.Errorf("%w: total %d before, %d after, %d rows read", errMoved, c.TotalBefore, c.TotalAfter, r.taken)
		}
		if err := r.fallBack(ctx, halves || pass > 1); err != nil {
			return err
		}
	}
}

// present keeps the parts up to the first that is not there any more.
func (r *reader) present(ctx context.Context) error {
	for i, part := range r.result.Parts {
		there, err := r.there(ctx, part.Path, part.Bytes)
		if err == nil && there && part.Index != nil {
			there, err = r.there(ctx, part.Index.Path, part.Index.Bytes)
		}
		if err != nil {
			return err
		}
		if !there {
			return r.keep(ctx, i)
		}
	}
	r.rewind()
	return nil
}

// there reports whether a file is, with its size.
func (r *reader) there(ctx context.Context, path string, size int64) (bool, error) {
	info, err := r.parts.sink.Stat(ctx, path)
	if errors.Is(err, sink.ErrNotFound) {
		return false, nil
	}
	return err == nil && info.Size == size, err
}

// rewind goes back to the end of the last part.
func (r *reader) rewind() {
	r.parts.abort()
	r.position = position{}
	clear(r.redacted)
	if r.sessions != nil {
		r.sessions.reset()
	}
	for _, part := range r.result.Parts {
		r.taken += part.Rows
		r.last = part.Last
	}
	if n := len(r.result.Ends); n > 0 {
		end := r.result.Ends[n-1]
		r.at, r.before, r.filtered, r.doubles = end.At, end.Before, end.Filtered, end.Duplicates
		r.last, r.left = cmp.Or(end.Last, r.last), leftOutOf(end.LeftOut)
		r.taken += end.Filtered
		maps.Copy(r.redacted, end.Redacted)
	}
}

// keep forgets the parts from number n on, and removes them; and those before it up to one
// from the end of which reading can go on.
func (r *reader) keep(ctx context.Context, n int) error {
	for n > 0 && r.result.Ends[n-1].Open {
		n--
	}
	dropped := r.result.Parts[n:]
	r.result.Parts, r.result.Ends = slices.Clip(r.result.Parts[:n]), slices.Clip(r.result.Ends[:n])
	r.rewind()
	if len(dropped) == 0 {
		return nil
	}
	if err := r.noted(ctx); err != nil {
		return err
	}
	for _, part := range dropped {
		if err := r.parts.sink.Delete(ctx, part.Path); err != nil {
			return err
		}
		if part.Index == nil {
			continue
		}
		if err := r.parts.sink.Delete(ctx, part.Index.Path); err != nil {
			return err
		}
	}
	return nil
}

// rest reads what is not read yet. counted is upstream's count of the whole window, if that
// was asked for already, else -1.
func (r *reader) rest(ctx context.Context) (counted int64, err error) {
	anchor := max(r.from, r.at)
	for {
		if err := r.halt(ctx); err != nil {
			return -1, err
		}
		c, err := r.chunk(ctx, anchor)
		if err != nil {
			return -1, err
		}
		r.doubles += c.doubles
		if anchor == r.from && r.taken == 0 {
			r.result.Window.TotalBefore = c.total
			if !c.ended {
				if err := r.noted(ctx); err != nil { // so that it is known how much there is to read
					return -1, err
				}
			}
		}
		for _, row := range c.rows {
			if err := r.take(ctx, row); err != nil {
				return -1, err
			}
		}
		if c.ended {
			if r.sessions != nil {
				if err := r.expire(ctx, r.to); err != nil {
					return -1, err
				}
			}
			if anchor == r.from {
				return int64(len(c.rows)), nil
			}
			return -1, nil
		}
		anchor = c.until
	}
}

// chunk reads the rows from anchor on, and proves them. The smaller a chunk, the less can
// change while it is read.
func (r *reader) chunk(ctx context.Context, anchor int64) (*chunk, error) {
	for try := 1; ; try++ {
		clear(r.ids)
		c := &chunk{from: anchor, to: r.to, rows: r.rows[:0], ids: r.ids}
		err := c.read(ctx, &r.source, r.pages)
		if err == nil {
			err = c.prove(ctx, &r.source)
		}
		r.rows = c.rows
		if err == nil {
			r.pages = min(r.pages*2, maxPages)
			return c, nil
		}
		if !errors.Is(err, errMoved) || try == chunkTries {
			return nil, err
		}
		r.pages = max(r.pages/2, 1)
	}
}

// settle compares upstream's totals with the rows, and ends the window if they agree.
func (r *reader) settle(ctx context.Context, counted int64) (proven bool, err error) {
	c := &r.result.Window
	for try := 0; ; try++ {
		if counted < 0 {
			if counted, err = r.count(ctx, r.from, r.to); err != nil {
				return false, err
			}
		}
		c.TotalAfter = counted
		if counted == r.taken && c.TotalBefore == r.taken {
			return true, r.end(ctx)
		}
		if try == countTries {
			return false, nil
		}
		if counted == r.taken {
			c.TotalBefore = counted // it has changed since, or was wrong; it must stay what it is
		}
		counted = -1
	}
}

// end closes the last part and notes the window as done.
func (r *reader) end(ctx context.Context) error {
	if r.parts.open() {
		if err := r.close(r.position, false); err != nil {
			return err
		}
	}
	r.result.Done = true
	r.sum()
	r.result.Window.Filtered, r.result.Window.LeftOut, r.result.Duplicates = r.filtered, r.left.counts(), r.doubles
	return r.note(ctx, r.result)
}

// fallBack finds the first part up to whose end upstream counts something else than was
// read, and drops it and those behind it; or all of them, if that has not helped.
func (r *reader) fallBack(ctx context.Context, all bool) error {
	r.result.Window.TotalBefore = r.result.Window.TotalAfter
	if all {
		return r.keep(ctx, 0)
	}
	var failed error
	first := sort.Search(len(r.result.Ends), func(i int) bool {
		if failed != nil {
			return true
		}
		end := r.result.Ends[i]
		count, err := r.count(ctx, r.from, end.At)
		failed = err
		return count != end.Before
	})
	if failed != nil {
		return failed
	}
	// A row that came late may be of the very millisecond that the part before ends with.
	return r.keep(ctx, max(first-1, 0))
}
