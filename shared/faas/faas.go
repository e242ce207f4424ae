// Package faas is how a function meets its platform. A [Function] is one http.Handler for
// requests and one [EventFunc] for events, and nothing above them knows the platform; the
// entry, chosen by XINGHE_ENTRY, brings both to where the function runs.
//
//	err := faas.Run(ctx, cfg, faas.Function{HTTP: handler, Event: onTimer})
//
// The entry that this version has is "http": a plain HTTP server.
package faas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
)

// Event is what a timer, a schedule or a queue hands to a function.
type Event struct {
	// Kind of event, such as "timer".
	Kind string
	// Name of the trigger that it comes from.
	Name string
	// ID of the invocation; a repeat carries the same.
	ID string
	// Time that the event stands for.
	Time time.Time
	// Attempt counts from 1.
	Attempt int
	// Payload is the event's own JSON.
	Payload json.RawMessage
}

// EventFunc does the work of one event. An error makes the platform try again, if it does.
type EventFunc func(ctx context.Context, event Event) (json.RawMessage, error)

// Function is what is deployed.
type Function struct {
	// HTTP serves requests.
	HTTP http.Handler
	// Event takes events; nil if the function takes none.
	Event EventFunc
	// Close frees what the function holds, after the last request; may be nil.
	Close func()
}

// Config says how a function meets its platform.
type Config struct {
	// Entry is "http".
	Entry string
	// Addr is where the entry http listens.
	Addr string
	// Grace is how long requests in flight may take to end after ctx is done; 10 s by
	// default.
	Grace time.Duration
	// Logger of the entry.
	Logger zerolog.Logger
}

// EntryHTTP is the plain HTTP server.
const EntryHTTP = "http"

// FromEnv reads XINGHE_ENTRY and XINGHE_ADDR.
func FromEnv(vars *env.Vars) Config {
	return Config{
		Entry: vars.Choice("XINGHE_ENTRY", EntryHTTP),
		Addr:  vars.String("XINGHE_ADDR", "127.0.0.1:8787"),
	}
}

// Run serves until ctx is done, lets requests in flight end within the grace, and returns.
func Run(ctx context.Context, cfg Config, fn Function) error {
	if cfg.Entry != "" && cfg.Entry != EntryHTTP {
		return fmt.Errorf("entry %q is not built in; use %q", cfg.Entry, EntryHTTP)
	}
	if fn.Close != nil {
		defer fn.Close()
	}
	listener, err := Listen(ctx, cfg.Addr, "XINGHE_ADDR")
	if err != nil {
		return err
	}
	return Serve(ctx, listener, fn.HTTP, cfg.Grace)
}

// Listen opens addr; a failure names the variable by which to choose another address.
func Listen(ctx context.Context, addr, variable string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is taken by another program; set %s to a free one, such as 127.0.0.1:0", addr, variable)
	}
	return nil, fmt.Errorf("cannot listen on %s (set %s to change it): %w", addr, variable, err)
}

// Serve serves plain HTTP on the listener until ctx is done, then lets requests in flight
// end within grace (0 means 10 s) and cuts those that have not. It closes the listener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration) error {
	if grace == 0 {
		grace = 10 * time.Second
	}
	// Streams in flight outlive ctx, by the grace.
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{
		Handler: handler,
		// No timeout for whole answers: a stream may be long. Idle connections are kept for
		// longer than the proxies in front keep theirs, or they would meet closed ones.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       16 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	soft, done := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer done()
	err := server.Shutdown(soft)
	cut()
	if err != nil {
		err = errors.Join(fmt.Errorf("requests in flight were cut after %s", grace), server.Close())
	}
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
