package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"xinghe/shared/faas"
)

// served are the functions that are deployed and the paths that are theirs; what is nobody's
// is the chat function's.
var served = map[string][]string{
	"chat":           nil,
	"character":      {"/v2/api/character/"},
	"history-export": {"/v1/exports"},
	"webhook":        {"/v1/webhooks/"},
}

// Door is one address for all functions, each of which runs as on its platform.
type Door struct {
	functions map[string]*Function
	mux       *http.ServeMux
	folder    string
}

// OpenDoor builds the functions and runs them behind one entry. Of cfg, Name and Program are
// not read. It must be closed.
func OpenDoor(ctx context.Context, cfg Config) (*Door, error) {
	folder, err := os.MkdirTemp("", "xinghe-functions-")
	if err != nil {
		return nil, err
	}
	d := &Door{functions: map[string]*Function{}, mux: http.NewServeMux(), folder: folder}
	names := slices.Sorted(maps.Keys(served))
	packages := make([]string, 0, len(names))
	for _, name := range names {
		packages = append(packages, "xinghe/functions/"+name)
	}
	programs, err := Build(ctx, folder, packages...)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for _, name := range names {
		cfg.Name, cfg.Program = name, programs[name]
		if d.functions[name], err = Start(cfg); err != nil {
			delete(d.functions, name)
			return nil, errors.Join(err, d.Close())
		}
	}
	d.mux.HandleFunc("POST /_platform/{function}/{source}", d.deliver)
	return d, nil
}

// Close ends the functions, all at once.
func (d *Door) Close() error {
	var all sync.WaitGroup
	for _, f := range d.functions {
		all.Go(f.Close)
	}
	all.Wait()
	return os.RemoveAll(d.folder)
}

// ServeHTTP hands a request to the function whose path it is. POST /_platform/{function}/
// {source} has the platform deliver an event, its body the payload: source is invoke, timer,
// eventbridge or sqs.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_platform/") {
		d.mux.ServeHTTP(w, r)
		return
	}
	d.functions[owner(r.URL.Path)].ServeHTTP(w, r)
}

// owner is the function that a path belongs to.
func owner(path string) string {
	for name, prefixes := range served {
		for _, prefix := range prefixes {
			if strings.HasPrefix(path, prefix) {
				return name
			}
		}
	}
	return "chat"
}

// deliver has a platform's event source call a function.
func (d *Door) deliver(w http.ResponseWriter, r *http.Request) {
	f := d.functions[r.PathValue("function")]
	if f == nil {
		http.Error(w, "no such function: "+strings.Join(slices.Sorted(maps.Keys(d.functions)), ", "), http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, lambdaLimit))
	if err != nil {
		return // the caller has left
	}
	payload, err := eventOf(f.cfg.Entry, r.PathValue("source"), body, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	result, err := f.Invoke(r.Context(), Event{Payload: payload})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Request-Id", result.ID)
	if result.ErrorType != "" {
		w.Header().Set("X-Error-Type", result.ErrorType)
		w.WriteHeader(http.StatusBadGateway)
	}
	_, _ = w.Write(result.Payload)
}

// eventOf wraps a payload as the source does that delivers it. A schedule of EventBridge
// Scheduler sends its input as it is, by invoke.
func eventOf(entry, source string, payload []byte, now time.Time) ([]byte, error) {
	lambda := entry == faas.EntryLambdaURL || entry == faas.EntryLambdaEvent
	switch {
	case source == "invoke":
		return payload, nil
	case source == "timer" && !lambda:
		return Timer("local", now, string(payload)), nil
	case source == "eventbridge" && lambda && json.Valid(payload):
		return EventBridge("local-"+now.UTC().Format(time.RFC3339), "xinghe.local", "Local event", now, payload), nil
	case source == "sqs" && lambda:
		return SQS("local", 1, string(payload)), nil
	}
	return nil, fmt.Errorf("%s has no source %q that takes this payload", entry, source)
}
