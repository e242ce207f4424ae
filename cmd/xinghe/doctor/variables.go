package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"xinghe/functions/chat/chatapi"
	"xinghe/functions/webhook/webhookapi"
	"xinghe/shared/env"
	"xinghe/shared/httpapi"
	"xinghe/shared/idempotency"
	"xinghe/shared/logs"
	"xinghe/shared/queue"
	"xinghe/workers/delivery"
	"xinghe/workers/image"
)

// reader reads variables as a function or a worker does at its start.
type reader struct {
	// standIns are values for what the program would not start without. That it is not set is
	// no fault here: it may be another program that is to run with these variables.
	standIns map[string]string
	read     func(ctx context.Context, vars *env.Vars) error
}

// readers are those of all functions and workers, and of the command line.
var readers = []reader{
	{read: program},
	{read: callers, standIns: map[string]string{"XINGHE_API_KEYS": "none"}},
	{read: conversations, standIns: map[string]string{"XINGCHEN_API_KEY": "none"}},
	{read: jetStream},
	{read: senders},
	{read: work},
	{read: storage},
	{read: ours},
}

// from reads through getenv, with the stand-ins for what is not set.
func (r reader) from(ctx context.Context, getenv func(string) string) error {
	vars := env.New(func(name string) string {
		value := getenv(name)
		if value == "" && getenv(name+"_FILE") == "" {
			value = r.standIns[name]
		}
		return value
	})
	err := r.read(ctx, vars)
	return errors.Join(vars.Err(), err)
}

// variables lets every reader read, and tells each fault once.
func variables(ctx context.Context, getenv func(string) string) Finding {
	began := time.Now()
	set := map[string]bool{}
	recorded := func(name string) string {
		value := getenv(name)
		if value != "" {
			set[name] = true
		}
		return value
	}
	var told []string
	for _, r := range readers {
		told = append(told, faultsIn(r.from(ctx, recorded))...)
	}
	slices.Sort(told)
	f := Finding{Name: "variables", State: OK, Detail: fmt.Sprintf("%d set, all of them can be read", len(set))}
	switch told = slices.Compact(told); {
	case len(told) > 0:
		f.State, f.Detail = Wrong, strings.Join(told, "\n")
	case len(set) == 0:
		f.State, f.Detail = Skipped, notConfigured
	}
	f.Ms = time.Since(began).Milliseconds()
	return f
}

// faultsIn takes joined errors apart.
func faultsIn(err error) []string {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{redacted(err)}
	}
	var list []string
	for _, err := range joined.Unwrap() {
		list = append(list, faultsIn(err)...)
	}
	return list
}

// program is what any program reads. The entries are those of package faas, whose libraries
// would double the size of the command.
func program(ctx context.Context, vars *env.Vars) error {
	_, err := logs.New(io.Discard, vars.String("LOG_LEVEL", ""))
	vars.Fault("LOG_LEVEL", err)
	vars.Choice("XINGHE_ENTRY", "http", "fc-web", "fc-event", "lambda-url", "lambda-event")
	for _, name := range []string{"XINGHE_ADDR", "XINGHE_METRICS_ADDR"} {
		if text := vars.String(name, ""); text != "" {
			_, port, err := net.SplitHostPort(text)
			if err == nil {
				_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
			}
			vars.Fault(name, err)
		}
	}
	return nil
}

func callers(_ context.Context, vars *env.Vars) error {
	httpapi.FromEnv(vars, zerolog.Nop())
	return nil
}

func conversations(_ context.Context, vars *env.Vars) error {
	chat := chatapi.FromEnv(vars)
	return chat.Equip(vars, nil, zerolog.Nop()) //nolint:contextcheck // nothing runs without a queue
}

func jetStream(_ context.Context, vars *env.Vars) error {
	queue.FromEnv(vars, "", zerolog.Nop())
	queue.ConfigFromEnv(vars)
	idempotency.FromEnv(vars, nil)
	return nil
}

// senders are the webhook function's. What becomes of their messages is judged by the surface
// alone, whose queue asks NATS nothing before there is a message.
func senders(_ context.Context, vars *env.Vars) error {
	if vars.String(webhookapi.EnvSources, "") == "" && vars.String(webhookapi.EnvSources+"_FILE", "") == "" {
		return nil
	}
	cfg := webhookapi.FromEnv(vars)
	if vars.Err() != nil {
		return nil
	}
	var err error
	if cfg.Queue, err = queue.Open(queue.ConnConfig{}, queue.Config{}); err != nil {
		return err
	}
	defer cfg.Queue.Close()
	_, err = webhookapi.New(cfg)
	return err
}

// kinds are the words of XINGHE_WORKERS.
var kinds = []string{"delivery", "directory", "export", "image", "rating", "schedule", "usage"}

// work is what the workers read. All but the first two is read by their main itself, or by
// telemetry, which is for workers only: no reader could be called.
func work(_ context.Context, vars *env.Vars) error {
	delivery.FromEnv(vars)
	image.FromEnv(vars)
	for _, name := range vars.List("XINGHE_WORKERS") {
		if !slices.Contains(kinds, name) {
			vars.Fault("XINGHE_WORKERS", fmt.Errorf("%q is no kind of worker", name))
		}
	}
	vars.Int("XINGHE_EXPORT_WINDOWS", 0, 0)
	vars.Int("XINGHE_EXPORT_PART_BYTES", 0, 0)
	vars.URL("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	return nil
}

func storage(ctx context.Context, vars *env.Vars) error {
	configuredSink(ctx, vars)
	return nil
}

// ours are the command line's own.
func ours(_ context.Context, vars *env.Vars) error {
	vars.URL("XINGHE_URL", "")
	vars.Secret("XINGHE_KEY")
	return nil
}
