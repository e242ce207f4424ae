// Package stack wires the whole system together in one process: NATS with JetStream, the
// emulator of both upstream services, all functions behind one address, and all workers.
// It needs no credentials and no network but loopback.
//
//	s, err := stack.Start(ctx, stack.Config{Getenv: os.Getenv, Log: os.Stderr})
//	...
//	defer s.Close()
//	http.Post(s.URL+"/v2/api/chat/send", …)
package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"xinghe/functions/chat/chatapi"
	"xinghe/shared/env"
	"xinghe/shared/faas"
	"xinghe/shared/httpapi"
	"xinghe/shared/logs"
	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/sink"
	"xinghe/shared/telemetry"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/emulator/model"
)

// Config of the stack.
type Config struct {
	// Getenv reads the variables that settings.go lists. Required.
	Getenv func(string) string
	// Log takes the log lines of all parts.
	Log io.Writer
	// Emulator overrides the emulator's settings.
	Emulator emulator.Config
	// Chat may change the chat function's configuration before it starts; nil leaves it as
	// the variables have it. The emulator runs by then: s.EmulatorURL is set.
	Chat func(s *Stack, cfg *chatapi.Config)
}

// Stack is the running system.
type Stack struct {
	// URL is the front door: all functions.
	URL string
	// EmulatorURL is the address of both emulated services.
	EmulatorURL string
	// Key is the key that the front door takes; empty if others than the default are set.
	Key string
	// NATSURL is the address of NATS.
	NATSURL string
	// Data is the folder of JetStream's files, and Exports that of exports.
	Data, Exports string
	// Emulator is the emulator itself, for tests that set faults.
	Emulator *emulator.Emulator

	log      zerolog.Logger
	settings settings
	nats     *server.Server // nil if NATS_URL names another
	queue    *queue.Queue
	sink     sink.Sink // of exports
	front    *httpapi.Server

	stopFront, stopEmulator func()
	stopWorkers             func() error
	leaveFolder             func() error
	closing                 sync.Once
	failed                  chan error
	telemetry               *telemetry.Telemetry
}

// Start starts all parts and returns when requests are served. What has been started is
// stopped again if a part fails.
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	vars := env.New(cfg.Getenv)
	log, err := logs.New(cfg.Log, vars.String("LOG_LEVEL", ""))
	vars.Fault("LOG_LEVEL", err)
	set := readSettings(vars, log)
	measured := telemetry.FromEnv(vars, connectionName)
	none, fine := func() {}, func() error { return nil }
	s := &Stack{
		log: log, settings: set, Data: set.data, Exports: filepath.Join(set.data, "exports"),
		stopFront: none, stopEmulator: none, stopWorkers: fine, leaveFolder: fine,
		failed: make(chan error, 16), // more than there are parts
	}
	if err := s.faults(ctx, cfg, vars); err != nil {
		return nil, err
	}
	if s.telemetry, err = telemetry.New(ctx, measured); err != nil {
		return nil, err
	}
	s.settings.queue.Observer = s.telemetry
	// The parts end when Close says so, in its order, and not all at once with ctx.
	base := log.WithContext(context.WithoutCancel(ctx))
	for _, start := range []func(context.Context, Config) error{s.takeFolder, s.startNATS, s.startEmulator, s.startWorkers, s.startFront} {
		if err := start(base, cfg); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Routes is the table of all that the front door serves.
func (s *Stack) Routes() []httpapi.Route { return s.front.Routes() }

// Failed tells of a part that ended by itself.
func (s *Stack) Failed() <-chan error { return s.failed }

// Close stops all parts, the front door first, so that nothing is accepted that is not
// done. It may be called more than once.
func (s *Stack) Close() error {
	var err error
	s.closing.Do(func() {
		s.stopFront()
		err = s.stopWorkers()
		if s.queue != nil {
			s.queue.Close()
		}
		err = errors.Join(err, s.telemetry.Close())
		s.stopEmulator()
		if s.Emulator != nil {
			err = errors.Join(err, s.Emulator.Close())
		}
		if s.nats != nil {
			s.nats.Shutdown()
			s.nats.WaitForShutdown()
		}
		err = errors.Join(err, s.leaveFolder())
	})
	return err
}

func (s *Stack) startEmulator(ctx context.Context, cfg Config) error {
	emu := cfg.Emulator
	emu.DataDir = cmp.Or(emu.DataDir, filepath.Join(s.Data, "emulator"))
	vars := env.New(cfg.Getenv)
	emu.Words = cmp.Or(emu.Words, model.FromEnv(vars))
	if err := vars.Err(); err != nil {
		return err
	}
	listener, err := faas.Listen(ctx, s.settings.emulatorAddr, "XINGHE_EMULATOR_ADDR")
	if err != nil {
		return err
	}
	if s.Emulator, err = emulator.New(emu); err != nil {
		return errors.Join(err, listener.Close())
	}
	s.EmulatorURL, s.stopEmulator = s.serve(ctx, s.Emulator.Guard(listener), s.Emulator)
	return nil
}

// serve serves a handler until the returned stop is called, which waits for requests in
// flight.
func (s *Stack) serve(ctx context.Context, listener net.Listener, handler http.Handler) (address string, stop func()) {
	stop = s.run(ctx, func(ctx context.Context) error { return faas.Serve(ctx, listener, handler, 0) })
	return "http://" + reachable(listener.Addr()), stop
}

// reachable is an address that can be dialled where a server listens on all of them.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// run starts a part; the returned stop ends it and waits for it.
func (s *Stack) run(ctx context.Context, part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := part(ctx); err != nil && ctx.Err() == nil {
			s.failed <- err
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// String says where the parts are.
func (s *Stack) String() string {
	return fmt.Sprintf("front door %s, emulator %s, NATS %s, data %s", s.URL, s.EmulatorURL, sign.Redact(s.NATSURL), s.Data)
}
