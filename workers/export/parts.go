package export

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
)

// unit is what a part holds whole or not at all: a row, or a dialogue of several, which has
// become a line.
type unit struct {
	rows []jobs.Row
	line []byte // nil for a row
}

// last row of the unit.
func (u unit) last() jobs.Row { return u.rows[len(u.rows)-1] }

// parts writes the units of one window to files of bounded size, one after another. Where a
// part ends depends on the units alone, so that the same ones give the same files.
type parts struct {
	sink   sink.Sink
	window jobs.Window
	zone   *time.Location
	limit  int64
	body   body
	out    *output
	// Of dialogues there is an index beside.
	index     *textBody
	indexFile *output

	plain     int64 // before compression
	partition string
	part      jobs.Part
}

func newParts(to sink.Sink, window jobs.Window, limit int64) (*parts, error) {
	zone, err := window.Partition.Zone()
	if err != nil {
		return nil, fmt.Errorf("partition: %w", err)
	}
	p := &parts{sink: to, window: window, zone: zone, limit: limit, out: newOutput()}
	if p.body, err = newBody(window); err == nil && jobs.Dialogues(window.Format) {
		p.indexFile = newOutput()
		p.index, err = newTextBody(window)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s with %s: %w", window.Format, window.Compression, err)
	}
	return p, nil
}

// folder of the partition that a unit belongs to, that of its end, below that of the export.
func (p *parts) folder(u unit) string {
	return p.window.Partition.Path(u.last().CharacterID, time.UnixMilli(u.last().GmtCreate), p.zone)
}

// write adds a unit to the part of that number, and reports whether the part is full. A part
// that is open is of the unit's partition.
func (p *parts) write(ctx context.Context, number int, u unit) (full bool, err error) {
	if !p.open() {
		if err := p.begin(ctx, number, u); err != nil {
			return false, err
		}
	}
	plain, err := p.body.write(u)
	if err != nil {
		return false, err
	}
	if p.index != nil {
		if err := p.writeIndex(u); err != nil {
			return false, err
		}
	}
	p.plain += int64(plain)
	p.part.Rows += int64(len(u.rows))
	p.part.Last = u.last().MessageID
	return p.plain >= p.limit, nil
}

func (p *parts) writeIndex(u unit) error {
	entry := jobs.IndexLine{SessionID: u.rows[0].SessionID, CharacterID: u.rows[0].CharacterID, UserID: u.rows[0].UserID}
	for _, row := range u.rows {
		entry.MessageIDs, entry.GmtCreate = append(entry.MessageIDs, row.MessageID), append(entry.GmtCreate, row.GmtCreate)
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode index: %w", err)
	}
	p.part.Lines++
	_, err = p.index.write(unit{line: append(line, '\n')})
	return err
}

func (p *parts) begin(ctx context.Context, number int, first unit) error {
	p.partition, p.plain = p.folder(first), 0
	name := fmt.Sprintf("%06d-%05d%s", p.window.Number, number, extension(p.window))
	p.part = jobs.Part{
		Path: path.Join(p.window.Folder, p.partition, name), Window: p.window.Number, First: first.rows[0].MessageID,
		Partition: p.window.Partition.Labels(first.last().CharacterID, time.UnixMilli(first.last().GmtCreate), p.zone),
	}
	if p.index != nil {
		p.part.Index = &jobs.IndexFile{Path: path.Join(path.Dir(p.part.Path), strings.Replace(name, ".", ".index.", 1))}
		if err := p.indexFile.begin(ctx, p.sink, p.part.Index.Path); err != nil {
			return err
		}
		if err := p.index.begin(p.indexFile); err != nil {
			return err
		}
	}
	if err := p.out.begin(ctx, p.sink, p.part.Path); err != nil {
		return err
	}
	return p.body.begin(p.out)
}

// open reports whether there is something in a part that is not finished.
func (p *parts) open() bool { return p.out.to != nil }

// finish makes the part at hand appear, behind its index.
func (p *parts) finish() (part jobs.Part, err error) {
	defer p.abort()
	if p.index != nil {
		if err := p.index.end(); err != nil {
			return jobs.Part{}, err
		}
		if p.part.Index.Bytes, p.part.Index.SHA256, err = p.indexFile.commit(); err != nil {
			return jobs.Part{}, err
		}
	}
	if err := p.body.end(); err != nil {
		return jobs.Part{}, err
	}
	p.part.Bytes, p.part.SHA256, err = p.out.commit()
	return p.part, err
}

// abort drops the part at hand, if any.
func (p *parts) abort() {
	p.out.abort()
	if p.indexFile != nil {
		p.indexFile.abort()
	}
}
