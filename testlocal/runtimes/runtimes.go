package runtimes

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"xinghe/shared/faas"
)

// Config of a function that is run as a platform would. Zero values mean the defaults.
type Config struct {
	// Entry by which the function meets its platform: faas.EntryFCWeb, EntryFCEvent,
	// EntryLambdaURL or EntryLambdaEvent. Required.
	Entry string
	// Name of the function. Default "function".
	Name string
	// Program is the path of what was built. Required.
	Program string
	// Env holds the function's own variables, as NAME=value. Nothing of this process's
	// environment is handed on.
	Env []string
	// Timeout of a call, after which it is cut. Default 60 s.
	Timeout time.Duration
	// Instances is how many may run. Default 4.
	Instances int
	// Concurrency is how many calls an instance of a web function takes at once. Default 20.
	// All others take one at a time.
	Concurrency int
	// Initializer and PreStop are called before the first call and before the end; they are
	// Function Compute's.
	Initializer, PreStop bool
	// NoFreeze keeps instances running between calls, as provisioned ones do.
	NoFreeze bool
	// Grace is how long an instance may take to end: Function Compute's pre-stop, by default
	// 5 s, or Lambda's time between SIGTERM and SIGKILL, 500 ms.
	Grace time.Duration
	// Output takes what the instances print.
	Output io.Writer
	// Report hears of each call when it is over; nil for nobody. It must be safe for use by
	// several goroutines.
	Report func(Report)
}

func (c Config) withDefaults() Config {
	lambda := c.Entry == faas.EntryLambdaURL || c.Entry == faas.EntryLambdaEvent
	c.Name = cmp.Or(c.Name, "function")
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	c.Instances = cmp.Or(c.Instances, 4)
	c.Concurrency = cmp.Or(c.Concurrency, 20)
	if c.Grace == 0 && lambda {
		c.Grace = 500 * time.Millisecond
	}
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	if c.Output == nil {
		c.Output = io.Discard
	}
	c.Output = &serialised{to: c.Output}
	if c.Report == nil {
		c.Report = func(Report) {}
	}
	return c
}

// Event is a call that is no request.
type Event struct {
	// Payload is what the function gets; see [Timer], [EventBridge] and [SQS].
	Payload []byte
	// Attempt counts from 1, the default.
	Attempt int
}

// Result is what became of an event.
type Result struct {
	// ID of the call.
	ID string
	// Payload is the function's answer, or its error as the platform tells it.
	Payload []byte
	// ErrorType is empty if the call succeeded, as the platform sees it.
	ErrorType string
}

// Report is what the platform notes of a call.
type Report struct {
	// ID of the call.
	ID string
	// ErrorType is empty for a call that succeeded, and otherwise the platform's word for
	// what went wrong, or the function's own.
	ErrorType string
}

// The platform's words for calls that came to no end of their own.
const (
	ErrorTimeout = "Function.Timeout" // it took longer than Config.Timeout
	ErrorExit    = "Runtime.Exit"     // the program ended
	ErrorCut     = "Runtime.Cut"      // the connection to a web function ended
	ErrorStart   = "Runtime.Start"    // no instance could be started
)

// platform is one of the four.
type platform interface {
	http.Handler
	invoke(context.Context, Event) (Result, error)
	programs() []*process
	close()
}

// Function runs as on its platform. It serves what comes by its HTTP trigger or URL.
type Function struct {
	platform
	cfg Config
}

// Start prepares a function; its instances start with the calls that need them. It must be
// closed.
func Start(cfg Config) (*Function, error) {
	cfg = cfg.withDefaults()
	if _, err := os.Stat(cfg.Program); err != nil {
		return nil, fmt.Errorf("function %s: %w", cfg.Name, err)
	}
	f := &Function{cfg: cfg}
	switch cfg.Entry {
	case faas.EntryFCWeb:
		f.platform = newFCWeb(cfg)
	case faas.EntryFCEvent:
		f.platform = newFCEvent(cfg)
	case faas.EntryLambdaURL, faas.EntryLambdaEvent:
		f.platform = newLambda(cfg)
	default:
		return nil, fmt.Errorf("function %s: %q is no entry that a platform has", cfg.Name, cfg.Entry)
	}
	return f, nil
}

// Invoke calls the function with an event and waits for its answer. The error says that the
// platform could not do so; what the function answers, be it an error, is a result.
func (f *Function) Invoke(ctx context.Context, event Event) (Result, error) {
	event.Attempt = max(event.Attempt, 1)
	return f.invoke(ctx, event)
}

// Instance is a program that runs.
type Instance struct {
	PID    int
	Frozen bool
}

// Instances lists those that run.
func (f *Function) Instances() []Instance {
	var list []Instance
	for _, p := range f.programs() {
		p.mu.Lock()
		list = append(list, Instance{PID: p.cmd.Process.Pid, Frozen: p.frozen})
		p.mu.Unlock()
	}
	return list
}

// Close ends the function: no more calls, those that run come to their end, then the
// instances go in the platform's way.
func (f *Function) Close() { f.close() }
