// Package delivery is the worker that tells others what happens: it posts events to the
// addresses that are subscribed to them, after the Standard Webhooks specification.
//
// Each target has a durable consumer of its own on the stream of events, and a number of
// requests that may be under way: one that is slow or dead delays nobody else. An event that
// a target did not take becomes a job of that target, due after a while; the job carries the
// event, so what waits for hours holds up nothing that is new. Failures in a row make the
// target itself rest, and after hours without a success it is paused: both is known to all
// workers by a record in a bucket, see [jobs.Webhook].
//
// An event is delivered at least once and in no order. The id of a message is made from the
// event's and stays the same; its timestamp and signature are those of the attempt.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"xinghe/shared/egress"
	"xinghe/shared/env"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Config of the worker. Zero values mean the defaults.
type Config struct {
	// Queue brings the events and keeps what is known of targets. Required.
	Queue *queue.Queue
	// Source says who is subscribed to what, see [FromEnv]. nil: nobody, and the worker idles.
	Source *Source
	// Egress is the way to the targets: the ports and the exceptions.
	Egress egress.Config
	// Timeout bounds an attempt. Default 15 s.
	Timeout time.Duration
	// Retries are the times between attempts: one more attempt than there are times.
	// Default: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, as the specification
	// advises. Each is made up to a tenth longer or shorter by chance.
	Retries []time.Duration
	// RestAfter is how many failures in a row make a target rest. Default 20.
	RestAfter int
	// Rest is how long, by how often it had to already. Default: 5 s, doubling up to 5 min.
	Rest func(times int) time.Duration
	// PauseAfter is how long nothing may have succeeded before a target is paused. Default
	// 12 h.
	PauseAfter time.Duration
	// ResumeAfter is how long a pause is: then one event is tried, and the pause goes on if
	// that fails. Default 6 h.
	ResumeAfter time.Duration
	// LogRetention is how long attempts are remembered. Default 72 h.
	LogRetention time.Duration
	// Recheck bounds how long anything sleeps that waits for a time: the clock is asked
	// again then. Default 1 h.
	Recheck time.Duration
	// AckWait is how long after the death of a worker its events are delivered by another
	// one. Default 10 s.
	AckWait time.Duration
	// Drain is how long requests under way may take at shutdown. Default 20 s.
	Drain time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// FromEnv reads XINGHE_WEBHOOKS or XINGHE_WEBHOOKS_FILE, XINGHE_WEBHOOK_TIMEOUT,
// XINGHE_WEBHOOK_RETRIES, XINGHE_WEBHOOK_PAUSE_AFTER, XINGHE_WEBHOOK_RESUME_AFTER,
// XINGHE_WEBHOOK_LOG_RETENTION, XINGHE_WEBHOOK_PORTS and XINGHE_ALLOW_HOSTS. Queue is
// for the caller to add.
func FromEnv(vars *env.Vars) Config {
	cfg := Config{
		Egress:       egress.FromEnv(vars),
		Timeout:      vars.Duration("XINGHE_WEBHOOK_TIMEOUT", 0),
		PauseAfter:   vars.Duration("XINGHE_WEBHOOK_PAUSE_AFTER", 0),
		ResumeAfter:  vars.Duration("XINGHE_WEBHOOK_RESUME_AFTER", 0),
		LogRetention: vars.Duration("XINGHE_WEBHOOK_LOG_RETENTION", 0),
	}
	for _, text := range vars.List("XINGHE_WEBHOOK_RETRIES") {
		after, err := time.ParseDuration(text)
		if err != nil || after <= 0 || after > maxWait {
			vars.Fault("XINGHE_WEBHOOK_RETRIES", fmt.Errorf("%q is no time span such as 30s or 2h, up to %s", text, maxWait))
		}
		cfg.Retries = append(cfg.Retries, after)
	}
	for _, text := range vars.List("XINGHE_WEBHOOK_PORTS") {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			vars.Fault("XINGHE_WEBHOOK_PORTS", fmt.Errorf("%q is no port", text))
		}
		cfg.Egress.Ports = append(cfg.Egress.Ports, uint16(port))
	}
	source, err := SourceFromEnv(vars, cfg.Egress)
	cfg.Source = source
	vars.Fault("XINGHE_WEBHOOKS", err)
	return cfg
}

func (c Config) withDefaults() Config {
	for field, def := range map[*time.Duration]time.Duration{
		&c.Timeout: 15 * time.Second, &c.PauseAfter: 12 * time.Hour, &c.ResumeAfter: 6 * time.Hour,
		&c.LogRetention: 72 * time.Hour, &c.Recheck: time.Hour, &c.Drain: 20 * time.Second,
	} {
		if *field == 0 {
			*field = def
		}
	}
	if len(c.Retries) == 0 {
		c.Retries = []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		}
	}
	if c.RestAfter <= 0 {
		c.RestAfter = 20
	}
	if c.Rest == nil {
		c.Rest = queue.ExponentialBackoff(5*time.Second, 5*time.Minute)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	// The answer is hardly read. Where an address has moved is for those to say who gave it.
	c.Egress.Timeout, c.Egress.AnswerTimeout, c.Egress.Redirects, c.Egress.MaxBytes = c.Timeout, c.Timeout, -1, 1<<40
	return c
}

// retry is the time until the next attempt after so many have failed, or 0 if there is none.
func (c Config) retry(failed int) time.Duration {
	if failed > len(c.Retries) {
		return 0
	}
	after := float64(c.Retries[failed-1])
	return max(time.Duration(after*(0.9+0.2*rand.Float64())), 1)
}

// Worker delivers events.
type Worker struct {
	cfg     Config
	targets *queue.Store[jobs.Webhook]
	log     *queue.Store[jobs.DeliveryLog]
	healths healths
}

// New makes a worker. It does not touch the network.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if cfg.Queue == nil {
		return nil, errors.New("delivery worker: Queue is required")
	}
	targets, err := queue.OpenStore[jobs.Webhook](cfg.Queue, jobs.BucketWebhooks, queue.StoreConfig{})
	if err != nil {
		return nil, fmt.Errorf("delivery worker: %w", err)
	}
	log, err := queue.OpenStore[jobs.DeliveryLog](cfg.Queue, jobs.BucketDeliveries, queue.StoreConfig{TTL: cfg.LogRetention})
	if err != nil {
		return nil, fmt.Errorf("delivery worker: %w", err)
	}
	return &Worker{cfg: cfg, targets: targets, log: log}, nil
}

// Close does nothing: Run leaves nothing open.
func (w *Worker) Close() error { return nil }

// wait sleeps for d, but no longer than Config.Recheck, until changed is closed or ctx ends.
func (w *Worker) wait(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(min(d, w.cfg.Recheck))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
	}
}
