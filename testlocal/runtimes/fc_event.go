package runtimes

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fcEvent is Function Compute with the built-in Go runtime: functions ask for their work, one
// call at a time, and nothing streams.
type fcEvent struct{ workers }

// The kinds of calls that the runtime API knows.
const (
	fcHandle     = "0"
	fcInitialize = "1"
	fcPreStop    = "2"
)

var fcDialect = dialect{version: "2020-11-11", accepted: http.StatusOK, start: fcStart, idHeader: "X-Fc-Request-Id"}

func newFCEvent(cfg Config) *fcEvent {
	f := &fcEvent{workers{cfg: cfg}}
	f.pool = newPool(cfg, 1, f.start)
	return f
}

func (f *fcEvent) start(ctx context.Context) (*runtimeAPI, error) {
	env := func(addr string) []string { return fcEnv(f.cfg, "FC_RUNTIME_API="+addr) }
	api, err := newRuntimeAPI(ctx, f.cfg, fcDialect, env, nil)
	if err != nil {
		return nil, err
	}
	// The SDK asks again without a pause when the API is gone: the program goes first.
	api.before = func() { //nolint:contextcheck // the start is long over
		if f.cfg.PreStop {
			_ = f.hook(context.Background(), api, fcPreStop) // a failure does not keep it from ending
		}
	}
	if f.cfg.Initializer {
		if err := f.hook(ctx, api, fcInitialize); err != nil {
			api.before = func() {}
			api.stop()
			return nil, err
		}
	}
	return api, nil
}

// hook calls a hook of the function.
func (f *fcEvent) hook(ctx context.Context, api *runtimeAPI, kind string) error {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Grace)
	defer cancel()
	spare := context.AfterFunc(ctx, api.proc.kill)
	defer spare()
	deadline, _ := ctx.Deadline()
	var told *functionError
	err := api.call(ctx, f.invocation(fcID(), kind, nil, 1, deadline), func(a *answer) error {
		if !a.failed {
			return drain(a)
		}
		told = new(functionError)
		return json.NewDecoder(a.request.Body).Decode(told)
	})
	if err == nil && told != nil {
		err = told
	}
	api.settle()
	return err
}

// functionError is the error that a function posts.
type functionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

func (e *functionError) Error() string { return e.Type + ": " + e.Message }

func (f *fcEvent) invocation(id, kind string, payload []byte, attempt int, deadline time.Time) *invocation {
	header := fcHeaders(f.cfg, id, attempt)
	header.Set("X-Fc-Function-Type", kind)
	header.Set("X-Fc-Function-Deadline", strconv.FormatInt(deadline.UnixMilli(), 10))
	return &invocation{id: id, header: header, payload: payload}
}

// invoke is InvokeFunction, by which event sources come too.
func (f *fcEvent) invoke(ctx context.Context, event Event) (Result, error) {
	result := Result{ID: fcID()}
	inv := func(deadline time.Time) *invocation {
		return f.invocation(result.ID, fcHandle, event.Payload, event.Attempt, deadline)
	}
	word := f.do(ctx, inv, func(a *answer) (err error) {
		if result.Payload, err = io.ReadAll(a.request.Body); err == nil && a.failed {
			result.ErrorType = "UnhandledInvocationError"
		}
		return err
	})
	if word != "" {
		result.ErrorType = word
	}
	f.cfg.Report(Report{ID: result.ID, ErrorType: result.ErrorType})
	return result, ctx.Err()
}

// ServeHTTP is the HTTP trigger: the request becomes an event, the result the answer.
func (f *fcEvent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, fcBodyLimit+1))
	if err != nil {
		return // the caller has left
	}
	if refusal := fcRefusal(r, len(body)); refusal != "" {
		fcRefuse(w, fcID(), http.StatusBadRequest, "InvalidArgument", refusal)
		return
	}
	event, err := json.Marshal(fcTriggerEvent(r, body, fcID(), time.Now()))
	if err != nil {
		fcRefuse(w, fcID(), http.StatusBadRequest, "InvalidArgument", err.Error())
		return
	}
	result, err := f.invoke(r.Context(), Event{Payload: event, Attempt: 1})
	switch {
	case err != nil || result.ErrorType != "":
		fcFail(w, result.ID, result.ErrorType)
	default:
		w.Header().Set("X-Fc-Request-Id", result.ID)
		answerHTTP(w, result.Payload)
	}
}

// triggerEvent is what the built-in runtimes get for a request.
type triggerEvent struct {
	Version         string            `json:"version"`
	RawPath         string            `json:"rawPath"`
	Headers         map[string]string `json:"headers"`
	QueryParameters map[string]string `json:"queryParameters"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	RequestContext  triggerContext    `json:"requestContext"`
}

type triggerContext struct {
	AccountID    string      `json:"accountId"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         httpContext `json:"http"`
	RequestID    string      `json:"requestId"`
	Time         string      `json:"time"`
	TimeEpoch    string      `json:"timeEpoch"`
	TriggerID    string      `json:"triggerId"`
}

// httpContext is the same on both platforms.
type httpContext struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

func fcTriggerEvent(r *http.Request, body []byte, id string, now time.Time) triggerEvent {
	headers := map[string]string{}
	for name, values := range r.Header {
		if !strings.HasPrefix(name, "X-Fc-") && name != "Keep-Alive" && name != "Connection" {
			headers[name] = joined(values)
		}
	}
	headers["Host"] = r.Host
	query := map[string]string{}
	for name, values := range r.URL.Query() {
		query[name] = joined(values)
	}
	text, encoded := asText(r, body)
	return triggerEvent{
		Version: "v1", RawPath: r.URL.EscapedPath(), Headers: headers, QueryParameters: query, Body: text, IsBase64Encoded: encoded,
		RequestContext: triggerContext{
			AccountID: fcAccount, DomainName: "local." + fcRegion + ".fcapp.run", DomainPrefix: "local", RequestID: id,
			Time: now.UTC().Format(time.RFC3339), TimeEpoch: strconv.FormatInt(now.UnixMilli(), 10), TriggerID: "http",
			HTTP: contextOf(r),
		},
	}
}
