// Package telemetry tells operators how workers and the local stack fare: metrics for
// Prometheus, and spans for OpenTelemetry. Functions do not use it: both would double their
// size and their cold start, and platforms count requests themselves.
//
//	tele, err := telemetry.New(ctx, telemetry.FromEnv(vars, "xinghe-workers"))
//	defer tele.Close()
//	q, err := queue.Open(conn, queue.Config{Observer: tele})
//	tele.Watch(q)
//	mux.Handle("GET /metrics", tele.Handler())
//
// # Metrics
//
//	xinghe_jobs_total{consumer,outcome}          calls of handlers: done, retried, snoozed, dead, stopped
//	xinghe_job_duration_seconds{consumer}        how long they took
//	xinghe_jobs_running{consumer}                how many run now, in this process
//	xinghe_requests_total{route,status}          requests answered, by the pattern of their route
//	xinghe_request_duration_seconds{route}       how long they took, streams to their end
//	xinghe_nats_up                               1 if NATS answered when it was asked for the next
//	xinghe_stream_messages{stream}, _bytes       what the streams of jobs, events and dead letters hold
//	xinghe_consumer_waiting{stream,consumer}     what a consumer has not been given yet
//	xinghe_consumer_unacknowledged{…}            what it was given and has not done, retries included
//	xinghe_usage_requests{key,bot}, _failures,   what was used since the beginning of the day (UTC), told by whoever
//	_input_tokens, _output_tokens,               runs the usage worker; the 200 pairs with the most requests by name
//	_throttled_seconds
//
// and what the Prometheus client tells of the process. Usage aside, whose bots callers name,
// no label holds what a caller could choose: users and messages stand in logs and events.
//
// # Traces
//
// Each job is a span, whose parent is the caller that the job carries (see package trace),
// and what a handler publishes belongs to its span. Spans go to the collector that
// OTEL_EXPORTER_OTLP_ENDPOINT names, by OTLP over HTTP; without it there are none.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
)

// Config says what is told where.
type Config struct {
	// Service is the name by which spans know the program.
	Service string
	// Collector is the address of an OpenTelemetry collector, such as
	// http://127.0.0.1:4318; empty for no traces.
	Collector string
}

// FromEnv reads OTEL_EXPORTER_OTLP_ENDPOINT. OpenTelemetry's SDK reads the rest of what the
// standard names, such as OTEL_EXPORTER_OTLP_HEADERS and OTEL_TRACES_SAMPLER, by itself.
func FromEnv(vars *env.Vars, service string) Config {
	return Config{Service: service, Collector: vars.URL("OTEL_EXPORTER_OTLP_ENDPOINT", "")}
}

// Telemetry gathers what it is told. It is safe for concurrent use.
type Telemetry struct {
	registry *prometheus.Registry
	spans    *sdk.TracerProvider // nil without a collector
	shutdown func() error

	jobs        *prometheus.CounterVec
	running     *prometheus.GaugeVec
	jobTime     *prometheus.HistogramVec
	requests    *prometheus.CounterVec
	requestTime *prometheus.HistogramVec
}

// New makes the metrics, and begins to send spans if there is a collector. It does not wait
// for the network.
func New(ctx context.Context, cfg Config) (*Telemetry, error) {
	t := &Telemetry{
		registry: prometheus.NewRegistry(),
		jobs:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xinghe_jobs_total", Help: "Calls of handlers by what became of the job."}, []string{"consumer", "outcome"}),
		running:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "xinghe_jobs_running", Help: "Jobs that run in this process."}, []string{"consumer"}),
		jobTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xinghe_job_duration_seconds", Help: "How long calls of handlers took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"consumer"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xinghe_requests_total", Help: "Requests answered."}, []string{"route", "status"}),
		requestTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xinghe_request_duration_seconds", Help: "How long requests took, streams to their end.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"route"}),
	}
	t.registry.MustRegister(t.jobs, t.running, t.jobTime, t.requests, t.requestTime,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t.shutdown = func() error { return nil }
	if cfg.Collector == "" {
		return t, nil
	}
	var err error
	if t.spans, err = newSpans(ctx, cfg); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	t.shutdown = func() error {
		ctx, cancel := context.WithTimeout(ctx, closeWithin)
		defer cancel()
		if err := t.spans.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("send the last spans: %w", err)
		}
		return nil
	}
	return t, nil
}

// closeWithin is how long spans that are not sent yet may take.
const closeWithin = 2 * time.Second

// Close sends the last spans.
func (t *Telemetry) Close() error { return t.shutdown() }

// Handler serves the metrics in the format of Prometheus.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{Registry: t.registry})
}

// Request counts a request that has been answered; it is for httpapi.Config.Observe.
func (t *Telemetry) Request(o httpapi.Observation) {
	route := o.Route
	if route == "" {
		route = "none" // paths of strangers are not counted by name
	}
	t.requests.WithLabelValues(route, strconv.Itoa(o.Status)).Inc()
	t.requestTime.WithLabelValues(route).Observe(o.Took.Seconds())
}

// Begin implements [queue.Observer].
func (t *Telemetry) Begin(ctx context.Context, job *queue.Delivery) (context.Context, func(queue.Outcome, error)) {
	consumer, began := job.Consumer(), time.Now()
	t.running.WithLabelValues(consumer).Inc()
	ctx, end := t.span(ctx, job)
	return ctx, func(outcome queue.Outcome, err error) {
		t.running.WithLabelValues(consumer).Dec()
		t.jobs.WithLabelValues(consumer, string(outcome)).Inc()
		t.jobTime.WithLabelValues(consumer).Observe(time.Since(began).Seconds())
		end(outcome, err)
	}
}
