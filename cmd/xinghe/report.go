package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// report shows how a verification goes.
type report interface {
	finding(f finding) error
	progress(rows int64) error
	conclude(s summary) error
	close()
}

func newReport(out io.Writer, rows int64) report {
	if !isTerminal(out) {
		return lineReport{out}
	}
	return newBarReport(out, rows)
}

// lineReport writes a line of JSON for each finding, and one for the sum.
type lineReport struct{ out io.Writer }

func (r lineReport) finding(f finding) error { return r.line(f) }

func (r lineReport) conclude(s summary) error { return r.line(s) }

func (lineReport) progress(int64) error { return nil }

func (lineReport) close() {}

func (r lineReport) line(document any) error {
	encoder := json.NewEncoder(r.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(document)
}

// barReport writes for humans, and draws a bar below.
type barReport struct {
	out io.Writer
	bar *progressbar.ProgressBar
}

func newBarReport(out io.Writer, rows int64) *barReport {
	return &barReport{out: out, bar: progressbar.NewOptions64(max(rows, 1), progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(), progressbar.OptionSetItsString("rows"), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond))}
}

func (r *barReport) finding(f finding) error {
	r.close()
	var text strings.Builder
	text.WriteString(f.Kind)
	for _, about := range []struct{ name, value string }{
		{"part", f.Part}, {"character", f.CharacterID}, {"user", f.UserID}, {"message", f.MessageID},
	} {
		if about.value != "" {
			fmt.Fprintf(&text, ", %s %s", about.name, about.value)
		}
	}
	_, err := fmt.Fprintf(r.out, "%s: %s\n", &text, f.Detail)
	return err
}

func (r *barReport) progress(rows int64) error { return r.bar.Set64(min(rows, r.bar.GetMax64()-1)) }

func (r *barReport) conclude(s summary) error {
	r.close()
	verdict := "as the manifest says"
	if s.Findings > 0 {
		verdict = fmt.Sprintf("%d findings", s.Findings)
	}
	if !s.Complete {
		verdict += "; the export is not complete"
	}
	if s.Erased > 0 {
		verdict += fmt.Sprintf("; %d rows of users were erased since", s.Erased)
	}
	_, err := fmt.Fprintf(r.out, "%s: %d rows in %d parts of %d windows: %s\n", s.ID, s.Rows, s.Parts, s.Windows, verdict)
	return err
}

func (r *barReport) close() { _ = r.bar.Clear() }
