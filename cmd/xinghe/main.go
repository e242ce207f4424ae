// The command line of users and operators, against any deployment.
//
//	xinghe export start --wait SPEC.json    start an export and follow it to its end
//	xinghe export verify ID                 read an export again and prove it
//	xinghe help                             show all commands
//
// --url or XINGHE_URL is the address of the functions, XINGHE_KEY or XINGHE_KEY_FILE holds
// the key. On a terminal answers are made for reading, elsewhere each is one line of JSON.
// Exit codes: 0 done or under way, 1 failed, 2 usage, 3 partial.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"xinghe/shared/env"
	"xinghe/shared/sign"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitPartial = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := newClient()
	defer c.close()
	root := newRootCommand(c, getenv) //nolint:contextcheck // ExecuteContext hands it to the commands
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted; what the deployment has accepted goes on")
	}
	outcome, ok := errors.AsType[*outcomeError](err)
	if !ok {
		outcome = &outcomeError{code: exitFailed, err: err}
	}
	if outcome.err != nil {
		_, _ = fmt.Fprintln(stderr, "xinghe:", sign.RedactError(err))
	}
	return outcome.code
}

func newRootCommand(c *client, getenv func(string) string) *cobra.Command {
	root := newGroup("xinghe", "Exports, ratings and pictures of a Xinghe deployment")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	address := root.PersistentFlags().String("url", "", "address of the functions (default XINGHE_URL, or http://127.0.0.1:8787)")
	keyFile := root.PersistentFlags().String("key-file", "", "file that holds the key (default XINGHE_KEY, or the file XINGHE_KEY_FILE)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		vars := env.New(flagged(getenv, *address, *keyFile))
		c.address, c.key = vars.URL("XINGHE_URL", "http://127.0.0.1:8787"), vars.Secret("XINGHE_KEY")
		return usageError(vars.Err())
	}
	root.AddCommand(newExportCommand(c))
	root.AddCommand(newRateCommand(c))
	root.AddCommand(newImageCommand(c))
	root.AddCommand(newDeadLettersCommand(getenv))
	root.AddCommand(newScheduleCommand(getenv))
	root.AddCommand(newUsageCommand(getenv))
	root.AddCommand(newUserCommand(getenv))
	root.AddCommand(newWebhooksCommand(getenv))
	root.AddCommand(newDoctorCommand(getenv))
	return root
}

// flagged puts flags in the place of the variables that they stand for.
func flagged(getenv func(string) string, address, keyFile string) func(string) string {
	return func(name string) string {
		switch {
		case name == "XINGHE_URL" && address != "":
			return address
		case name == "XINGHE_KEY" && keyFile != "":
			return ""
		case name == "XINGHE_KEY_FILE" && keyFile != "":
			return keyFile
		}
		return getenv(name)
	}
}

// newGroup is a command that only has others below it.
func newGroup(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("%s: there is no command %q; see %[1]s --help", cmd.CommandPath(), args[0]))
			}
			cmd.SetOut(cmd.ErrOrStderr())
			return errors.Join(cmd.Help(), usageError(fmt.Errorf("%s: which command?", cmd.CommandPath())))
		},
		Args: cobra.ArbitraryArgs,
	}
}

// exactly wants as many arguments as a command's use line names.
func exactly(count int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != count {
			return usageError(fmt.Errorf("usage: %s", cmd.UseLine()))
		}
		return nil
	}
}

// outcomeError ends a command with an exit code of its own. Without err everything has been
// said already.
type outcomeError struct {
	code int
	err  error
}

func (e *outcomeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *outcomeError) Unwrap() error { return e.err }

// usageError says that a command was called in a wrong way; nil stays nil.
func usageError(err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{code: exitUsage, err: err}
}
