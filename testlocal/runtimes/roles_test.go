package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// roleVariable makes the test binary a function instead of a test: one that stands on the
// platforms' own libraries, so that the emulators are not proved by our own entries only.
const roleVariable = "XINGHE_RUNTIMES_ROLE"

var roles = map[string]func(){"web": webRole, "go1": go1Role, "lambda": lambdaRole, "silent": func() { select {} }}

func getenv(name string) string {
	return os.Getenv(name) //nolint:forbidigo // a test binary has no main of ours that could hand it down
}

// newRole runs a role behind an entry.
func newRole(t *testing.T, entry, role string, adapt func(*Config)) *host {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return newHost(t, entry, path, adapt, roleVariable+"="+role)
}

func say(line string) { _, _ = fmt.Fprintln(os.Stdout, line) }

// webCall is what the web role has seen.
type webCall struct {
	Method, URI, Host, Body string
	Header                  http.Header
}

// webRole is a web function that answers with what it was asked, and sets headers that it
// may not set.
func webRole() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+getenv("FC_CUSTOM_LISTEN_PORT"))
	if err != nil {
		say(err.Error())
		return
	}
	_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		control := r.Header.Get("X-Fc-Control-Path")
		switch {
		case control != "/http-invoke" && control != "/invoke":
			say("hook " + r.Method + " " + control)
			return
		case string(body) == "exit":
			os.Exit(3)
		case string(body) == "fail":
			w.Header().Set("X-Fc-Status", "404")
		}
		for _, name := range []string{"X-Fc-Secret", "Server", "Date", "Keep-Alive", "Content-Disposition", "X-Own"} {
			w.Header().Set(name, "mine")
		}
		_ = json.NewEncoder(w).Encode(webCall{r.Method, r.RequestURI, r.Host, string(body), r.Header})
	}))
}

// go1Call is what the go1 role has seen.
type go1Call struct {
	Payload  json.RawMessage
	Context  fccontext.FcContext
	Deadline int64
}

func go1Role() {
	fc.RegisterInitializerFunction(func(context.Context) { say("hook initialize") })
	fc.RegisterPreStopFunction(func(context.Context) { say("hook pre-stop") })
	fc.Start(func(ctx context.Context, payload json.RawMessage) (any, error) {
		seen := go1Call{Payload: payload}
		if call, ok := fccontext.FromContext(ctx); ok {
			seen.Context = *call
		}
		if deadline, ok := ctx.Deadline(); ok {
			seen.Deadline = deadline.UnixMilli()
		}
		switch string(payload) {
		case `"fail"`:
			return nil, errors.New("as told")
		case `"panic"`:
			panic("as told")
		case `"hang"`:
			select {}
		}
		return seen, nil
	})
}

func lambdaRole() {
	var options []lambda.Option
	if getenv("REGISTER") != "" {
		options = append(options, lambda.WithEnableSIGTERM(func() {
			say("hook SIGTERM")
			os.Exit(0)
		}))
	}
	lambda.StartWithOptions(func(_ context.Context, event json.RawMessage) (any, error) {
		var request events.LambdaFunctionURLRequest
		if err := json.Unmarshal(event, &request); err != nil {
			return nil, err
		}
		switch request.RawPath {
		case "/broken":
			return &events.LambdaFunctionURLStreamingResponse{
				StatusCode: http.StatusAccepted, Headers: map[string]string{"Content-Type": "text/plain", "X-Own": "mine"},
				Cookies: []string{"a=1", "b=2"}, Body: io.MultiReader(strings.NewReader("some"), failing{}),
			}, nil
		case "/fail":
			return nil, errors.New("as told")
		case "/panic":
			panic("as told")
		case "/exit":
			os.Exit(3)
		case "/hang":
			select {}
		}
		return event, nil
	}, options...)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the source broke") }
