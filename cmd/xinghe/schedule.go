package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"xinghe/shared/queue"
	"xinghe/shared/schedule"
)

// newScheduleCommand is "xinghe schedule".
func newScheduleCommand(getenv func(string) string) *cobra.Command {
	o, group := newOperatorGroup(getenv, "schedule", "Start exports at the times of a cron line; by NATS_URL and NATS_CREDS")
	group.AddCommand(o.newScheduleSetCommand(), o.newScheduleListCommand(), o.newScheduleRemoveCommand())
	return group
}

func (o *operator) newScheduleSetCommand() *cobra.Command {
	var cron, zone string
	cmd := &cobra.Command{
		Use:   `set NAME --cron "0 0 3 * * *" [--time-zone ZONE] SPEC.json`,
		Short: "Set a schedule, in the place of one of that name; - reads standard input", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := readSpec(cmd.InOrStdin(), args[1])
			if err != nil {
				return usageError(fmt.Errorf("read the spec: %w", err))
			}
			s, err := schedule.New(args[0], cron, zone, spec)
			if err != nil {
				return usageError(err)
			}
			return o.scheduled(func(all *schedule.Schedules) error {
				if err := all.Set(cmd.Context(), s); err != nil {
					if errors.Is(err, queue.ErrInvalid) { // a zone, say, that the server does not know
						return usageError(err)
					}
					return err
				}
				line, err := schedule.ParseLine(s.Cron, s.TimeZone)
				if err != nil {
					return err
				}
				return showNext(cmd.OutOrStdout(), o.json, s, line.Next(time.Now()))
			})
		},
	}
	cmd.Flags().StringVar(&cron, "cron", "", "six fields: second minute hour day month weekday")
	cmd.Flags().StringVar(&zone, "time-zone", schedule.DefaultZone, "time zone that the line is in, such as Asia/Shanghai")
	return cmd
}

func (o *operator) newScheduleListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List schedules: when each is due, and what became of the last time", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.scheduled(func(all *schedule.Schedules) error {
				list, err := all.List(cmd.Context(), time.Now())
				if err != nil {
					return err
				}
				return showSchedules(cmd.OutOrStdout(), o.json, list)
			})
		},
	}
}

func (o *operator) newScheduleRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a schedule; exports that it has started go on", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.scheduled(func(all *schedule.Schedules) error {
				err := all.Remove(cmd.Context(), args[0])
				if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrInvalid) {
					return fmt.Errorf("there is no schedule %q", args[0])
				}
				return err
			})
		},
	}
}

func (o *operator) scheduled(do func(*schedule.Schedules) error) error {
	return o.connected(func(q *queue.Queue) error {
		all, err := schedule.Open(q)
		if err != nil {
			return err
		}
		return do(all)
	})
}
