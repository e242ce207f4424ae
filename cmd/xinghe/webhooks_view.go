package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"xinghe/shared/jobs"
)

// targetLine is a target in the list.
type targetLine struct {
	jobs.Webhook
	State string `json:"state"`
	// Pending events have not been tried yet, those of Again are to be once more.
	Pending uint64 `json:"pending"`
	Again   uint64 `json:"again"`
}

// targetView shows targets, a line each.
type targetView struct {
	out     io.Writer
	columns *tabwriter.Writer // nil for JSON
}

func newTargetView(out io.Writer, asJSON bool) *targetView {
	v := &targetView{out: out}
	if !asJSON && isTerminal(out) {
		v.tabulate()
	}
	return v
}

func (v *targetView) tabulate() {
	v.columns = tabwriter.NewWriter(v.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(v.columns, "NAME\tSTATE\tHOST\tTYPES\tPENDING\tAGAIN\tFAILURES\tSINCE\tERROR")
}

func (v *targetView) add(line targetLine) error {
	if v.columns == nil {
		return writeJSON(v.out, line)
	}
	state := line.State
	if line.Reason != "" {
		state += " (" + string(line.Reason) + ")"
	}
	since := ""
	if line.Since != nil {
		since = line.Since.Local().Format(time.DateTime)
	}
	_, err := fmt.Fprintf(v.columns, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", printable(line.Name), state, printable(line.Host),
		printable(strings.Join(line.Types, ",")), line.Pending, line.Again, line.Failures, since, printable(line.Error))
	return err
}

func (v *targetView) close() error {
	if v.columns == nil {
		return nil
	}
	return v.columns.Flush()
}

func showAttempts(out io.Writer, asJSON bool, attempts []jobs.DeliveryAttempt) error {
	if asJSON || !isTerminal(out) {
		for _, attempt := range attempts {
			if err := writeJSON(out, attempt); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := io.WriteString(out, attemptsText(attempts))
	return err
}

// attemptsText is a list of attempts for reading.
func attemptsText(attempts []jobs.DeliveryAttempt) string {
	var text strings.Builder
	columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "TIME\tTARGET\tTYPE\tEVENT\tATTEMPT\tMS\tSTATUS\tNEXT\tERROR")
	for _, a := range attempts {
		status, next := "", ""
		if a.Status > 0 {
			status = strconv.Itoa(a.Status)
		}
		if a.Next != nil {
			next = a.Next.Local().Format(time.DateTime)
		}
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", a.Time.Local().Format(time.DateTime), printable(a.Target),
			printable(a.Type), printable(a.EventID), a.Attempt, a.DurMs, status, next, printable(a.Error))
	}
	_ = columns.Flush() // into memory
	return text.String()
}

// showState tells what has become of a target.
func showState(out io.Writer, asJSON bool, name, state string) error {
	if asJSON || !isTerminal(out) {
		return writeJSON(out, struct {
			Target string `json:"target"`
			State  string `json:"state"`
		}{name, state})
	}
	_, err := fmt.Fprintf(out, "%s is %s\n", printable(name), state)
	return err
}

// showReplay tells how many events each target is to get.
func showReplay(out io.Writer, asJSON bool, targets []jobs.Webhook, counted map[string]int) error {
	for _, target := range targets {
		if asJSON || !isTerminal(out) {
			err := writeJSON(out, struct {
				Target string `json:"target"`
				Events int    `json:"events"`
			}{target.Name, counted[target.Name]})
			if err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(out, "%s: %d events\n", printable(target.Name), counted[target.Name]); err != nil {
			return err
		}
	}
	return nil
}
