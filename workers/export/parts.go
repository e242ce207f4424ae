package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path"

	"xinghe/shared/jobs"
)

// parts writes the rows of one window as JSON lines, to files of bounded size. The same
// rows give the same files.
type parts struct {
	root   *os.Root
	window jobs.Window
	limit  int64

	current *file
	buffer  *bufio.Writer
	encoder *json.Encoder
	part    jobs.Part
	done    []jobs.Part
}

func newParts(root *os.Root, window jobs.Window, limit int64) *parts {
	return &parts{root: root, window: window, limit: limit}
}

func (p *parts) write(row jobs.Row) error {
	if p.current == nil {
		if err := p.begin(row); err != nil {
			return err
		}
	}
	if err := p.encoder.Encode(row); err != nil {
		return fmt.Errorf("write row: %w", err)
	}
	p.part.Rows++
	p.part.Last = row.MessageID
	if p.current.bytes+int64(p.buffer.Buffered()) >= p.limit {
		return p.finish()
	}
	return nil
}

func (p *parts) begin(first jobs.Row) error {
	place := path.Join(p.window.Folder, fmt.Sprintf("%06d-%04d.jsonl", p.window.Number, len(p.done)))
	current, err := create(p.root, place)
	if err != nil {
		return err
	}
	p.current, p.part = current, jobs.Part{Path: place, First: first.MessageID}
	p.buffer = bufio.NewWriterSize(current, 64<<10)
	p.encoder = json.NewEncoder(p.buffer)
	p.encoder.SetEscapeHTML(false)
	return nil
}

// finish makes the part at hand appear; without rows there is none.
func (p *parts) finish() error {
	if p.current == nil {
		return nil
	}
	if err := p.buffer.Flush(); err != nil {
		p.abandon()
		return fmt.Errorf("write part: %w", err)
	}
	if err := p.current.commit(); err != nil {
		return err
	}
	p.part.Bytes, p.part.SHA256 = p.current.bytes, p.current.sha256()
	p.done = append(p.done, p.part)
	p.current = nil
	return nil
}

// abandon drops the part at hand, if any.
func (p *parts) abandon() {
	if p.current != nil {
		p.current.abandon()
		p.current = nil
	}
}
