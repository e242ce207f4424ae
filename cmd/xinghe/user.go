package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"xinghe/shared/env"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
	"xinghe/shared/sink/chain"
	"xinghe/shared/userdata"
)

// keeper talks straight to NATS and to the sink, where users' data lie.
type keeper struct {
	getenv  func(string) string
	timeout time.Duration
	json    bool
	user    userdata.User
}

// newUserCommand is "xinghe user".
func newUserCommand(getenv func(string) string) *cobra.Command {
	k := &keeper{getenv: getenv}
	group := newGroup("user", "Hand out or erase what is held about a user; by NATS_URL, NATS_CREDS and XINGHE_SINK")
	flags := group.PersistentFlags()
	flags.BoolVar(&k.json, "json", false, "print the report as a line of JSON, on a terminal too")
	flags.DurationVar(&k.timeout, "timeout", 5*time.Second, "how long NATS may take for each step")
	flags.StringVar(&k.user.Bot, "bot", "", `only what the user has had with this bot, as in "character:<id>" (default: all)`)
	// Nothing here asks the functions, so their settings are not checked.
	group.PersistentPreRunE = func(*cobra.Command, []string) error {
		if k.timeout < time.Millisecond {
			return usageError(fmt.Errorf("--timeout %s: at least 1ms", k.timeout))
		}
		return nil
	}
	group.AddCommand(k.newExportCommand(), k.newEraseCommand())
	return group
}

func (k *keeper) newExportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export USER --out FOLDER", Short: "Copy all that is held about a user to a folder, with a report of what was found where", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := emptyFolder(out); err != nil {
				return usageError(err)
			}
			to, err := sink.NewFolder(out)
			if err != nil {
				return err
			}
			return k.held(cmd.Context(), args[0], func(h *userdata.Holder) error {
				report, err := h.Export(cmd.Context(), k.user, to)
				if err != nil {
					return err
				}
				return showReport(cmd.OutOrStdout(), k.json, "found", report)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder that the copy goes to; it must be empty or not exist")
	return cmd
}

// emptyFolder refuses to mix the data of one user with anything else.
func emptyFolder(name string) error {
	if name == "" {
		return errors.New("--out is missing: the folder that the copy goes to")
	}
	entries, err := os.ReadDir(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--out: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("--out %s: there is something in it already", name)
	}
	return nil
}

func (k *keeper) newEraseCommand() *cobra.Command {
	var dry, yes bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "erase USER --yes | --dry-run", Short: "Erase all that is held about a user, with a report of what was found where", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dry == yes {
				return usageError(errors.New("--dry-run tells what would be erased, --yes erases it: give one of them"))
			}
			return k.held(cmd.Context(), args[0], func(h *userdata.Holder) error {
				if dry {
					report, err := h.Find(cmd.Context(), k.user)
					if err != nil {
						return err
					}
					return showReport(cmd.OutOrStdout(), k.json, "would be erased", report)
				}
				return k.erase(cmd, h, wait)
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "tell what would be erased, and erase nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm that it is to be erased for good")
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for jobs of the user that are under way (default: not at all)")
	return cmd
}

func (k *keeper) erase(cmd *cobra.Command, h *userdata.Holder, wait time.Duration) error {
	ctx, deadline := cmd.Context(), time.Now().Add(wait)
	for {
		report, err := h.Erase(ctx, k.user)
		switch {
		case errors.Is(err, userdata.ErrBusy) && time.Now().Before(deadline):
			if err := queue.Pause(ctx, time.Second); err != nil {
				return err
			}
			continue
		case errors.Is(err, userdata.ErrBusy):
			return fmt.Errorf("nothing was erased: %w: %s; wait for them with --wait, or cancel them", err, sentence(report.Busy))
		case err != nil:
			return fmt.Errorf("%w; run the command again to complete it", err)
		}
		if err := showReport(cmd.OutOrStdout(), k.json, "erased", report); err != nil {
			return err
		}
		if len(report.Left) > 0 || len(report.Busy) > 0 {
			return &outcomeError{code: exitPartial, err: errors.New("something about the user is there still, see the report")}
		}
		return nil
	}
}

// held calls do with what reaches streams, buckets and files.
func (k *keeper) held(ctx context.Context, user string, do func(h *userdata.Holder) error) error {
	k.user.ID = user
	if err := k.user.Check(); err != nil {
		return usageError(err)
	}
	vars := env.New(k.getenv)
	conn := queue.FromEnv(vars, "xinghe", zerolog.Nop())
	files := chain.FromEnv(ctx, vars)
	if vars.String("XINGHE_SINK", "") == "" {
		// Workers of another machine have their files elsewhere, and so none would be found here.
		folder := filepath.Join(vars.String("XINGHE_DATA", ".xinghe"), "exports")
		if _, err := os.Stat(folder); err != nil {
			vars.Fault("XINGHE_SINK", fmt.Errorf("missing, and there is no folder %s: where do the workers write to?", folder))
		}
	}
	if err := vars.Err(); err != nil {
		return usageError(err)
	}
	conn.Timeout = min(k.timeout, 2*time.Second)
	nc, err := queue.Connect(conn)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := reach(ctx, nc, k.timeout); err != nil {
		return fmt.Errorf("NATS does not answer, see NATS_URL and NATS_CREDS: %w", err)
	}
	holder, err := userdata.New(userdata.Config{Conn: nc, Sink: files, Timeout: k.timeout})
	if err != nil {
		return err
	}
	return do(holder)
}

// reach waits for the connection, which is made in the background.
func reach(ctx context.Context, nc *nats.Conn, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := nc.FlushWithContext(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(err, nc.LastError())
		}
		if err := queue.Pause(ctx, 20*time.Millisecond); err != nil {
			return errors.Join(err, nc.LastError())
		}
	}
}
