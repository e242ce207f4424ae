package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"xinghe/shared/usage"
)

// showUsage shows rows: a table with their sum for humans, lines of JSON for programs.
func showUsage(out io.Writer, asJSON bool, rows []usage.Row) error {
	if !asJSON && isTerminal(out) {
		return tabulateUsage(out, rows)
	}
	for _, row := range rows {
		if err := writeJSON(out, row); err != nil {
			return err
		}
	}
	return nil
}

func tabulateUsage(out io.Writer, rows []usage.Row) error {
	columns := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "DAY\tKEY\tBOT\tREQUESTS\tFAILURES\tINPUT TOKENS\tOUTPUT TOKENS\tINCOMPLETE\tTHROTTLED")
	line := func(day, key, bot string, c usage.Counts) {
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", cmp.Or(day, "-"), cmp.Or(printable(key), "-"), cmp.Or(printable(bot), "-"),
			c.Requests, c.Failures, c.InputTokens, c.OutputTokens, c.Incomplete, time.Duration(c.ThrottledMs)*time.Millisecond)
	}
	for _, row := range rows {
		line(row.Day, row.Key, row.Bot, row.Counts)
	}
	for _, sum := range usage.Sum(rows, usage.InAll) {
		line("all", "", "", sum.Counts)
	}
	return columns.Flush()
}
