package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xinghe/shared/queue"
	"xinghe/shared/usage"
)

// maxSince is for how many days there may be counts.
const maxSince = int(usage.Retention / (24 * time.Hour))

// dimensions are the words of --by.
var dimensions = map[string]usage.Dimension{
	"":    func(r usage.Row) usage.Row { r.Counts = usage.Counts{}; return r },
	"day": usage.ByDay, "key": usage.ByKey, "bot": usage.ByBot,
}

// newUsageCommand is "xinghe usage".
func newUsageCommand(getenv func(string) string) *cobra.Command {
	o, cmd := newOperatorGroup(getenv, "usage", "Tell requests, failures, tokens and throttled time per day, key and bot; by NATS_URL and NATS_CREDS")
	var since, by string
	cmd.Args = exactly(0)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		days, err := parseDays(since)
		if err != nil {
			return usageError(err)
		}
		dimension, ok := dimensions[by]
		if !ok {
			return usageError(fmt.Errorf("--by %q: none of day, key, bot", by))
		}
		return o.connected(func(q *queue.Queue) error {
			all, err := usage.Open(q)
			if err != nil {
				return err
			}
			now := time.Now()
			rows, err := all.Read(cmd.Context(), usage.Day(now.UTC().AddDate(0, 0, 1-days)), usage.Day(now))
			if err != nil {
				return err
			}
			return showUsage(cmd.OutOrStdout(), o.json, usage.Sum(rows, dimension))
		})
	}
	cmd.Flags().StringVar(&since, "since", "7d", "how many days of UTC, today included")
	cmd.Flags().StringVar(&by, "by", "", "add up by day, key or bot")
	return cmd
}

// parseDays reads a number of days such as 7d.
func parseDays(text string) (int, error) {
	number, ok := strings.CutSuffix(text, "d")
	days, err := strconv.Atoi(number)
	if !ok || err != nil || days < 1 || days > maxSince {
		return 0, fmt.Errorf("--since %q: want 1d to %dd", text, maxSince)
	}
	return days, nil
}
