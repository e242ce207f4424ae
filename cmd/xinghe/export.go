package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"xinghe/shared/jobs"
	"xinghe/shared/sse"
)

// newExportCommand is "xinghe export".
func newExportCommand(c *client) *cobra.Command {
	group := newGroup("export", "Start, follow, prove and end exports of chat histories")
	group.AddCommand(
		newStartCommand(c), newWatchCommand(c), newListCommand(c), newShowCommand(c),
		newCancelCommand(c), newResumeCommand(c), newVerifyCommand(c), newDownloadCommand(c),
	)
	return group
}

func newStartCommand(c *client) *cobra.Command {
	var wait bool
	var once string
	cmd := &cobra.Command{
		Use: "start SPEC.json", Short: "Start an export; - reads the spec from standard input", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := readSpec(cmd.InOrStdin(), args[0])
			if err != nil {
				return usageError(fmt.Errorf("read the spec: %w", err))
			}
			r := request{method: http.MethodPost, path: "/v1/exports", body: spec, header: http.Header{}}
			if once != "" {
				r.header.Set("Idempotency-Key", once)
			}
			return c.begin(cmd.Context(), cmd.OutOrStdout(), r, wait)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the export to its end")
	cmd.Flags().StringVar(&once, "idempotency-key", "", "a word that makes a repeated start the same export")
	return cmd
}

func readSpec(stdin io.Reader, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

func newResumeCommand(c *client) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "resume ID", Short: "Go on with an export that failed, is partial or was cancelled", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := request{method: http.MethodPost, path: exportPath(args[0]) + "/resume"}
			return c.begin(cmd.Context(), cmd.OutOrStdout(), r, wait)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "follow the export to its end")
	return cmd
}

// begin makes a request by which an export gets under way, and follows it if asked to.
func (c *client) begin(ctx context.Context, out io.Writer, r request, wait bool) error {
	var export jobs.Export
	body, err := c.call(ctx, r, &export)
	if err != nil {
		return err
	}
	if err := writeDocument(out, body); err != nil || !wait {
		return err
	}
	return c.watch(ctx, out, export.ID)
}

func newWatchCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "watch ID", Short: "Follow an export to its end",
		Long: `Follow an export to its end.

What breaks off is taken up again where it was. After 15 tries in a row that brought
nothing it gives up: about two minutes after the deployment went away, or 9 to 17
minutes if it takes requests and says nothing. The export itself goes on: watch it
again. The same holds for --wait of start and resume.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.watch(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
}

// watch shows an export's progress until it has ended, which decides the exit code.
func (c *client) watch(ctx context.Context, out io.Writer, id string) error {
	var export jobs.Export
	view := newView(out)
	err := c.follow(ctx, exportPath(id)+"/events", func(event sse.Event) (bool, error) {
		export = jobs.Export{}
		if err := json.Unmarshal(event.Data, &export); err != nil {
			return false, fmt.Errorf("decode event %q: %w", event.ID, err)
		}
		return !export.State.Ended(), view.show(export, event.Data)
	})
	view.close()
	if err != nil {
		return err
	}
	return outcome(export.State)
}

// outcome is the exit code that a state stands for.
func outcome(state jobs.State) error {
	switch state {
	case jobs.StatePartial:
		return &outcomeError{code: exitPartial}
	case jobs.StateFailed, jobs.StateCancelled:
		return &outcomeError{code: exitFailed}
	}
	return nil
}

func newShowCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Print the state of an export", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var export jobs.Export
			body, err := c.call(cmd.Context(), request{method: http.MethodGet, path: exportPath(args[0])}, &export)
			if err != nil {
				return err
			}
			if err := writeDocument(cmd.OutOrStdout(), body); err != nil {
				return err
			}
			return outcome(export.State)
		},
	}
}

func newCancelCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "End an export early; the parts so far are kept", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := c.call(cmd.Context(), request{method: http.MethodPost, path: exportPath(args[0]) + "/cancel"}, nil)
			if err != nil {
				return err
			}
			return writeDocument(cmd.OutOrStdout(), body)
		},
	}
}

func newListCommand(c *client) *cobra.Command {
	var state string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List exports, the newest first", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			table := newTable(cmd.OutOrStdout())
			defer table.close()
			return c.list(cmd.Context(), state, limit, table.add)
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "only those that are queued, running, done, partial, failed or cancelled")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0 for all")
	return cmd
}

// list calls each with exports of a state, or all, until there are limit or no more.
func (c *client) list(ctx context.Context, state string, limit int, each func(export []byte) error) error {
	query := url.Values{}
	if state != "" {
		query.Set("state", state)
	}
	for left := limit; ; {
		query.Set("limit", strconv.Itoa(pageOf(left)))
		var page struct {
			Exports    []json.RawMessage
			NextCursor string
		}
		if _, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/exports?" + query.Encode()}, &page); err != nil {
			return err
		}
		for _, body := range page.Exports {
			if err := each(body); err != nil {
				return err
			}
		}
		left -= len(page.Exports)
		if page.NextCursor == "" || limit > 0 && left <= 0 {
			return nil
		}
		query.Set("cursor", page.NextCursor)
	}
}

// pageOf is how many exports to ask for at once.
func pageOf(left int) int {
	const most = 200
	if left <= 0 {
		return most
	}
	return min(left, most)
}

// table shows exports, a line each.
type table struct {
	out     io.Writer
	columns *tabwriter.Writer // nil where nobody reads along
}

func newTable(out io.Writer) *table {
	t := &table{out: out}
	if isTerminal(out) {
		t.columns = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t.columns, "ID\tNAME\tSTATE\tWINDOWS\tROWS\tCREATED")
	}
	return t
}

func (t *table) add(body []byte) error {
	if t.columns == nil {
		return writeLine(t.out, body)
	}
	var e jobs.Export
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("decode export: %w", err)
	}
	_, err := fmt.Fprintf(t.columns, "%s\t%s\t%s\t%d/%d\t%d\t%s\n", e.ID, e.Name, cmp.Or(e.State, "?"),
		e.Progress.WindowsDone, e.Progress.Windows, e.Progress.Rows, e.CreatedAt.Local().Format(time.DateTime))
	return err
}

func (t *table) close() {
	if t.columns != nil {
		_ = t.columns.Flush()
	}
}

func exportPath(id string) string { return "/v1/exports/" + url.PathEscape(id) }
