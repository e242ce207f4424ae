package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

const (
	// lookEvery is how often the state of ratings is asked for.
	lookEvery = time.Second
	// sendTries is how often a batch is sent that gets no answer, or one that may change.
	sendTries = 6
)

// rateFlags are the flags of "xinghe rate".
type rateFlags struct {
	format, once string
	wait, dryRun bool
}

func newRateCommand(c *client) *cobra.Command {
	var flags rateFlags
	cmd := &cobra.Command{
		Use: "rate FILE", Short: "Rate messages by a file of CSV (messageId,rating,info), lines of JSON or JSON; - reads standard input",
		Long: "Rate messages by a file. Large files go out in several requests of up to 20,000 rows.\n" +
			"Rows are counted from 0; a header is none. Exit codes: 0 all rows applied, or superseded by a\n" +
			"later row of the same message; 1 none was; 2 usage; 3 some rows were rejected or have failed.",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			batches, err := openBatches(cmd.InOrStdin(), args[0], flags.format)
			if err != nil {
				return usageError(fmt.Errorf("read the ratings: %w", err))
			}
			r := rate{client: c, flags: flags, view: newRateView(cmd.OutOrStdout())}
			defer r.view.close()
			return r.run(cmd.Context(), batches)
		},
	}
	cmd.Flags().StringVar(&flags.format, "format", "", "csv, ndjson or json (default: by the file's name, else csv)")
	cmd.Flags().BoolVar(&flags.wait, "wait", true, "wait until all rows have ended")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "only check the rows")
	cmd.Flags().StringVar(&flags.once, "idempotency-key", "", "a word that makes repeating the command with the same file harmless")
	return cmd
}

func openBatches(stdin io.Reader, path, format string) ([]batch, error) {
	if path == "-" {
		return readBatches(stdin, cmp.Or(format, formatCSV))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return readBatches(bytes.NewReader(text), cmp.Or(format, formatOf(path)))
}

// rate is one run of the command.
type rate struct {
	client *client
	flags  rateFlags
	view   *rateView
	sent   []sentBatch
	total  ratingTotal
}

// sentBatch is a batch that a deployment has taken.
type sentBatch struct {
	id    string
	first int
	state jobs.RatingState
}

// ratingTotal sums up what has become of a file's rows.
type ratingTotal struct {
	Rows       int `json:"rows"`
	Accepted   int `json:"accepted"`
	Rejected   int `json:"rejected"`
	Pending    int `json:"pending"`
	Applied    int `json:"applied"`
	Superseded int `json:"superseded"`
	Failed     int `json:"failed"`
}

func (r *rate) run(ctx context.Context, batches []batch) error {
	r.flags.once = cmp.Or(r.flags.once, rand.Text())
	for _, batch := range batches {
		r.total.Rows += batch.rows
	}
	for i, batch := range batches {
		if err := r.send(ctx, i, batch); err != nil {
			return err
		}
	}
	if r.flags.wait && !r.flags.dryRun {
		if err := r.await(ctx); err != nil {
			return err
		}
	}
	r.view.close()
	return errors.Join(r.view.conclude(r.total), r.outcome())
}

// outcome is the exit code.
func (r *rate) outcome() error {
	switch r.total.Rejected + r.total.Failed {
	case 0:
		return nil
	case r.total.Rows:
		return &outcomeError{code: exitFailed}
	}
	return &outcomeError{code: exitPartial}
}

// send posts a batch until it is known to be taken or refused: the key makes that harmless.
func (r *rate) send(ctx context.Context, number int, b batch) error {
	header := http.Header{"Content-Type": {b.contentType}, "Idempotency-Key": {fmt.Sprintf("%s-%d", r.flags.once, number)}}
	path := "/v1/ratings"
	if r.flags.dryRun {
		path += "?dryRun=true"
		header.Del("Idempotency-Key")
	}
	var answer struct {
		ID                      string
		Accepted, RejectedCount int
		Rejected                []rejectedRow
	}
	for try := 1; ; try++ {
		_, err := r.client.call(ctx, request{method: http.MethodPost, path: path, body: b.body, header: header}, &answer)
		if err == nil {
			break
		}
		wait, again := r.again(err, try)
		if !again {
			return fmt.Errorf("rows %d to %d: %w", b.first, b.first+b.rows-1, err)
		}
		if err := queue.Pause(ctx, wait); err != nil {
			return err
		}
	}
	r.total.Accepted += answer.Accepted
	r.total.Rejected += answer.RejectedCount
	if !r.flags.dryRun {
		r.sent = append(r.sent, sentBatch{id: answer.ID, first: b.first})
		r.total.Pending += answer.Accepted
	}
	for i := range answer.Rejected {
		answer.Rejected[i].Row += b.first
	}
	return r.view.accepted(answer.ID, answer.Accepted, answer.RejectedCount, answer.Rejected)
}

// again reports whether and when a call that failed may succeed.
func (r *rate) again(err error, try int) (time.Duration, bool) {
	if _, wrong := errors.AsType[*outcomeError](err); wrong || try >= sendTries {
		return 0, false
	}
	wait := r.client.backoff(try)
	no, ok := errors.AsType[*refusal](err)
	if !ok {
		return wait, true
	}
	underWay := no.status == http.StatusConflict && no.retryAfter > 0
	return max(wait, no.retryAfter), underWay || no.temporary()
}

// await follows the batches to their end, and shows the rows that failed.
func (r *rate) await(ctx context.Context) error {
	for failures := 0; ; {
		err := r.look(ctx)
		failures++
		if err == nil {
			failures = 0
		} else if _, again := r.again(err, failures); !again {
			return err
		}
		if err := r.view.progress(r.total); err != nil {
			return err
		}
		if err == nil && r.total.Pending == 0 {
			return r.showFailed(ctx)
		}
		if err := queue.Pause(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// look asks for the state of the batches that have not ended.
func (r *rate) look(ctx context.Context) error {
	for i := range r.sent {
		if r.sent[i].state.State == jobs.StateDone {
			continue
		}
		var state jobs.RatingState
		if _, err := r.client.call(ctx, request{method: http.MethodGet, path: ratingPath(r.sent[i].id)}, &state); err != nil {
			return err
		}
		r.sent[i].state = state
	}
	total := ratingTotal{Rows: r.total.Rows, Accepted: r.total.Accepted, Rejected: r.total.Rejected}
	for _, sent := range r.sent {
		total.Pending += sent.state.Pending
		total.Applied += sent.state.Applied
		total.Superseded += sent.state.Superseded
		total.Failed += sent.state.FailedCount
	}
	r.total = total
	return nil
}

func ratingPath(id string) string { return "/v1/ratings/" + url.PathEscape(id) }

// showFailed prints the rows that failed, of which the state names the first only.
func (r *rate) showFailed(ctx context.Context) error {
	r.view.close()
	for _, sent := range r.sent {
		if sent.state.FailedCount == 0 {
			continue
		}
		results, err := r.client.call(ctx, request{
			method: http.MethodGet, path: ratingPath(sent.id) + "/results", header: http.Header{"Accept": {"application/x-ndjson"}},
		}, nil)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(results) {
			var row struct {
				jobs.RatingFailure
				Outcome string
			}
			if err := json.Unmarshal(line, &row); err != nil {
				return fmt.Errorf("decode a result: %w", err)
			}
			if row.Outcome != jobs.RatingFailed {
				continue
			}
			row.Row += sent.first
			if err := r.view.failed(row.RatingFailure); err != nil {
				return err
			}
		}
	}
	return nil
}
