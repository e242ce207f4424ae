package telemetry

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xinghe/shared/usage"
)

// maxUsage is how many pairs of a key and a bot are told by name: bots are named by callers.
const maxUsage = 200

// otherUsage stands for the pairs beyond that, those with the fewest requests.
const otherUsage = "(other)"

// WatchUsage tells what was used since the beginning of the day (UTC), by key and bot, of
// the 200 pairs with the most requests; the others are added up.
func (t *Telemetry) WatchUsage(counts *usage.Usage) {
	t.registry.MustRegister(&used{read: counts.Read, now: time.Now})
}

// used is what the usage worker has counted, as last read.
type used struct {
	read func(ctx context.Context, first, last string) ([]usage.Row, error)
	now  func() time.Time

	mu    sync.Mutex
	asked time.Time
	rows  []usage.Row
}

var usageDescs = []*prometheus.Desc{
	prometheus.NewDesc("xinghe_usage_requests", "Chats of the day.", []string{"key", "bot"}, nil),
	prometheus.NewDesc("xinghe_usage_failures", "Chats of the day that failed.", []string{"key", "bot"}, nil),
	prometheus.NewDesc("xinghe_usage_input_tokens", "Input tokens of the day.", []string{"key", "bot"}, nil),
	prometheus.NewDesc("xinghe_usage_output_tokens", "Output tokens of the day.", []string{"key", "bot"}, nil),
	prometheus.NewDesc("xinghe_usage_throttled_seconds", "Seconds that chats of the day have waited.", []string{"key", "bot"}, nil),
}

// Describe implements prometheus.Collector.
func (u *used) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range usageDescs {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (u *used) Collect(to chan<- prometheus.Metric) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ask()
	for _, row := range u.rows {
		for i, value := range []float64{
			float64(row.Requests), float64(row.Failures), float64(row.InputTokens), float64(row.OutputTokens), float64(row.ThrottledMs) / 1000,
		} {
			to <- prometheus.MustNewConstMetric(usageDescs[i], prometheus.GaugeValue, value, row.Key, row.Bot)
		}
	}
}

func (u *used) ask() {
	if u.now().Sub(u.asked) < askEvery {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	today := usage.Day(u.now())
	rows, err := u.read(ctx, today, today)
	if err != nil {
		rows = nil // that NATS is away is told elsewhere
	}
	u.asked, u.rows = u.now(), bounded(rows)
}

// bounded keeps the rows with the most requests, and adds up the others.
func bounded(rows []usage.Row) []usage.Row {
	if len(rows) <= maxUsage {
		return rows
	}
	slices.SortStableFunc(rows, func(a, b usage.Row) int { return cmp.Compare(b.Requests, a.Requests) })
	rest := usage.Sum(rows[maxUsage:], usage.InAll)
	for i := range rest {
		rest[i].Key, rest[i].Bot = otherUsage, otherUsage
	}
	return append(slices.Clip(rows[:maxUsage]), rest...)
}
