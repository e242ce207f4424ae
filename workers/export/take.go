package export

import (
	"context"
	"fmt"
	"maps"

	"xinghe/shared/jobs"
)

// unnotedParts is how many parts that are not full may be written before it is kept that
// they were; half of what makes a full one is enough for that too.
const unnotedParts = 16

// position is what is taken in so far; the rows of the open part included.
type position struct {
	at       int64  // gmtCreate of the last row
	last     string // its id
	taken    int64  // rows, left out or not
	before   int64  // those that are older than at
	filtered int64
	left     leftOut // which of those filtered are, in dialogues
	doubles  int64
}

// take takes in a row that was not yet, and writes it if the filter lets it pass.
func (r *reader) take(ctx context.Context, row jobs.Row) error {
	if row.GmtCreate < r.at || row.GmtCreate == r.at && row.MessageID <= r.last {
		return nil
	}
	if r.sessions != nil {
		if err := r.expire(ctx, row.GmtCreate); err != nil {
			return err
		}
	}
	before := r.position
	if row.GmtCreate > r.at {
		r.before = r.taken
	}
	r.taken++
	r.at, r.last = row.GmtCreate, row.MessageID
	if r.sessions != nil {
		return r.gather(ctx, row, before)
	}
	if !r.window.Filter.Passes(row) {
		r.filtered++
		return nil
	}
	r.one[0] = row
	u := unit{rows: r.one[:]}
	if err := r.divide(ctx, u, before, false); err != nil {
		return err
	}
	content, err := r.redact(row.MessageID, row.Content)
	if err != nil {
		return err
	}
	u.rows[0].Content = content
	return r.write(ctx, u, false)
}

// divide ends the part at hand if a unit does not belong to its partition. Before is where
// the reader was when all that is written had been taken in, and no more; with open it was
// at no such place.
func (r *reader) divide(ctx context.Context, u unit, before position, open bool) error {
	if !r.parts.open() || r.parts.partition == r.parts.folder(u) {
		return nil
	}
	if err := r.close(before, open); err != nil {
		return err
	}
	if r.unnoted.parts < unnotedParts && r.unnoted.plain < r.parts.limit/2 {
		return nil // whoever goes on in between writes the part once more
	}
	return r.noted(ctx)
}

// redact returns a message's text without what must not leave.
func (r *reader) redact(messageID, text string) (string, error) {
	if r.redactor == nil {
		return text, nil
	}
	redacted, err := r.redactor.Text(text, r.redacted)
	if err != nil {
		return "", fmt.Errorf("message %s: %w", messageID, err)
	}
	return redacted, nil
}

// write writes a unit; open tells that more has been taken in than is written. Behind a part
// that ended so, the next one ends as soon as nothing is open, so that reading can go on
// from there.
func (r *reader) write(ctx context.Context, u unit, open bool) error {
	full, err := r.parts.write(ctx, len(r.result.Parts), u)
	if err != nil || !full && (open || !r.ledOn()) {
		return err
	}
	if err := r.close(r.position, open); err != nil {
		return err
	}
	return r.noted(ctx)
}

// close ends the part at hand, behind which reading goes on at end, unless it is open.
func (r *reader) close(end position, open bool) error {
	part, err := r.parts.finish()
	if err != nil {
		return err
	}
	behind := jobs.PartEnd{At: end.at, Before: end.before, Filtered: end.filtered, LeftOut: end.left.counts(), Duplicates: end.doubles, Open: open}
	if end.last != part.Last {
		behind.Last = end.last
	}
	if len(r.redacted) > 0 {
		behind.Redacted = maps.Clone(r.redacted)
	}
	r.result.Parts, r.result.Ends = append(r.result.Parts, part), append(r.result.Ends, behind)
	r.result.Tries = 0
	r.unnoted.parts++
	r.unnoted.plain += r.parts.plain
	return nil
}

// ledOn reports whether a dialogue reaches over the end of the last part.
func (r *reader) ledOn() bool {
	n := len(r.result.Ends)
	return n > 0 && r.result.Ends[n-1].Open
}

// noted keeps the result as it is, if reading can go on from its end.
func (r *reader) noted(ctx context.Context) error {
	if r.ledOn() {
		return nil
	}
	r.sum()
	r.unnoted.parts, r.unnoted.plain = 0, 0
	return r.note(ctx, r.result)
}

// sum moves what was counted into the result.
func (r *reader) sum() {
	r.result.Requests += r.requests
	r.result.ThrottledMs += r.throttled.Milliseconds()
	r.effort = effort{}
	c := &r.result.Window
	c.Rows, c.Filtered, c.LeftOut, c.Redacted, r.result.Duplicates = 0, 0, nil, nil, 0
	for _, part := range r.result.Parts {
		c.Rows += part.Rows
	}
	if n := len(r.result.Ends); n > 0 {
		end := r.result.Ends[n-1]
		c.Filtered, c.LeftOut, c.Redacted, r.result.Duplicates = end.Filtered, end.LeftOut, end.Redacted, end.Duplicates
	}
}
