package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"

	"xinghe/shared/jobs"
)

// rejectedRow is a fault of a row that was not accepted.
type rejectedRow struct {
	Row     int    `json:"row"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// rateView shows how ratings get on: sentences and a bar for humans, lines of JSON for
// programs.
type rateView struct {
	out   io.Writer
	human bool
	bar   *progressbar.ProgressBar
	last  ratingTotal
}

func newRateView(out io.Writer) *rateView { return &rateView{out: out, human: isTerminal(out)} }

// accepted tells that a batch was taken, by whom it goes on, and which rows were not.
func (v *rateView) accepted(id string, accepted, rejected int, faults []rejectedRow) error {
	if !v.human {
		return v.line(struct {
			ID       string        `json:"id,omitempty"`
			Accepted int           `json:"accepted"`
			Count    int           `json:"rejectedCount"`
			Rejected []rejectedRow `json:"rejected,omitempty"`
		}{id, accepted, rejected, faults})
	}
	_, err := fmt.Fprintf(v.out, "%s %d rows accepted, %d rejected\n", id, accepted, rejected)
	for _, fault := range faults {
		if err == nil {
			_, err = fmt.Fprintf(v.out, "  row %d: %s: %s\n", fault.Row, fault.Field, fault.Message)
		}
	}
	return err
}

// progress shows how far all rows have come, if that has changed.
func (v *rateView) progress(total ratingTotal) error {
	if total == v.last {
		return nil
	}
	v.last = total
	if !v.human {
		return v.line(total)
	}
	if v.bar == nil {
		v.bar = progressbar.NewOptions(max(total.Accepted, 1), progressbar.OptionSetWriter(v.out), progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	}
	v.bar.Describe(fmt.Sprintf("%d applied  %d superseded  %d failed", total.Applied, total.Superseded, total.Failed))
	return v.bar.Set(total.Accepted - total.Pending)
}

// failed shows a row that failed.
func (v *rateView) failed(row jobs.RatingFailure) error {
	if !v.human {
		return v.line(row)
	}
	_, err := fmt.Fprintf(v.out, "  row %d: message %s: %s\n", row.Row, row.MessageID, row.Reason)
	return err
}

// conclude says what came of all rows.
func (v *rateView) conclude(total ratingTotal) error {
	if !v.human {
		if total == v.last {
			return nil
		}
		return v.line(total)
	}
	_, err := fmt.Fprintf(v.out, "%d rows: %d applied, %d superseded, %d failed, %d rejected, %d pending\n",
		total.Rows, total.Applied, total.Superseded, total.Failed, total.Rejected, total.Pending)
	return err
}

func (v *rateView) line(value any) error {
	document, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return writeLine(v.out, document)
}

// close leaves the terminal in order.
func (v *rateView) close() {
	if v.bar != nil {
		_ = v.bar.Clear()
		v.bar = nil
	}
}
