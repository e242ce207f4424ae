package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// progressEvery bounds how often a run writes its progress.
const progressEvery = 200 * time.Millisecond

// run brings one export to its end: it publishes the windows that have no result yet,
// waits for the results, and writes the manifest. A run that is taken over starts anew and
// finds what is done already.
func (w *Worker) run(ctx context.Context, job *queue.Delivery) error {
	var announced jobs.Export
	if err := json.Unmarshal(job.Data, &announced); err != nil {
		return queue.Discard(fmt.Errorf("decode export: %w", err))
	}
	log := zerolog.Ctx(ctx).With().Str("export", announced.ID).Logger()
	entry, err := w.exports.Get(ctx, announced.ID)
	if errors.Is(err, queue.ErrNotFound) {
		log.Warn().Msg("export was not accepted; its job is dropped")
		return nil
	}
	if err != nil || entry.Value.State.Ended() {
		return err
	}
	export := entry.Value
	results, err := w.known(ctx, export.ID)
	if err != nil {
		return err
	}
	if err := w.plan(ctx, export, results); err != nil {
		return err
	}
	if err := w.follow(ctx, export, results); err != nil {
		return err
	}
	ended, err := w.finish(ctx, export, results)
	if err != nil {
		return err
	}
	log.Info().Str("state", string(ended.State)).Int64("rows", ended.Progress.Rows).
		Int64("dur_ms", w.cfg.Now().Sub(ended.CreatedAt).Milliseconds()).Msg("export ended")
	return nil
}

// known collects the results of windows by their numbers.
func (w *Worker) known(ctx context.Context, id string) (map[int]jobs.WindowResult, error) {
	results := make(map[int]jobs.WindowResult)
	for entry, err := range w.results.List(ctx, id+".*") {
		if err != nil {
			return nil, err
		}
		results[entry.Value.Number] = entry.Value
	}
	return results, nil
}

// plan publishes the windows that have no result. One that waits or runs already is left
// as it is.
func (w *Worker) plan(ctx context.Context, export jobs.Export, results map[int]jobs.WindowResult) error {
	var todo []queue.Job
	for _, window := range windows(export) {
		if _, done := results[window.Number]; done {
			continue
		}
		data, err := json.Marshal(window)
		if err != nil {
			return fmt.Errorf("encode window: %w", err)
		}
		key := resultKey(window)
		todo = append(todo, queue.Job{Subject: jobs.SubjectWindow + key, ID: key, Data: data, Unique: true})
	}
	err := w.cfg.Queue.PublishAll(ctx, todo)
	if batch, ok := errors.AsType[*queue.BatchError](err); ok {
		for _, failure := range batch.Failed {
			if !errors.Is(failure, queue.ErrExists) {
				return err
			}
		}
		return nil
	}
	return err
}

// windows lists the windows of an export, in the order of its spec.
func windows(export jobs.Export) []jobs.Window {
	list := make([]jobs.Window, 0, len(export.Spec.Characters)*len(export.Spec.Users))
	for _, character := range export.Spec.Characters {
		for _, user := range export.Spec.Users {
			list = append(list, jobs.Window{
				ExportID: export.ID, Number: len(list), CharacterID: character, UserID: user,
				From: export.Spec.From, To: export.Spec.To, Folder: folder(export),
			})
		}
	}
	return list
}

func folder(export jobs.Export) string { return path.Join(export.Spec.Sink.Path, export.ID) }

func resultKey(window jobs.Window) string {
	return window.ExportID + "." + strconv.Itoa(window.Number)
}

// follow waits until every window has its result, and keeps the export's progress.
func (w *Worker) follow(ctx context.Context, export jobs.Export, results map[int]jobs.WindowResult) error {
	total := len(export.Spec.Characters) * len(export.Spec.Users)
	var noted time.Time
	note := func() error {
		noted = w.cfg.Now()
		_, err := w.exports.Modify(ctx, export.ID, func(e *jobs.Export) error {
			e.State, e.Progress = jobs.StateRunning, progress(total, results, noted.Sub(export.CreatedAt))
			return nil
		})
		return err
	}
	if err := note(); err != nil || len(results) == total {
		return err
	}
	for entry, err := range w.results.Watch(ctx, export.ID+".*") {
		if err != nil {
			return err
		}
		if entry.Deleted {
			continue
		}
		results[entry.Value.Number] = entry.Value
		if len(results) == total {
			return nil
		}
		if w.cfg.Now().Sub(noted) >= progressEvery {
			if err := note(); err != nil {
				return err
			}
		}
	}
	return errors.New("the results of windows are no longer told")
}

func progress(total int, results map[int]jobs.WindowResult, elapsed time.Duration) jobs.Progress {
	p := jobs.Progress{Windows: total, WindowsDone: len(results)}
	for _, result := range results {
		p.Requests += result.Requests
		p.ThrottledMs += result.ThrottledMs
		for _, part := range result.Parts {
			p.Rows += part.Rows
			p.Bytes += part.Bytes
		}
	}
	if p.WindowsDone > 0 {
		p.EtaMs = elapsed.Milliseconds() * int64(total-p.WindowsDone) / int64(p.WindowsDone)
	}
	return p
}

// finish writes the manifest, then the export's end, then tells of it.
func (w *Worker) finish(ctx context.Context, export jobs.Export, results map[int]jobs.WindowResult) (jobs.Export, error) {
	manifest := newManifest(export, results)
	place := path.Join(folder(export), "manifest.json")
	if err := writeManifest(w.root, place, manifest); err != nil {
		return export, err
	}
	if err := sweep(w.root, folder(export)); err != nil {
		return export, err
	}
	ended := w.cfg.Now().UTC()
	entry, err := w.exports.Modify(ctx, export.ID, func(e *jobs.Export) error {
		if e.State.Ended() {
			return nil
		}
		e.Progress = progress(len(manifest.Windows)+len(manifest.Failed), results, 0)
		e.Manifest, e.FinishedAt = place, &ended
		e.State, e.Error = outcome(manifest)
		return nil
	})
	if err != nil {
		return export, err
	}
	return entry.Value, w.announce(ctx, entry.Value)
}

// outcome is the state that a manifest stands for.
func outcome(manifest jobs.Manifest) (jobs.State, *string) {
	if manifest.Complete {
		return jobs.StateDone, nil
	}
	first := manifest.Failed[0]
	reason := fmt.Sprintf("%d of %d histories are missing; the first, of character %s and user %s: %s",
		len(manifest.Failed), len(manifest.Failed)+len(manifest.Windows), first.CharacterID, first.UserID, first.Reason)
	if len(manifest.Windows) == 0 {
		return jobs.StateFailed, &reason
	}
	return jobs.StatePartial, &reason
}

func (w *Worker) announce(ctx context.Context, export jobs.Export) error {
	kinds := map[jobs.State]string{
		jobs.StateDone: jobs.EventExportDone, jobs.StatePartial: jobs.EventExportPartial, jobs.StateFailed: jobs.EventExportFailed,
	}
	kind := kinds[export.State]
	id := export.ID + "." + string(export.State)
	event, err := jobs.NewEvent(kind, id, "/xinghe/export", export.ID, w.cfg.Now(), export)
	if err != nil {
		return err
	}
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return w.cfg.Queue.PublishEvent(ctx, jobs.EventPrefix+kind, id, data)
}
