// The command line of users and operators: exports, against any deployment.
//
//	xinghe export start [-wait] SPEC.json    start an export; - reads standard input
//	xinghe export show ID                    print the state of one
//
// XINGHE_URL is the address of the history-export function, XINGHE_KEY the key. Each answer
// is one line of JSON. Exit codes: 0 done or under way, 1 failed, 2 usage, 3 partial.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"time"

	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/sign"
)

const usage = `usage:
  xinghe export start [-wait] SPEC.json    start an export; - reads standard input
  xinghe export show ID                    print the state of one

XINGHE_URL is the address of the history-export function, XINGHE_KEY the key.
`

// pollEvery is how often a waiting command asks.
const pollEvery = 500 * time.Millisecond

// errUsage has been explained already.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	vars := env.New(getenv)
	c := client{url: vars.URL("XINGHE_URL", "http://127.0.0.1:8787"), key: vars.Secret("XINGHE_KEY"), out: stdout}
	err := vars.Err()
	var state jobs.State
	if err == nil {
		state, err = c.command(ctx, args, stdin, stderr)
	}
	switch {
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprint(stderr, usage)
		return 2
	case err != nil:
		_, _ = fmt.Fprintln(stderr, sign.RedactError(err))
		return 1
	case state == jobs.StatePartial:
		return 3
	case state == jobs.StateFailed, state == jobs.StateCancelled:
		return 1
	}
	return 0
}

type client struct {
	url string
	key sign.Secret
	out io.Writer
}

func (c client) command(ctx context.Context, args []string, stdin io.Reader, stderr io.Writer) (jobs.State, error) {
	if len(args) < 2 || args[0] != "export" {
		return "", errUsage
	}
	flags := flag.NewFlagSet("xinghe export", flag.ContinueOnError)
	flags.SetOutput(stderr)
	wait := flags.Bool("wait", false, "wait for the export's end")
	if flags.Parse(args[2:]) != nil || flags.NArg() != 1 {
		return "", errUsage
	}
	switch args[1] {
	case "start":
		return c.start(ctx, flags.Arg(0), stdin, *wait)
	case "show":
		export, err := c.call(ctx, http.MethodGet, "/v1/exports/"+url.PathEscape(flags.Arg(0)), nil)
		return export.State, err
	}
	return "", errUsage
}

func (c client) start(ctx context.Context, path string, stdin io.Reader, wait bool) (jobs.State, error) {
	spec, err := io.ReadAll(stdin)
	if path != "-" {
		spec, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the spec: %w", err)
	}
	export, err := c.call(ctx, http.MethodPost, "/v1/exports", spec)
	for wait && err == nil && !export.State.Ended() {
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		export, err = c.call(ctx, http.MethodGet, "/v1/exports/"+export.ID, nil)
	}
	return export.State, err
}

// call makes a request and prints its answer as one line.
func (c client) call(ctx context.Context, method, path string, body []byte) (jobs.Export, error) {
	var export jobs.Export
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return export, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return export, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return export, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return export, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(answer))
	}
	if err := json.Unmarshal(answer, &export); err != nil {
		return export, fmt.Errorf("decode the answer: %w", err)
	}
	_, err = c.out.Write(append(bytes.TrimSpace(answer), '\n'))
	return export, err
}
