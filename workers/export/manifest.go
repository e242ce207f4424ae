package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"strconv"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// manifestVersion is the Version of a [jobs.Manifest].
const manifestVersion = 1

// fetch is how many results are read at once while a manifest is written.
const fetch = 32

// manifest writes the [jobs.Manifest], result by result, as there may be more than should
// be held in memory. The same results give the same bytes.
func (r *run) manifest(ctx context.Context, complete, cancelled bool) (place, sum string, err error) {
	place = path.Join(r.export.Folder(), "manifest.json")
	out, err := r.w.cfg.Sink.Create(ctx, place)
	if err != nil {
		return "", "", err
	}
	defer out.Abort()
	hash := sha256.New()
	m := manifestWriter{out: writerFunc(func(data []byte) (int, error) {
		hash.Write(data)
		return out.Write(data)
	})}
	head := jobs.Manifest{Version: manifestVersion, ID: r.export.ID, Spec: r.export.Spec, Range: r.export.Range, Complete: complete, Cancelled: cancelled}
	head.Spec.Redact = head.Spec.Redact.WithoutPatterns()
	if mark := r.export.Previous; mark != nil {
		head.Previous = &jobs.ManifestRef{ID: mark.ExportID, SHA256: mark.SHA256}
	}
	if err := m.write(ctx, head, r.results); err != nil {
		return "", "", err
	}
	if err := out.Commit(); err != nil {
		return "", "", err
	}
	return place, hex.EncodeToString(hash.Sum(nil)), nil
}

// manifestWriter writes an object of which each element of a list has a line of its own.
// What is counted stands behind the lists, as it is of these very lists.
type manifestWriter struct {
	out    writerFunc
	buffer bytes.Buffer
}

type results func(ctx context.Context) iter.Seq2[jobs.WindowResult, error]

func (m *manifestWriter) write(ctx context.Context, head jobs.Manifest, results results) error {
	m.buffer.WriteString("{\n")
	m.field("version", head.Version)
	m.field("id", head.ID)
	m.field("spec", head.Spec)
	if head.Range != nil {
		m.field("range", head.Range)
	}
	m.field("complete", head.Complete)
	if head.Cancelled {
		m.field("cancelled", true)
	}
	failed, redacted, leftOut := 0, map[string]int64{}, map[string]int64{}
	err := m.list(ctx, "parts", results, func(r jobs.WindowResult, element func(any) error) error {
		if r.Error != "" && !r.Done {
			failed++
		}
		head.DuplicatesDropped += r.Duplicates
		head.Filtered += r.Window.Filtered
		addTo(redacted, r.Window.Redacted)
		addTo(leftOut, r.Window.LeftOut)
		for _, part := range r.Parts {
			head.Rows += part.Rows
			if err := element(part); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = m.list(ctx, "windows", results, func(r jobs.WindowResult, element func(any) error) error {
			if !r.Done {
				return nil
			}
			return element(r.Window)
		})
	}
	if err == nil && failed > 0 {
		err = m.list(ctx, "failed", results, func(r jobs.WindowResult, element func(any) error) error {
			if r.Error == "" || r.Done {
				return nil
			}
			return element(jobs.WindowFailure{Number: r.Number, CharacterID: r.Window.CharacterID, UserID: r.Window.UserID, Reason: r.Error})
		})
	}
	if err != nil {
		return err
	}
	if head.Previous != nil {
		m.field("previous", head.Previous)
	}
	if head.Filtered > 0 {
		m.field("filtered", head.Filtered)
	}
	if len(leftOut) > 0 {
		m.field("leftOut", leftOut)
	}
	if head.Spec.Redact != nil {
		m.field("redacted", redacted)
	}
	m.field("duplicatesDropped", head.DuplicatesDropped)
	fmt.Fprintf(&m.buffer, "\"rows\": %d\n}\n", head.Rows)
	return m.flush()
}

func addTo(sum, counts map[string]int64) {
	for name, count := range counts {
		sum[name] += count
	}
}

// field writes one of the types above, none of which can fail to be encoded.
func (m *manifestWriter) field(name string, value any) {
	fmt.Fprintf(&m.buffer, "%q: ", name)
	m.value(value)
	m.buffer.WriteString(",\n")
}

func (m *manifestWriter) value(value any) {
	encoder := json.NewEncoder(&m.buffer)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	m.buffer.Truncate(m.buffer.Len() - 1) // the end of the line
}

func (m *manifestWriter) list(ctx context.Context, name string, results results, each func(jobs.WindowResult, func(any) error) error) error {
	fmt.Fprintf(&m.buffer, "%q: [", name)
	separator := "\n"
	element := func(value any) error {
		m.buffer.WriteString(separator)
		separator = ",\n"
		m.value(value)
		if m.buffer.Len() < 32<<10 {
			return nil
		}
		return m.flush()
	}
	for result, err := range results(ctx) {
		if err != nil {
			return err
		}
		if err := each(result, element); err != nil {
			return err
		}
	}
	m.buffer.WriteString("],\n")
	return nil
}

func (m *manifestWriter) flush() error {
	_, err := m.out.Write(m.buffer.Bytes())
	m.buffer.Reset()
	return err
}

// results yields what windows have come to, in the order of their numbers.
func (r *run) results(ctx context.Context) iter.Seq2[jobs.WindowResult, error] {
	return func(yield func(jobs.WindowResult, error) bool) {
		numbers := make([]int, 0, fetch)
		for number := range r.tally.total {
			if r.tally.begun.has(number) {
				numbers = append(numbers, number)
			}
			if len(numbers) < fetch && number < r.tally.total-1 {
				continue
			}
			got, err := r.fetch(ctx, numbers)
			if err != nil {
				yield(jobs.WindowResult{}, err)
				return
			}
			for _, result := range got {
				if !yield(result, nil) {
					return
				}
			}
			numbers = numbers[:0]
		}
	}
}

func (r *run) fetch(ctx context.Context, numbers []int) ([]jobs.WindowResult, error) {
	got := make([]jobs.WindowResult, len(numbers))
	group, ctx := errgroup.WithContext(ctx)
	for i, number := range numbers {
		group.Go(func() error {
			entry, err := r.w.results.Get(ctx, r.export.ID+"."+strconv.Itoa(number))
			if err == nil {
				got[i] = entry.Value
			}
			return err
		})
	}
	return got, group.Wait()
}

// sinkFailed reports whether it was the sink that failed, and not what goes into it.
func sinkFailed(err error) bool {
	_, ok := errors.AsType[*sink.Error](err)
	return ok
}
