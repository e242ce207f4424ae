package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"xinghe/shared/env"
	"xinghe/shared/queue"
)

// operator talks straight to NATS, where dead letters, schedules and usage lie.
type operator struct {
	getenv  func(string) string
	timeout time.Duration
	json    bool
}

// newDeadLettersCommand is "xinghe dead-letters".
func newDeadLettersCommand(getenv func(string) string) *cobra.Command {
	o, group := newOperatorGroup(getenv, "dead-letters", "Look at jobs that failed for good, retry or drop them; by NATS_URL and NATS_CREDS")
	group.AddCommand(
		o.newListCommand(), o.newShowCommand(),
		o.newChangeCommand("retry", "retried", "Publish the jobs of dead letters again", (*queue.Queue).RetryDead),
		o.newChangeCommand("drop", "dropped", "Remove dead letters for good", (*queue.Queue).DropDead),
	)
	return group
}

// newOperatorGroup is a group of commands for operators.
func newOperatorGroup(getenv func(string) string, use, short string) (*operator, *cobra.Command) {
	o := &operator{getenv: getenv}
	group := newGroup(use, short)
	group.PersistentFlags().BoolVar(&o.json, "json", false, "print lines of JSON, on a terminal too")
	group.PersistentFlags().DurationVar(&o.timeout, "timeout", 5*time.Second, "how long NATS may take for each step")
	// Nothing here asks the functions, so their settings are not checked.
	group.PersistentPreRunE = func(*cobra.Command, []string) error {
		if o.timeout < time.Millisecond {
			return usageError(fmt.Errorf("--timeout %s: at least 1ms", o.timeout))
		}
		return nil
	}
	return o, group
}

// connected calls do with a queue, and says what is wrong if NATS is away.
func (o *operator) connected(do func(q *queue.Queue) error) error {
	vars := env.New(o.getenv)
	conn := queue.FromEnv(vars, "xinghe", zerolog.Nop())
	if err := vars.Err(); err != nil {
		return usageError(err)
	}
	conn.Timeout = min(o.timeout, 2*time.Second) // closing waits for it
	q, err := queue.Open(conn, queue.Config{Timeout: o.timeout})
	if err != nil {
		return err
	}
	defer q.Close()
	err = do(q)
	if _, missing := errors.AsType[*queue.MissingStreamError](err); !missing && errors.Is(err, queue.ErrUnavailable) {
		return fmt.Errorf("NATS does not answer, see NATS_URL and NATS_CREDS: %w", err)
	}
	return err
}

func (o *operator) newListCommand() *cobra.Command {
	var subject string
	var limit int
	var after uint64
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, the oldest first", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(checkFilter(subject), checkLimit(limit)); err != nil {
				return usageError(err)
			}
			return o.connected(func(q *queue.Queue) error {
				view := newLetterView(cmd.OutOrStdout(), o.json)
				next, err := listLetters(cmd.Context(), q, subject, after, limit, view)
				err = errors.Join(err, view.close())
				if err == nil && next > 0 {
					_, err = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --after %d\n", next)
				}
				return err
			})
		},
	}
	addSubject(cmd, &subject)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0 for all")
	cmd.Flags().Uint64Var(&after, "after", 0, "only those that come after this number")
	return cmd
}

// listLetters shows dead letters. It returns where the next page begins, or 0 if there is none.
func listLetters(ctx context.Context, q *queue.Queue, subject string, after uint64, limit int, view *letterView) (next uint64, err error) {
	count := 0
	for letter, err := range q.DeadLettersAfter(ctx, subject, after) {
		if err != nil {
			return 0, err
		}
		if count++; limit > 0 && count > limit {
			return after, nil
		}
		if err := view.add(letter); err != nil {
			return 0, err
		}
		after = letter.Sequence
	}
	return 0, nil
}

func (o *operator) newShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NUMBER", Short: "Print a dead letter with all its attempts and its data", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sequences, err := parseSequences(args)
			if err != nil {
				return usageError(err)
			}
			return o.connected(func(q *queue.Queue) error {
				letter, err := q.DeadLetter(cmd.Context(), sequences[0])
				if err != nil {
					return err
				}
				return showLetter(cmd.OutOrStdout(), o.json, letter)
			})
		},
	}
}

// letterChange is a command that does something with dead letters, which are named by their
// numbers or all of a subject.
type letterChange struct {
	do      func(*queue.Queue, context.Context, uint64) error
	name    string // in the imperative
	done    string // its participle
	subject string
	all     bool
	yes     bool
}

func (o *operator) newChangeCommand(name, done, short string, do func(*queue.Queue, context.Context, uint64) error) *cobra.Command {
	c := &letterChange{do: do, name: name, done: done}
	cmd := &cobra.Command{
		Use: name + " NUMBER... | --all [--subject FILTER] --yes", Short: short,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			sequences, err := parseSequences(args)
			if err := errors.Join(err, c.check(cmd, args)); err != nil {
				return usageError(err)
			}
			return o.connected(func(q *queue.Queue) error { return o.apply(cmd, q, c, sequences) })
		},
	}
	addSubject(cmd, &c.subject)
	cmd.Flags().BoolVar(&c.all, "all", false, "all dead letters, or those that match --subject")
	cmd.Flags().BoolVar(&c.yes, "yes", false, "confirm --all; without it they are only counted")
	return cmd
}

func (c *letterChange) check(cmd *cobra.Command, args []string) error {
	switch {
	case c.all && len(args) > 0:
		return errors.New("numbers or --all, not both")
	case !c.all && len(args) == 0:
		return fmt.Errorf("usage: %s", cmd.UseLine())
	case !c.all && (c.subject != "" || c.yes):
		return errors.New("--subject and --yes go with --all")
	}
	return checkFilter(c.subject)
}

// apply changes what was there when it began: a job that dies once more meanwhile is left.
func (o *operator) apply(cmd *cobra.Command, q *queue.Queue, c *letterChange, sequences []uint64) error {
	ctx := cmd.Context()
	if c.all {
		for letter, err := range q.DeadLetters(ctx, c.subject) {
			if err != nil {
				return err
			}
			sequences = append(sequences, letter.Sequence)
		}
		if !c.yes {
			return usageError(fmt.Errorf("%d dead letters would be %s: confirm with --yes", len(sequences), c.done))
		}
	}
	failed := 0
	for i, sequence := range sequences {
		err := c.do(q, ctx, sequence)
		if errors.Is(err, queue.ErrUnavailable) || ctx.Err() != nil {
			return fmt.Errorf("%d of %d dead letters %s, then: %w", i-failed, len(sequences), c.done, errors.Join(err, ctx.Err()))
		}
		if err != nil {
			failed++
		}
		if err := showChange(cmd.OutOrStdout(), o.json, sequence, c.done, err); err != nil {
			return err
		}
	}
	switch {
	case failed == 0:
		return nil
	case failed < len(sequences):
		return &outcomeError{code: exitPartial, err: fmt.Errorf("%d of %d dead letters could not be %s", failed, len(sequences), c.done)}
	}
	return fmt.Errorf("no dead letter could be %s", c.done)
}

func addSubject(cmd *cobra.Command, subject *string) {
	cmd.Flags().StringVar(subject, "subject", "", `only jobs of this subject; "*" stands for one part and ">" for the rest, as in "xinghe.jobs.rating.>"`)
}

// checkFilter refuses what can match nothing.
func checkFilter(subject string) error {
	if subject == "" || subject == ">" {
		return nil
	}
	parts := strings.Split(subject, ".")
	for i, part := range parts {
		if part == "" || strings.ContainsAny(part, " \t\r\n") || len(part) > 1 && strings.ContainsAny(part, "*>") || part == ">" && i < len(parts)-1 {
			return fmt.Errorf("--subject %q: not a subject", subject)
		}
	}
	return nil
}

func checkLimit(limit int) error {
	if limit < 0 {
		return fmt.Errorf("--limit %d: below 0", limit)
	}
	return nil
}

func parseSequences(args []string) ([]uint64, error) {
	sequences := make([]uint64, 0, len(args))
	for _, arg := range args {
		sequence, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || sequence == 0 {
			return nil, fmt.Errorf("%q: not the number of a dead letter; list shows them", arg)
		}
		sequences = append(sequences, sequence)
	}
	return sequences, nil
}
