package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"xinghe/shared/queue"
	"xinghe/shared/sign"
)

// letterView shows dead letters, a line each.
type letterView struct {
	out     io.Writer
	columns *tabwriter.Writer // nil for JSON
}

func newLetterView(out io.Writer, asJSON bool) *letterView {
	v := &letterView{out: out}
	if !asJSON && isTerminal(out) {
		v.tabulate()
	}
	return v
}

func (v *letterView) tabulate() {
	v.columns = tabwriter.NewWriter(v.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(v.columns, "NUMBER\tDIED\tSUBJECT\tJOB\tATTEMPTS\tREASON")
}

func (v *letterView) add(letter queue.DeadLetter) error {
	if v.columns == nil {
		return writeJSON(v.out, letter)
	}
	_, err := fmt.Fprintf(v.columns, "%d\t%s\t%s\t%s\t%d\t%s\n", letter.Sequence, letter.Time.Local().Format(time.DateTime),
		printable(letter.Subject), printable(letter.ID), letter.Attempts, printable(letter.Reason))
	return err
}

func (v *letterView) close() error {
	if v.columns == nil {
		return nil
	}
	return v.columns.Flush()
}

func showLetter(out io.Writer, asJSON bool, letter queue.DeadLetter) error {
	if asJSON || !isTerminal(out) {
		return writeJSON(out, letter)
	}
	_, err := io.WriteString(out, letterText(letter))
	return err
}

// letterText is a dead letter for reading.
func letterText(letter queue.DeadLetter) string {
	var text strings.Builder
	line := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(&text, "%-10s %s\n", name, printable(value))
		}
	}
	line("number", fmt.Sprint(letter.Sequence))
	line("subject", letter.Subject)
	line("job", letter.ID)
	line("consumer", letter.Consumer)
	line("published", moment(letter.Published))
	line("died", moment(letter.Time))
	line("attempts", fmt.Sprint(letter.Attempts))
	line("reason", letter.Reason)
	for _, failure := range letter.History {
		line(fmt.Sprintf("attempt %d", failure.Attempt), moment(failure.Time)+"  "+failure.Error)
	}
	for _, name := range slices.Sorted(maps.Keys(letter.Headers)) {
		line("header", name+": "+letter.Headers[name])
	}
	if data := string(letter.Data); utf8.ValidString(data) {
		line("data", data)
	} else {
		line("base64", base64.StdEncoding.EncodeToString(letter.Data))
	}
	return text.String()
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// showChange tells what became of one dead letter.
func showChange(out io.Writer, asJSON bool, sequence uint64, done string, err error) error {
	reason := ""
	switch {
	case errors.Is(err, queue.ErrNotFound):
		done, reason = "failed", "there is no such dead letter"
	case err != nil:
		done, reason = "failed", sign.RedactError(err).Error()
	}
	if asJSON || !isTerminal(out) {
		return writeJSON(out, struct {
			Sequence uint64 `json:"sequence"`
			Result   string `json:"result"`
			Error    string `json:"error,omitempty"`
		}{sequence, done, reason})
	}
	_, err = fmt.Fprintln(out, strings.TrimSpace(fmt.Sprintf("%d %s  %s", sequence, done, printable(reason))))
	return err
}

func writeJSON(out io.Writer, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return writeLine(out, line)
}

// printable keeps what lies in a job from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, text)
}
