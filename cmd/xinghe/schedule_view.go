package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"xinghe/shared/schedule"
)

// showNext tells that a schedule is set, and when it is due.
func showNext(out io.Writer, asJSON bool, s schedule.Schedule, next time.Time) error {
	if asJSON || !isTerminal(out) {
		return writeJSON(out, struct {
			schedule.Schedule
			Next time.Time `json:"next"`
		}{s, next.UTC()})
	}
	_, err := fmt.Fprintf(out, "%s is due at %s\n", s.Name, next.Format(time.RFC3339))
	return err
}

func showSchedules(out io.Writer, asJSON bool, list []schedule.Status) error {
	if asJSON || !isTerminal(out) {
		for _, status := range list {
			if err := writeJSON(out, status); err != nil {
				return err
			}
		}
		return nil
	}
	return tabulateSchedules(out, list)
}

func tabulateSchedules(out io.Writer, list []schedule.Status) error {
	columns := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "NAME\tCRON\tTIME ZONE\tNEXT\tLAST\tWHAT BECAME OF IT")
	for _, s := range list {
		last, became := "", s.Fault
		if s.Last != nil {
			last = moment(s.Last.Due)
			became = cmp.Or(s.Fault, outcomeText(s))
		}
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(s.Name), printable(s.Cron), printable(s.TimeZone), moment(s.Next), last, printable(became))
	}
	return columns.Flush()
}

// outcomeText says what a schedule's last time has led to.
func outcomeText(s schedule.Status) string {
	if s.Last.Outcome != schedule.Started {
		return fmt.Sprintf("%s: %s", s.Last.Outcome, s.Last.Reason)
	}
	return fmt.Sprintf("%s %s", s.Last.ExportID, cmp.Or(string(s.Export), "is not known any more"))
}
