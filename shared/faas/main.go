package faas

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
	"xinghe/shared/logs"
)

// Main is the body of a function's main: it reads the configuration through getenv, builds
// the function, and serves it until SIGINT or SIGTERM. Log lines go to stdout, what keeps
// it from starting to stderr. It returns the exit code: 0, 1 for a failure, 2 for faults of
// the configuration, which are all told at once.
func Main(getenv func(string) string, stdout, stderr io.Writer, build func(*env.Vars, zerolog.Logger) (Function, error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	vars := env.New(getenv)
	if vars.String("GOGC", "") == "" {
		BoundGarbage(Headroom)
	}
	LimitMemory(vars)
	logger, err := logs.New(stdout, vars.String("LOG_LEVEL", vars.String("AWS_LAMBDA_LOG_LEVEL", "")))
	vars.Fault("LOG_LEVEL", err)
	cfg := FromEnv(vars)
	cfg.Logger, cfg.Lines = logger, stdout
	fn, err := build(vars, logger)
	if faults := vars.Err(); faults != nil {
		_, _ = fmt.Fprintf(stderr, "the configuration does not do:\n%v\n", faults)
		return 2
	}
	if err == nil {
		err = Run(ctx, cfg, fn)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
