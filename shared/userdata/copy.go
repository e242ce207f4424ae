package userdata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"xinghe/shared/sink"
)

// Export copies what is held of a user to a folder: the user's files as they are, below
// "files", and all else as lines of JSON, a file for each stream and bucket, beside
// "report.json". What others' data stands in it is left out. An earlier copy is replaced.
func (h *Holder) Export(ctx context.Context, user User, to sink.Sink) (report Report, err error) {
	c := &copies{holder: h, to: to, lists: map[string]sink.Writer{}}
	defer c.abort()
	f := &finder{Holder: h, matcher: newMatcher(user)}
	report, err = h.find(ctx, f, func(i item) error { return c.take(ctx, i) })
	if err == nil {
		err = c.commit()
	}
	if err != nil {
		return report, fmt.Errorf("export a user's data: %w", err)
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err == nil {
		err = c.write(ctx, "report.json", append(text, '\n'))
	}
	return report, err
}

// copies are the lists that are being written.
type copies struct {
	holder *Holder
	to     sink.Sink
	lists  map[string]sink.Writer
}

// line is how something stands in a list.
type line struct {
	Kind string `json:"kind"`
	// Name is a subject, a key or a path.
	Name     string `json:"name"`
	Sequence uint64 `json:"sequence,omitempty"`
	// Data is missing where it is of others too.
	Data json.RawMessage `json:"data,omitempty"`
}

func (c *copies) take(ctx context.Context, i item) error {
	if i.place == placeFiles && i.fate == FateRemoved {
		return c.file(ctx, i.name)
	}
	list := strings.ReplaceAll(i.place, " ", "-") + ".jsonl"
	w := c.lists[list]
	if w == nil {
		var err error
		if w, err = c.to.Create(ctx, list); err != nil {
			return err
		}
		c.lists[list] = w
	}
	entry := line{Kind: i.kind, Name: i.name, Sequence: i.sequence}
	if json.Valid(i.excerpt) {
		entry.Data = i.excerpt
	}
	text, err := encode(entry)
	if err == nil {
		_, err = w.Write(append(text, '\n'))
	}
	return err
}

func (c *copies) file(ctx context.Context, name string) error {
	w, err := c.to.Create(ctx, path.Join(placeFiles, name))
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := copyFile(ctx, c.holder.cfg.Sink, name, w); err != nil {
		return err
	}
	return w.Commit()
}

func (c *copies) write(ctx context.Context, name string, text []byte) error {
	w, err := c.to.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Commit()
}

func (c *copies) commit() error {
	var err error
	for _, w := range c.lists {
		err = errors.Join(err, w.Commit())
	}
	return err
}

func (c *copies) abort() {
	for _, w := range c.lists {
		w.Abort()
	}
}
