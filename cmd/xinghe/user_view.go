package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"xinghe/shared/userdata"
)

// showReport tells what was found where; heading says what that means.
func showReport(out io.Writer, asJSON bool, heading string, report userdata.Report) error {
	if asJSON || !isTerminal(out) {
		return writeJSON(out, report)
	}
	_, err := io.WriteString(out, reportText(heading, report))
	return err
}

// reportText is a report for reading.
func reportText(heading string, report userdata.Report) string {
	var text strings.Builder
	counts(&text, heading, report.Found)
	for _, file := range report.Files {
		_, _ = fmt.Fprintf(&text, "file %s\n", printable(file))
	}
	if len(report.Busy) > 0 {
		_, _ = fmt.Fprintf(&text, "under way: %s\n", printable(sentence(report.Busy)))
	}
	if len(report.Left) > 0 {
		counts(&text, "still there", report.Left)
	}
	for _, note := range report.Notes {
		_, _ = fmt.Fprintf(&text, "note: %s\n", printable(note))
	}
	return text.String()
}

func counts(out io.Writer, heading string, list []userdata.Count) {
	if len(list) == 0 {
		_, _ = fmt.Fprintf(out, "%s: nothing\n", heading)
		return
	}
	_, _ = fmt.Fprintf(out, "%s:\n", heading)
	columns := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "WHERE\tWHAT\tCOUNT\tSIZE\tFATE")
	for _, c := range list {
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%d\t%s\t%s\n", c.Place, printable(c.Kind), c.Count, size(c.Bytes), c.Fate)
	}
	_ = columns.Flush() // a strings.Builder takes everything
}

// sentence names the first few of a list.
func sentence(list []string) string {
	const some = 5
	if len(list) > some {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:some], ", "), len(list)-some)
	}
	return strings.Join(list, ", ")
}
