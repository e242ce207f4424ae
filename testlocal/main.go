// The local stack: the whole of Xinghe on one machine, with no credentials.
//
//	go run ./testlocal            run everything until Ctrl-C
//	go run ./testlocal -as fc-web run the functions as on a platform; see docs/runtimes.md
//	go run ./testlocal emulator   run the emulator of both services alone
//	go run ./testlocal demo       walk through the whole system once
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/testlocal/console"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/beebot"
	"xinghe/testlocal/emulator/model"
	"xinghe/testlocal/emulator/xingchen"
	"xinghe/testlocal/stack"
)

const usage = `usage:
  go run ./testlocal                        run everything until Ctrl-C
  go run ./testlocal -as ENTRY              the same with the functions as built to be deployed, each as on its
                                            platform: fc-web, fc-event, lambda-url, lambda-event
  go run ./testlocal emulator [flags]       run the emulator of both services alone
  go run ./testlocal demo [-keep]           walk through the whole system once
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errUsage has been explained already.
var errUsage = errors.New("usage")

// run returns the exit code: 0, 1 for a failure, 2 for a command line that is not understood.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	command := "stack"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "stack":
		err = runStack(ctx, args, getenv, stdout, stderr)
	case "emulator":
		err = runEmulator(ctx, args, getenv, stdout, stderr)
	case "demo":
		err = runDemo(ctx, args, getenv, stdout, stderr)
	case "help":
		_, _ = io.WriteString(stdout, usage)
	default:
		_, _ = fmt.Fprintf(stderr, "%q is no command\n%s", command, usage)
		return 2
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	_, _ = fmt.Fprintln(stderr, err)
	return 1
}

// parse reads flags; what is left over is a mistake.
func parse(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage+"flags:\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "%q is not understood\n%s", flags.Arg(0), usage)
		return errUsage
	}
	return nil
}

func runStack(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("testlocal", flag.ContinueOnError)
	as := flags.String("as", "", "run the functions as on a platform: "+strings.Join(platforms, ", "))
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if *as != "" {
		return runAs(ctx, *as, getenv, os.Environ(), stdout, stderr)
	}
	s, err := stack.Start(ctx, stack.Config{Getenv: getenv, Log: stderr})
	if err != nil {
		return err
	}
	console.Banner(stdout, s)
	select {
	case <-ctx.Done():
		_, _ = fmt.Fprintln(stdout, "\nstopping")
		return s.Close()
	case err := <-s.Failed():
		return errors.Join(err, s.Close())
	}
}

func runEmulator(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg := emulator.Config{}
	flags := flag.NewFlagSet("testlocal emulator", flag.ContinueOnError)
	addr := flags.String("addr", cmp.Or(getenv("XINGHE_EMULATOR_ADDR"), stack.DefaultEmulatorAddr), "address to listen on, by default XINGHE_EMULATOR_ADDR")
	flags.StringVar(&cfg.DataDir, "data", "", "folder that keeps the state (default: memory)")
	flags.Uint64Var(&cfg.Seed, "seed", 1, "decides ids, words and faults")
	flags.DurationVar(&cfg.Pace, "pace", emulator.DefaultPace, "time between frames; negative for none")
	flags.Func("history", "answer a large history by formula: characters=2,users=1000,messages=10000000,from=…,to=…", func(text string) error {
		history, err := xingchen.ParseHistory(text)
		cfg.History = &history
		return err
	})
	flags.Func("faults", "file with faults, the JSON of PUT /_emulator/faults", fromFile(&cfg.Faults, emulator.ReadFaults))
	flags.Func("assume", "file with assumptions, YAML or JSON", fromFile(&cfg.Assume, emulator.ReadAssumptions))
	flags.Func("bots", "file with the definition of Beebot's robots, YAML", fromFile(&cfg.Bots, beebot.ParseBots))
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	vars := env.New(getenv)
	cfg.Words = model.FromEnv(vars)
	if err := vars.Err(); err != nil {
		return err
	}
	listener, err := faas.Listen(ctx, *addr, "XINGHE_EMULATOR_ADDR")
	if err != nil {
		return err
	}
	emu, err := emulator.New(cfg)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	_, _ = fmt.Fprintf(stdout, "the emulator of Xingchen and Beebot listens on http://%s (seed %d)\n", listener.Addr(), emu.Seed())
	return errors.Join(faas.Serve(ctx, emu.Guard(listener), emu, 0), emu.Close())
}

// fromFile sets a value from the file that a flag names.
func fromFile[T any](into *T, read func(io.Reader) (T, error)) func(string) error {
	return func(path string) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		*into, err = read(file)
		return err
	}
}

func runDemo(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("testlocal demo", flag.ContinueOnError)
	keep := flags.Bool("keep", false, "keep the data folder")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "xinghe-demo-")
	if err != nil {
		return fmt.Errorf("failed start: %w", err)
	}
	if *keep {
		defer func() { _, _ = fmt.Fprintln(stdout, "kept", data) }()
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	}
	s, err := stack.Start(ctx, stack.Config{Getenv: demoEnv(getenv, data), Log: stderr})
	if err != nil {
		return fmt.Errorf("failed start: %w", err)
	}
	if err := console.Demo(ctx, stdout, s); err != nil {
		return errors.Join(fmt.Errorf("failed %w", err), s.Close())
	}
	return s.Close()
}

// demoEnv gives the demo a stack of its own: free ports, its own folder, both services
// emulated, and no log lines but errors.
func demoEnv(getenv func(string) string, data string) func(string) string {
	set := map[string]string{
		"XINGHE_ADDR": "127.0.0.1:0", "XINGHE_EMULATOR_ADDR": "127.0.0.1:0", "XINGHE_NATS_ADDR": "127.0.0.1:0",
		"XINGHE_DATA": filepath.Clean(data), "LOG_LEVEL": "error",
	}
	return func(name string) string {
		if name == "LOG_LEVEL" && getenv(name) != "" {
			return getenv(name)
		}
		return set[name]
	}
}
