package userdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/jobs"
)

// Erase removes what is held of a user, and tells what there was. While jobs of the user
// are under way it removes nothing: the error is [ErrBusy], and the report names them.
//
// It can be called again at any time, also after one that was killed, and then goes on.
// Whoever lets the user go on chatting meanwhile finds the new data in the report's Left.
func (h *Holder) Erase(ctx context.Context, user User) (Report, error) {
	var items []item
	f := &finder{Holder: h, matcher: newMatcher(user)}
	report, err := h.find(ctx, f, func(i item) error {
		i.excerpt = nil
		items = append(items, i)
		return nil
	})
	if err != nil {
		return report, err
	}
	if len(report.Busy) > 0 {
		return report, ErrBusy
	}
	for _, i := range items {
		if err := f.erase(ctx, i); err != nil {
			return report, fmt.Errorf("erase %s of %s: %w", i.kind, i.place, err)
		}
	}
	for _, step := range []func(context.Context) error{f.sweep, f.chain, f.settleMarks, f.settleRecords} {
		if err := step(ctx); err != nil {
			return report, fmt.Errorf("tidy up after an erasure: %w", err)
		}
	}
	notes, err := f.overwrite(ctx)
	if err != nil {
		return report, fmt.Errorf("overwrite what was removed: %w", err)
	}
	report.Notes = append(report.Notes, notes...)
	after, err := h.Find(ctx, user)
	report.Left, report.Busy = after.Found, after.Busy
	return report, err
}

func (f *finder) erase(ctx context.Context, i item) error {
	switch {
	case i.fate == FateLeft:
		return nil
	case i.place == placeFiles && i.fate == FateRemoved:
		return f.cfg.Sink.Delete(ctx, i.name)
	case i.place == placeFiles:
		for _, e := range f.exports {
			if e.manifest != nil && e.manifest.path == i.name {
				return e.manifest.rewrite(ctx, f.cfg.Sink, &f.matcher, "", f.cfg.Now())
			}
		}
		return nil
	case i.fate == FateRemoved:
		return f.remove(ctx, i)
	}
	change := map[string]func([]byte) ([]byte, error){
		jobs.BucketRatings: f.blankRatings, jobs.BucketWindows: f.blankWindow, jobs.BucketPlans: f.blankPlan,
		jobs.BucketExports: func(data []byte) ([]byte, error) {
			scrubbed, _, err := f.scrubJSON(data)
			return scrubbed, err
		},
	}[strings.TrimPrefix(i.stream, bucketStream)]
	return f.change(ctx, i.stream, i.name, change)
}

// sweep removes what killed writers have left where the user's files were. Nobody writes
// there: no export of the user's is under way.
func (f *finder) sweep(ctx context.Context) error {
	for folder, e := range f.exports {
		if len(e.windows) > 0 {
			if err := f.cfg.Sink.Sweep(ctx, folder); err != nil {
				return err
			}
		}
	}
	for id := range f.ids {
		if err := f.cfg.Sink.Sweep(ctx, path.Join(jobs.ImageFolder, jobs.ImageKey(id))); err != nil {
			return err
		}
	}
	return nil
}

// remove takes a message out of its stream. One of a bucket, which does not let a single
// message be deleted, is purged: that leaves no mark of the key, as deleting by the client
// would. Any other is overwritten where it is.
func (f *finder) remove(ctx context.Context, i item) error {
	stream := f.streams[i.stream]
	if bucket, ok := strings.CutPrefix(i.stream, bucketStream); ok {
		return stream.Purge(ctx, jetstream.WithPurgeSubject(subjectKV+bucket+"."+i.name), jetstream.WithPurgeSequence(i.sequence+1))
	}
	err := stream.SecureDeleteMsg(ctx, i.sequence)
	if err == nil {
		return nil
	}
	if _, missing := stream.GetMsg(ctx, i.sequence); errors.Is(missing, jetstream.ErrMsgNotFound) {
		return nil // somebody else was faster
	}
	return err
}

// change writes a key anew, unless that changes nothing, or the key is gone.
func (f *finder) change(ctx context.Context, stream, key string, change func([]byte) ([]byte, error)) error {
	subject := subjectKV + strings.TrimPrefix(stream, bucketStream) + "." + key
	for {
		last, err := f.streams[stream].GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if (message{header: last.Header}).mark() {
			return nil
		}
		data, err := change(last.Data)
		if err != nil || string(data) == string(last.Data) {
			return err
		}
		_, err = f.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data}, jetstream.WithExpectLastSequencePerSubject(last.Sequence))
		api, refused := errors.AsType[*jetstream.APIError](err)
		if !refused || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence && api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequenceConstant {
			return err
		}
	}
}

// manifests are all that there are, the oldest first: each refers to an older one at most.
func (f *finder) manifests() (list []*manifest, byID map[string]*manifest) {
	byID = map[string]*manifest{}
	for _, e := range f.exports {
		if e.manifest != nil {
			byID[e.manifest.id] = e.manifest
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		list = append(list, byID[id])
	}
	return list, byID
}

// renewed is the hash of a manifest that was rewritten, if the one that is given was its
// hash before; else it is empty. A hash that never was right stays wrong.
func renewed(m *manifest, sum string) string {
	if m == nil || m.sha256 == sum || !m.was(sum) {
		return ""
	}
	return m.sha256
}

// chain brings the hashes up to date that manifests have of those before them.
func (f *finder) chain(ctx context.Context) error {
	list, byID := f.manifests()
	for _, m := range list {
		if m.previous == nil {
			continue
		}
		sum := renewed(byID[m.previous.ID], m.previous.SHA256)
		if sum == "" {
			continue
		}
		if err := m.rewrite(ctx, f.cfg.Sink, &f.matcher, sum, f.cfg.Now()); err != nil {
			return err
		}
	}
	return nil
}

// settleMarks brings the hashes up to date that watermarks have.
func (f *finder) settleMarks(ctx context.Context) error {
	_, byID := f.manifests()
	return f.bucket(ctx, jobs.BucketMarks, ">", func(msg message) error {
		if mark, ok := parse[jobs.Mark](msg.data); !ok || renewed(byID[mark.ExportID], mark.SHA256) == "" {
			return nil
		}
		return f.change(ctx, msg.stream, msg.key(), func(data []byte) ([]byte, error) {
			var mark jobs.Mark
			if err := json.Unmarshal(data, &mark); err != nil {
				return nil, err
			}
			if sum := renewed(byID[mark.ExportID], mark.SHA256); sum != "" {
				mark.SHA256 = sum
			}
			return encode(mark)
		})
	})
}

// settleRecords makes the records of exports say what their manifests do.
func (f *finder) settleRecords(ctx context.Context) error {
	_, byID := f.manifests()
	for _, folder := range slices.Sorted(maps.Keys(f.exports)) {
		e := f.exports[folder]
		stale := e.known && e.record.Previous != nil && renewed(byID[e.record.Previous.ExportID], e.record.Previous.SHA256) != ""
		counted := e.known && e.manifest != nil && len(e.manifest.erased) > 0 &&
			(e.record.Progress.Rows != e.manifest.rows || e.record.Progress.Bytes != e.manifest.bytes)
		if !stale && !counted {
			continue
		}
		err := f.change(ctx, bucketStream+jobs.BucketExports, e.record.ID, func(data []byte) ([]byte, error) {
			return settled(data, e.manifest, byID, counted)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settled changes a record without loss of what this program does not know of.
func settled(data []byte, m *manifest, byID map[string]*manifest, counted bool) ([]byte, error) {
	value, err := decode(data)
	if err != nil {
		return nil, err
	}
	record, _ := value.(map[string]any)
	if previous, ok := record["previous"].(map[string]any); ok {
		id, _ := previous["exportId"].(string)
		sum, _ := previous["sha256"].(string)
		if sum = renewed(byID[id], sum); sum != "" {
			previous["sha256"] = sum
		}
	}
	if progress, ok := record["progress"].(map[string]any); ok && counted {
		progress["rows"], progress["bytes"] = m.rows, m.bytes
	}
	return encode(value)
}
