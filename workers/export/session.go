package export

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"xinghe/shared/jobs"
	"xinghe/shared/xingchen"
)

const (
	// maxDialogue is how much text a dialogue may have, in bytes, and maxMessages how many
	// messages: it is held in memory until its last one has come. maxHeld is how much text
	// all may have that are held.
	maxDialogue = 1 << 20
	maxMessages = 10_000
	maxHeld     = 8 << 20
	// sessionTries is how often upstream is asked for what it must say twice.
	sessionTries = 8
)

// errTorn says that a session has other messages than upstream said when the first of them
// was met: what became of it may be half of it.
var errTorn = fmt.Errorf("%w: a session has messages that were not counted", errMoved)

// session is one of which messages have come, but not the last one.
type session struct {
	rows  []jobs.Row
	seen  int64
	total int64 // messages that it has, within the window or not
	ends  int64 // gmtCreate of the last one
	bytes int
	long  bool
}

// add takes in a message of a session that is open.
func (s *sessions) add(d *session, row jobs.Row) {
	d.seen++
	d.bytes += len(row.Content)
	s.held += len(row.Content)
	if d.long = d.long || d.bytes > maxDialogue || s.held > maxHeld; d.long {
		s.held -= d.bytes
		d.rows, d.bytes = nil, 0
		return
	}
	d.rows = append(d.rows, row)
}

// close forgets a session.
func (s *sessions) close(id string) {
	s.held -= s.open[id].bytes
	delete(s.open, id)
}

// sessions gathers the messages of a window to whole dialogues.
type sessions struct {
	open map[string]*session
	held int               // bytes of text
	left map[string]string // why sessions are left out that need not be gathered to know it
	// safe is the last position at which no session was open, and written how many dialogues
	// had been written there.
	safe    position
	written int
	count   int // dialogues written
}

func (s *sessions) reset() {
	*s = sessions{open: map[string]*session{}, left: map[string]string{}}
}

// gather takes in a message, and writes the dialogue that it is the last of, if so.
func (r *reader) gather(ctx context.Context, row jobs.Row, before position) error {
	s := r.sessions
	if len(s.open) == 0 {
		s.safe, s.written = before, s.count
	}
	if row.SessionID == "" {
		r.leave(jobs.LeftCut, 1)
		return nil
	}
	if reason, known := s.left[row.SessionID]; known {
		r.leave(reason, 1)
		return nil
	}
	d := s.open[row.SessionID]
	if d == nil {
		var err error
		if d, err = r.meet(ctx, row); err != nil {
			return err
		}
		switch {
		case d.ends >= r.to:
			s.left[row.SessionID] = jobs.LeftCut
		case d.total > maxMessages:
			s.left[row.SessionID] = jobs.LeftLong
		}
		if reason, known := s.left[row.SessionID]; known {
			r.leave(reason, 1)
			return nil
		}
		s.open[row.SessionID] = d
	}
	s.add(d, row)
	if d.seen < d.total {
		return nil
	}
	s.close(row.SessionID)
	return r.finish(ctx, d)
}

// meet asks upstream what a session has of which the first message has come. It must say
// the same twice.
func (r *reader) meet(ctx context.Context, row jobs.Row) (*session, error) {
	var last session
	for range sessionTries {
		total, ends, err := r.session(ctx, row.SessionID, math.MaxInt64)
		if err != nil {
			return nil, err
		}
		if total > 0 && total == last.total && ends >= row.GmtCreate && ends == last.ends {
			return &last, nil
		}
		last.total, last.ends = total, ends
	}
	return nil, fmt.Errorf("%w: %s", errTorn, row.SessionID)
}

// expire leaves out the sessions that were to end before a time, and have not: those that
// began before the window. There must be as many messages as are missing.
func (r *reader) expire(ctx context.Context, now int64) error {
	for id, d := range r.sessions.open {
		if d.ends >= now {
			continue
		}
		for try := 1; ; try++ {
			older, last, err := r.session(ctx, id, r.from)
			if err != nil {
				return err
			}
			if last >= 0 && last < r.from && older+d.seen == d.total {
				break
			}
			if try == sessionTries {
				return fmt.Errorf("%w: %s", errTorn, id)
			}
		}
		r.sessions.close(id)
		r.leave(jobs.LeftCut, d.seen)
	}
	return nil
}

// finish writes the dialogue that a session is, if there is one.
func (r *reader) finish(ctx context.Context, s *session) error {
	if s.long {
		r.leave(jobs.LeftLong, s.seen)
		return nil
	}
	if !r.window.Filter.PassesDialogue(s.rows) {
		r.leave(jobs.LeftRating, s.seen)
		return nil
	}
	d := compose(r.window.Format, s.rows, func(reason string) { r.leave(reason, 1) })
	if len(d.rows) == 0 {
		return nil
	}
	u := unit{rows: d.rows}
	if err := r.divide(ctx, u, r.sessions.safe, r.sessions.written != r.sessions.count); err != nil {
		return err
	}
	for i := range d.turns {
		text, err := r.redact(d.rows[i].MessageID, d.turns[i].text)
		if err != nil {
			return err
		}
		d.turns[i].text = text
	}
	var err error
	if u.line, err = d.line(r.window.Format); err != nil {
		return err
	}
	r.sessions.count++
	return r.write(ctx, u, len(r.sessions.open) > 0)
}

// leave counts messages that are left out.
func (r *reader) leave(reason string, count int64) {
	r.filtered += count
	r.left[slices.Index(reasons[:], reason)] += count
}

// reasons why messages are left out of dialogues.
var reasons = [...]string{
	jobs.LeftRating, jobs.LeftCut, jobs.LeftLong, jobs.LeftUnanswered, jobs.LeftUnprompted, jobs.LeftEmpty, jobs.LeftType,
}

// leftOut counts messages by the reasons.
type leftOut [len(reasons)]int64

func leftOutOf(counts map[string]int64) (l leftOut) {
	for i, reason := range reasons {
		l[i] = counts[reason]
	}
	return l
}

// counts by the names of the reasons; nil if there are none.
func (l leftOut) counts() (counts map[string]int64) {
	for i, count := range l {
		if count == 0 {
			continue
		}
		if counts == nil {
			counts = map[string]int64{}
		}
		counts[reasons[i]] = count
	}
	return counts
}

// session asks for the number of a session's messages before a time, and for the time of
// the last of them. It follows Xingchen HTTP API, history query.
func (s *source) session(ctx context.Context, id string, before int64) (total, last int64, err error) {
	query := xingchen.HistoryQuery{
		Where:   xingchen.HistoryWhere{CharacterID: s.window.CharacterID, BizUserID: s.window.UserID, SessionID: id},
		OrderBy: []string{"gmtCreate desc"}, PageNum: 1, PageSize: 1,
	}
	if before < math.MaxInt64 {
		query.Where.EndTime = xingchen.Millis(before) - 1 // upstream includes it
	}
	page, err := ask(ctx, s.worker, &s.effort, func(ctx context.Context) (xingchen.Page[xingchen.HistoryMessage], error) {
		return s.worker.cfg.Histories.Histories(ctx, query)
	})
	if err != nil || len(page.List) == 0 {
		return int64(page.Total), -1, err
	}
	return int64(page.Total), int64(page.List[0].GmtCreate), nil
}

// torn reports whether an error says that sessions are not what they were said to be.
func torn(err error) bool { return errors.Is(err, errTorn) }
