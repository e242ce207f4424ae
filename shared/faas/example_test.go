package faas_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/rs/zerolog"

	"xinghe/shared/env"
	"xinghe/shared/faas"
)

// A program whose function says hello to requests and to timers, wherever it runs.
func ExampleMain() {
	build := func(vars *env.Vars, _ zerolog.Logger) (faas.Function, error) {
		greeting := vars.String("GREETING", "hello")
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, greeting) })
		return faas.Function{HTTP: handler, Event: faas.Direct(handler, nil)}, nil
	}
	getenv := func(name string) string { return map[string]string{"XINGHE_ENTRY": "lambda"}[name] }
	fmt.Println(faas.Main(getenv, io.Discard, os.Stdout, build))
	// Output:
	// the configuration does not do:
	// XINGHE_ENTRY: "lambda" is none of: http, fc-web, fc-event, lambda-url, lambda-event
	// 2
}

// A request that comes as an event is served like one that comes by HTTP.
func ExampleDirect() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	})
	invoke := faas.Direct(handler, nil)
	answer, err := invoke(context.Background(), faas.Event{
		Kind:    faas.KindInvoke,
		Payload: json.RawMessage(`{"method":"POST","path":"/v1/exports","body":{"name":"nightly"}}`),
	})
	fmt.Println(string(answer), err)
	// Output: {"status":202,"headers":{"Content-Type":"application/json"},"body":{"name":"nightly"}} <nil>
}
