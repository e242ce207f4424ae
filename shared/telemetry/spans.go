package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"

	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/trace"
)

func newSpans(ctx context.Context, cfg Config) (*sdk.TracerProvider, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(cfg.Collector+"/v1/traces"))
	if err != nil {
		return nil, fmt.Errorf("prepare to send spans: %w", err)
	}
	return sdk.NewTracerProvider(
		sdk.WithBatcher(exporter),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", cfg.Service))),
	), nil
}

// span begins the span of a job, whose parent is the caller that it carries. What the
// context is handed to belongs to the span.
func (t *Telemetry) span(ctx context.Context, job *queue.Delivery) (context.Context, func(queue.Outcome, error)) {
	if t.spans == nil {
		return ctx, func(queue.Outcome, error) {}
	}
	caller := propagation.MapCarrier{trace.Header: string(trace.From(ctx))}
	ctx = propagation.TraceContext{}.Extract(ctx, caller)
	ctx, span := t.spans.Tracer("xinghe/shared/queue").Start(ctx, job.Consumer(), otel.WithSpanKind(otel.SpanKindConsumer), otel.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", job.Stream),
		attribute.String("messaging.message.id", job.ID), attribute.Int("xinghe.attempt", job.Attempt),
	))
	own := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, own)
	if parent, ok := trace.Parse(own[trace.Header]); ok {
		ctx = trace.With(ctx, parent)
	}
	return ctx, func(outcome queue.Outcome, err error) {
		span.SetAttributes(attribute.String("xinghe.outcome", string(outcome)))
		if outcome == queue.OutcomeRetried || outcome == queue.OutcomeDead {
			span.SetStatus(codes.Error, sign.Redact(err.Error()))
		}
		span.End()
	}
}
