package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"xinghe/shared/faas"
	"xinghe/shared/telemetry"
)

// serveMetrics serves GET /metrics and GET /healthz on an address until ctx ends.
func serveMetrics(ctx context.Context, addr string, tele *telemetry.Telemetry) error {
	listener, err := faas.Listen(ctx, addr, "XINGHE_METRICS_ADDR")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", tele.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	})
	return faas.Serve(ctx, listener, mux, time.Second)
}
