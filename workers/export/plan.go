package export

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
)

// planChunk is how many windows a piece of a plan holds: two ids of up to 256 bytes each.
const planChunk = 1000

// plan decides which windows there are, and keeps that before any of them is published, so
// that whoever takes over has the same ones.
func (r *run) plan(ctx context.Context) error {
	if r.export.CancelledAt != nil {
		return errCancelled
	}
	if r.export.Range != nil {
		return nil
	}
	spec := r.export.Spec
	if kind := r.w.cfg.Sink.Kind(); spec.Sink.Type != "" && spec.Sink.Type != kind {
		return &finalError{fmt.Sprintf("sink.type is %q, but this deployment writes to %q", spec.Sink.Type, kind)}
	}
	span, previous, err := r.span(ctx)
	if err != nil {
		return err
	}
	if spec.Partition.Days(*span) > jobs.MaxPartitionDays {
		return &finalError{fmt.Sprintf("a range of more than %d days cannot be partitioned by day", jobs.MaxPartitionDays-2)}
	}
	total, name := len(spec.Characters)*len(spec.Users), ""
	switch {
	case !span.From.Before(span.To):
		total = 0
	case spec.Characters.Is(jobs.CharactersMine) || spec.Users.Is(jobs.UsersDirectory):
		name = r.export.ID + "." + ulid.Make().String()
		if total, err = r.resolve(ctx, name); err != nil {
			return err
		}
	}
	return r.modify(ctx, func(e *jobs.Export) {
		if e.Range == nil {
			e.Range, e.Previous, e.Plan, e.Progress.Windows = span, previous, name, total
		}
	})
}

// span is the range that is read, and the watermark's value that it begins at.
func (r *run) span(ctx context.Context) (*jobs.Range, *jobs.Mark, error) {
	spec := r.export.Spec
	if spec.Watermark == nil {
		return &jobs.Range{From: spec.From, To: spec.To}, nil, nil
	}
	to := r.w.cfg.Now().Add(-time.Duration(spec.Watermark.Lag)).UTC().Truncate(time.Millisecond)
	entry, err := r.w.marks.Get(ctx, spec.Watermark.Name)
	switch {
	case errors.Is(err, queue.ErrNotFound) && spec.From.IsZero():
		return nil, nil, &finalError{fmt.Sprintf("from is missing: the watermark %q has no value yet", spec.Watermark.Name)}
	case errors.Is(err, queue.ErrNotFound):
		return &jobs.Range{From: spec.From, To: to}, nil, nil
	case err != nil:
		return nil, nil, err
	}
	return &jobs.Range{From: entry.Value.To.Add(-time.Duration(spec.Watermark.Lookback)), To: to}, &entry.Value, nil
}

// resolve keeps the windows of a spec that does not name them, and returns their number.
func (r *run) resolve(ctx context.Context, name string) (total int, err error) {
	characters := r.export.Spec.Characters
	if characters.Is(jobs.CharactersMine) {
		if characters, err = r.w.mine(ctx); err != nil {
			return 0, r.unresolved("the key's characters", err)
		}
	}
	var chunk jobs.PlanChunk
	keep := func() error {
		key := name + "." + strconv.Itoa((total-1)/planChunk)
		_, err := r.w.plans.Put(ctx, key, chunk)
		chunk.Pairs = nil
		return err
	}
	for _, character := range characters {
		users, err := r.users(ctx, character)
		if err != nil {
			return 0, err
		}
		for _, user := range users {
			chunk.Pairs = append(chunk.Pairs, [2]string{character, user})
			if total++; total > jobs.MaxExportWindows {
				return 0, &finalError{fmt.Sprintf("more than %d histories", jobs.MaxExportWindows)}
			}
			if len(chunk.Pairs) == planChunk {
				if err := keep(); err != nil {
					return 0, err
				}
			}
		}
	}
	if len(chunk.Pairs) > 0 {
		err = keep()
	}
	return total, err
}

// users are those whose histories with a character are read.
func (r *run) users(ctx context.Context, character string) ([]string, error) {
	if !r.export.Spec.Users.Is(jobs.UsersDirectory) {
		return r.export.Spec.Users, nil
	}
	var users []string
	for entry, err := range r.w.users.Users(ctx, jobs.Bot(jobs.BotCharacter, character)) {
		if err != nil {
			return nil, err
		}
		users = append(users, entry.UserID)
	}
	slices.Sort(users)
	return users, nil
}

// mine lists the characters of the upstream key.
func (w *Worker) mine(ctx context.Context) ([]string, error) {
	if w.cfg.Characters == nil {
		return nil, &finalError{`characters "my" cannot be listed by this deployment`}
	}
	var ids []string
	err := w.patiently(ctx, func() error {
		ids = nil
		for number := 1; ; number++ {
			page, err := ask(ctx, w, &effort{}, func(ctx context.Context) (xingchen.Page[xingchen.Character], error) {
				return w.cfg.Characters.SearchCharacters(ctx, xingchen.CharacterQuery{
					Where: xingchen.CharacterWhere{Scope: "my"}, PageNum: number, PageSize: pageSize,
				})
			})
			if err != nil {
				return err
			}
			for _, character := range page.List {
				ids = append(ids, character.CharacterID)
			}
			if len(page.List) == 0 || number*pageSize >= page.Total {
				return nil
			}
		}
	}, func() error { return nil })
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// unresolved makes an error final that trying again does not help.
func (r *run) unresolved(what string, err error) error {
	if _, final := errors.AsType[*finalError](err); final || retryable(err) && !fatal(err) {
		return err
	}
	return &finalError{what + " cannot be listed: " + sign.Redact(err.Error())}
}

// windows yields the windows of a plan in their order.
func (r *run) windows(ctx context.Context) iter.Seq2[jobs.Window, error] {
	return func(yield func(jobs.Window, error) bool) {
		e := r.export
		window := jobs.Window{
			ExportID: e.ID, Round: e.Round, From: e.Range.From, To: e.Range.To, Folder: e.Folder(),
			Format: e.Spec.Format, Compression: e.Spec.Compression, Filter: e.Spec.Filter,
			Redact: e.Spec.Redact, Partition: e.Spec.Partition,
		}
		for pair, err := range r.pairs(ctx) {
			window.CharacterID, window.UserID = pair[0], pair[1]
			if !yield(window, err) || err != nil {
				return
			}
			window.Number++
		}
	}
}

// pairs yields the character and the user of each window.
func (r *run) pairs(ctx context.Context) iter.Seq2[[2]string, error] {
	return func(yield func([2]string, error) bool) {
		e := r.export
		if e.Progress.Windows == 0 {
			return
		}
		if e.Plan == "" {
			for _, character := range e.Spec.Characters {
				for _, user := range e.Spec.Users {
					if !yield([2]string{character, user}, nil) {
						return
					}
				}
			}
			return
		}
		for number := range (e.Progress.Windows + planChunk - 1) / planChunk {
			entry, err := r.w.plans.Get(ctx, e.Plan+"."+strconv.Itoa(number))
			if errors.Is(err, queue.ErrNotFound) {
				err = &finalError{"the list of windows is not kept any more; start the export anew"}
			}
			if err != nil {
				yield([2]string{}, err)
				return
			}
			for _, pair := range entry.Value.Pairs {
				if !yield(pair, nil) {
					return
				}
			}
		}
	}
}
