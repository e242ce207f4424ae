package export

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"xinghe/shared/budget"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

// pageSize is the largest that upstream gives. It follows Xingchen HTTP API, history query.
const pageSize = 50

// errMoved says that a window's rows changed while they were read.
var errMoved = errors.New("the history changed while it was read")

// window reads one window and notes its result, which the run waits for. What may succeed
// later is tried again; what cannot, or has been tried too often, is noted as failed.
func (w *Worker) window(ctx context.Context, job *queue.Delivery) error {
	var window jobs.Window
	if err := json.Unmarshal(job.Data, &window); err != nil {
		return queue.Discard(fmt.Errorf("decode window: %w", err))
	}
	key := resultKey(window)
	if _, err := w.results.Get(ctx, key); !errors.Is(err, queue.ErrNotFound) {
		return err // done already, or not to be known
	}
	result, err := jobs.WindowResult{}, errors.New("its workers died")
	if job.Attempt <= w.cfg.Attempts {
		result, err = w.read(ctx, window)
	}
	if err != nil && ctx.Err() != nil {
		return err // the worker is going down; another one goes on
	}
	if err != nil && job.Attempt < w.cfg.Attempts && retryable(err) {
		if refusal, ok := errors.AsType[*xingchen.Error](err); ok {
			return queue.RetryAfter(err, refusal.RetryAfter)
		}
		return err
	}
	result.Number = window.Number
	if err != nil {
		result = jobs.WindowResult{Number: window.Number, Error: sign.Redact(err.Error())}
	}
	_, err = w.results.Put(ctx, key, result)
	return err
}

// retryable reports whether trying again may help: not where upstream refuses the request
// itself.
func retryable(err error) bool {
	if _, ok := errors.AsType[*upstream.FieldError](err); ok {
		return false
	}
	refusal, ok := errors.AsType[*xingchen.Error](err)
	return !ok || refusal.Retryable()
}

// read writes a window's rows to parts and proves their number. Rows come oldest first;
// those of one millisecond are brought in the order of their ids, and those that come
// twice, because rows before them vanished or appeared while pages were read, are dropped.
func (w *Worker) read(ctx context.Context, window jobs.Window) (jobs.WindowResult, error) {
	r := reader{
		histories: w.cfg.Histories, budget: w.cfg.Budget, window: window, seen: make(map[string]bool),
		parts: newParts(w.root, window, w.cfg.PartBytes),
		result: jobs.WindowResult{Parts: []jobs.Part{}, Window: jobs.WindowCount{
			CharacterID: window.CharacterID, UserID: window.UserID, From: window.From, To: window.To,
		}},
	}
	defer r.parts.abandon()
	for page := 1; ; page++ {
		more, err := r.page(ctx, page)
		if err != nil {
			return r.result, err
		}
		if !more {
			break
		}
	}
	if err := r.settle(); err != nil {
		return r.result, err
	}
	if err := r.prove(ctx); err != nil {
		return r.result, err
	}
	if err := r.parts.finish(); err != nil {
		return r.result, err
	}
	r.result.Parts = append(r.result.Parts, r.parts.done...)
	return r.result, nil
}

// reader is one reading of a window.
type reader struct {
	histories Histories
	budget    *budget.Budget
	window    jobs.Window
	parts     *parts
	seen      map[string]bool
	pending   []jobs.Row // of one millisecond, not yet written
	result    jobs.WindowResult
}

// page takes in one page and reports whether more may follow.
func (r *reader) page(ctx context.Context, number int) (more bool, err error) {
	page, err := r.query(ctx, number, pageSize)
	if err != nil {
		return false, err
	}
	if number == 1 {
		r.result.Window.TotalBefore = int64(page.Total)
	}
	for _, message := range page.List {
		if r.seen[message.MessageID] {
			r.result.Duplicates++
			continue
		}
		r.seen[message.MessageID] = true
		if err := r.take(r.row(message)); err != nil {
			return false, err
		}
	}
	return len(page.List) >= pageSize, nil
}

func (r *reader) query(ctx context.Context, page, size int) (xingchen.Page[xingchen.HistoryMessage], error) {
	waited, err := r.budget.Wait(ctx, budget.Bulk)
	r.result.ThrottledMs += waited.Milliseconds()
	if err != nil {
		return xingchen.Page[xingchen.HistoryMessage]{}, err
	}
	r.result.Requests++
	answer, err := r.histories.Histories(ctx, xingchen.HistoryQuery{
		Where: xingchen.HistoryWhere{
			CharacterID: r.window.CharacterID, BizUserID: r.window.UserID,
			// Upstream includes both ends, our ranges exclude the second.
			StartTime: ceil(r.window.From), EndTime: ceil(r.window.To) - 1,
		},
		OrderBy: []string{"gmtCreate asc"}, PageNum: page, PageSize: size,
	})
	if refusal, ok := errors.AsType[*xingchen.Error](err); ok && refusal.Kind() == upstream.KindThrottled {
		r.budget.Penalize(refusal.RetryAfter)
	}
	return answer, err
}

// ceil is the first whole millisecond that is not before t.
func ceil(t time.Time) xingchen.Millis {
	millis := xingchen.MillisOf(t)
	if millis.Time().Before(t) {
		millis++
	}
	return millis
}

func (r *reader) row(m xingchen.HistoryMessage) jobs.Row {
	return jobs.Row{
		MessageID: m.MessageID, ChatID: m.ChatID, SessionID: m.SessionID,
		CharacterID: r.window.CharacterID, UserID: r.window.UserID,
		MessageType: m.MessageType, Content: m.Content, Rating: m.Rating,
		GmtCreate: int64(m.GmtCreate), Time: m.GmtCreate.Time().Format("2006-01-02T15:04:05.000Z"),
	}
}

// take holds a row back until all of its millisecond are there.
func (r *reader) take(row jobs.Row) error {
	if len(r.pending) > 0 {
		switch last := r.pending[0].GmtCreate; {
		case row.GmtCreate < last:
			return fmt.Errorf("%w: message %s stands after later ones", errMoved, row.MessageID)
		case row.GmtCreate > last:
			if err := r.settle(); err != nil {
				return err
			}
		}
	}
	r.pending = append(r.pending, row)
	return nil
}

// settle writes the rows that were held back.
func (r *reader) settle() error {
	slices.SortFunc(r.pending, func(a, b jobs.Row) int { return cmp.Compare(a.MessageID, b.MessageID) })
	for _, row := range r.pending {
		if err := r.parts.write(row); err != nil {
			return err
		}
		r.result.Window.Rows++
	}
	r.pending = r.pending[:0]
	return nil
}

// prove asks for the total once more: what was read must be what upstream says there is.
func (r *reader) prove(ctx context.Context) error {
	page, err := r.query(ctx, 1, 1)
	if err != nil {
		return err
	}
	count := &r.result.Window
	count.TotalAfter = int64(page.Total)
	if count.TotalBefore != count.TotalAfter || count.Rows != count.TotalAfter {
		return fmt.Errorf("%w: total %d before, %d after, %d rows read", errMoved, count.TotalBefore, count.TotalAfter, count.Rows)
	}
	return nil
}
