package faas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
)

// The kinds of events.
const (
	KindInvoke   = "invoke"   // somebody invoked the function, and may wait for the answer
	KindTimer    = "timer"    // a timer of Function Compute
	KindSchedule = "schedule" // a schedule of EventBridge, in its envelope
	KindQueue    = "queue"    // a message of SQS
	KindBus      = "bus"      // an event of EventBridge, or a CloudEvent
)

// Event is what a timer, a schedule, a queue or a caller hands to a function.
type Event struct {
	// Kind of event, one of the words above.
	Kind string
	// Name of the trigger, schedule or queue that it comes from; empty for an invocation.
	Name string
	// ID of the event; a repeat carries the same.
	ID string
	// Time that the event stands for.
	Time time.Time
	// Attempt counts from 1.
	Attempt int
	// Payload is the event's own JSON, always valid; a payload that is none is a JSON text.
	Payload json.RawMessage
}

// Unattended reports whether nobody reads what the event is answered with, so that only an
// error tells that it failed.
func (e Event) Unattended() bool { return e.Kind != "" && e.Kind != KindInvoke }

// EventFunc does the work of one event. An error makes the platform try again, if it does.
// It may be called by several goroutines.
type EventFunc func(ctx context.Context, event Event) (json.RawMessage, error)

// Function is what is deployed. Making one must not touch the network: it would be paid for
// at each cold start, and a part that is away would keep the function from starting. All
// fields but HTTP may be nil.
type Function struct {
	// HTTP serves requests.
	HTTP http.Handler
	// Event takes events.
	Event EventFunc
	// Background works beside requests and events until its context ends. It starts with the
	// server of the entry http, and elsewhere with the first request or event.
	Background func(ctx context.Context)
	// Flush returns when what the function told on the side, such as its events, is stored,
	// or when its context ends. It is called after each request and event of an instance
	// that may be frozen next, and gets 200 ms.
	Flush func(ctx context.Context) error
	// Thaw is called before the first request or event after a pause in which the instance
	// may have been frozen: connections from before are not to be trusted. It must not wait.
	Thaw func()
	// Close frees what the function holds, after the last request and event.
	Close func()
}

// The entries.
const (
	EntryHTTP        = "http"         // a plain HTTP server
	EntryFCWeb       = "fc-web"       // a web function of Function Compute (custom runtime)
	EntryFCEvent     = "fc-event"     // an event function of Function Compute (runtime go1)
	EntryLambdaURL   = "lambda-url"   // Lambda behind a Function URL that streams
	EntryLambdaEvent = "lambda-event" // Lambda for events and buffered requests
)

// entries are all words of XINGHE_ENTRY.
var entries = []string{EntryHTTP, EntryFCWeb, EntryFCEvent, EntryLambdaURL, EntryLambdaEvent}

// Config says how a function meets its platform.
type Config struct {
	// Entry is one of the words above; "http" by default.
	Entry string
	// Addr is where the entries http and fc-web listen.
	Addr string
	// Grace is how long requests in flight may take to end after ctx is done; by default 10 s
	// for http, 5 s for Function Compute, 300 ms for Lambda.
	Grace time.Duration
	// Logger of the entry.
	Logger zerolog.Logger
	// Lines takes the lines by which Function Compute cuts a web function's log; io.Discard
	// by default.
	Lines io.Writer
	// Now is the clock; by default the wall clock, since another may stand still while an
	// instance is frozen.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Entry == "" {
		c.Entry = EntryHTTP
	}
	if c.Grace == 0 {
		c.Grace = map[string]time.Duration{EntryHTTP: 10 * time.Second, EntryFCWeb: 5 * time.Second, EntryFCEvent: 5 * time.Second}[c.Entry]
	}
	if c.Grace == 0 {
		c.Grace = 300 * time.Millisecond
	}
	if c.Lines == nil {
		c.Lines = io.Discard
	}
	if c.Now == nil {
		c.Now = func() time.Time { return time.Now().Round(0) }
	}
	return c
}

// Variables of the platforms.
const (
	varEntry      = "XINGHE_ENTRY"
	varLambdaAPI  = "AWS_LAMBDA_RUNTIME_API"
	varFCAPI      = "FC_RUNTIME_API"
	varFCPort     = "FC_CUSTOM_LISTEN_PORT"
	varFCPortOld  = "FC_SERVER_PORT"
	defaultFCPort = 9000
)

// FromEnv reads XINGHE_ENTRY, and where that is not set, tells by the platform's own
// variables: a web function of Function Compute by FC_CUSTOM_LISTEN_PORT, an event function
// by FC_RUNTIME_API, else a plain HTTP server. On Lambda it must be set, as nothing tells
// whether answers are to be streamed. The entry http listens on XINGHE_ADDR, fc-web on
// FC_CUSTOM_LISTEN_PORT (default 9000) of all interfaces.
func FromEnv(vars *env.Vars) Config {
	lambda, event := vars.String(varLambdaAPI, ""), vars.String(varFCAPI, "")
	fallback := EntryHTTP
	switch {
	case lambda != "":
		if vars.String(varEntry, "") == "" {
			vars.Fault(varEntry, fmt.Errorf("missing on Lambda: set it to %s (Function URL with InvokeMode RESPONSE_STREAM) or %s (events, buffered requests)", EntryLambdaURL, EntryLambdaEvent))
		}
	case vars.String(varFCPort, "") != "":
		fallback = EntryFCWeb
	case event != "":
		fallback = EntryFCEvent
	}
	first := slices.Index(entries, fallback)
	cfg := Config{Entry: vars.Choice(varEntry, slices.Concat(entries[first:], entries[:first])...)}
	switch cfg.Entry {
	case EntryHTTP:
		cfg.Addr = vars.String("XINGHE_ADDR", "127.0.0.1:8787")
	case EntryFCWeb:
		cfg.Addr = fmt.Sprintf("0.0.0.0:%d", vars.Int(varFCPort, vars.Int(varFCPortOld, defaultFCPort, 1), 1))
	case EntryFCEvent:
		needs(vars, cfg.Entry, varFCAPI, event)
	default:
		needs(vars, cfg.Entry, varLambdaAPI, lambda)
	}
	return cfg
}

// needs faults an entry whose platform is not there: its library would end the process.
func needs(vars *env.Vars, entry, variable, value string) {
	if value == "" {
		vars.Fault(varEntry, fmt.Errorf("%q needs %s, which its platform sets; to run elsewhere use %q", entry, variable, EntryHTTP))
	}
}

// Run serves until ctx is done, lets requests in flight end within the grace, and returns.
func Run(ctx context.Context, cfg Config, fn Function) error {
	cfg = cfg.withDefaults()
	serve := map[string]func(context.Context, *instance) error{
		EntryHTTP: serveHTTP, EntryFCWeb: serveFCWeb, EntryFCEvent: serveFCEvent,
		EntryLambdaURL: serveLambda, EntryLambdaEvent: serveLambda,
	}[cfg.Entry]
	if serve == nil {
		return fmt.Errorf("%s: entry %q is none of: %s", varEntry, cfg.Entry, strings.Join(entries, ", "))
	}
	i := newInstance(ctx, cfg, fn)
	err := serve(ctx, i)
	return errors.Join(err, i.stop())
}
