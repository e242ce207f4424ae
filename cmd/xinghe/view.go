package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"xinghe/shared/jobs"
)

// isTerminal reports whether a human reads along.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// writeDocument writes a JSON document: indented for humans, as one line for programs.
func writeDocument(out io.Writer, document []byte) error {
	if !isTerminal(out) {
		return writeLine(out, document)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(document), "", "  "); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	indented.WriteByte('\n')
	_, err := out.Write(indented.Bytes())
	return err
}

func writeLine(out io.Writer, document []byte) error {
	var line bytes.Buffer
	if err := json.Compact(&line, document); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	line.WriteByte('\n')
	_, err := out.Write(line.Bytes())
	return err
}

// view shows the progress of an export.
type view interface {
	// show takes the export's next state, also as the JSON that it came in.
	show(export jobs.Export, document []byte) error
	// close leaves the terminal in order.
	close()
}

func newView(out io.Writer) view {
	if isTerminal(out) {
		return &bar{out: out}
	}
	return lines{out}
}

// lines shows each state as a line of JSON.
type lines struct{ out io.Writer }

func (l lines) show(_ jobs.Export, document []byte) error { return writeLine(l.out, document) }

func (lines) close() {}

// barScale is how much of a bar a window is. The bar is one longer than all of them: at its
// end it could not be drawn any more, and the export may still have a manifest to write.
const barScale = 1000

// bar draws one line that grows with the windows done, and says at the end what came of it.
type bar struct {
	out io.Writer
	bar *progressbar.ProgressBar
}

func (b *bar) show(export jobs.Export, _ []byte) error {
	p := export.Progress
	if export.State.Ended() {
		b.close()
		return b.conclude(export)
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions(max(p.Windows, 1), progressbar.OptionSetWriter(b.out), progressbar.OptionSetWidth(30),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionClearOnFinish())
	}
	b.bar.ChangeMax(max(p.Windows, p.WindowsDone)*barScale + 1)
	b.bar.Describe(describe(export))
	return b.bar.Set(p.WindowsDone * barScale)
}

// describe is what stands before the bar.
func describe(export jobs.Export) string {
	p := export.Progress
	text := fmt.Sprintf("%s  %d of %d windows  %d rows  %s", export.State, p.WindowsDone, p.Windows, p.Rows, size(p.Bytes))
	if export.CancelledAt != nil {
		text += "  being cancelled"
	}
	if eta := (time.Duration(p.EtaMs) * time.Millisecond).Round(time.Second); eta > 0 {
		text += "  " + eta.String() + " left"
	}
	return text
}

func (b *bar) conclude(export jobs.Export) error {
	p := export.Progress
	text := fmt.Sprintf("%s %s: %d of %d windows, %d rows, %s\n", export.ID, export.State, p.WindowsDone, p.Windows, p.Rows, size(p.Bytes))
	if export.Error != nil {
		text += *export.Error + "\n"
	}
	if export.Manifest != "" {
		text += "manifest " + export.Manifest + "\n"
	}
	_, err := io.WriteString(b.out, text)
	return err
}

func (b *bar) close() {
	if b.bar != nil {
		_ = b.bar.Clear()
		b.bar = nil
	}
}

// size is a number of bytes as humans say it.
func size(count int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	value, unit := float64(count), 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", count)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
