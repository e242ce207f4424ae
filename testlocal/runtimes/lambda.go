package runtimes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"xinghe/shared/faas"
)

// awsLambda is Lambda: functions ask for their work, one call at a time, and answer in a stream.
// It stands behind a Function URL in mode RESPONSE_STREAM, or behind an HTTP API.
type awsLambda struct {
	workers
	url bool // a Function URL
}

// What the emulated account is called by.
const (
	awsRegion  = "us-east-1"
	awsAccount = "123456789012"
	awsMemory  = "256"
)

var lambdaDialect = dialect{version: "2018-06-01", accepted: http.StatusAccepted, start: 10 * time.Second, idHeader: "Lambda-Runtime-Aws-Request-Id"}

func newLambda(cfg Config) *awsLambda {
	l := &awsLambda{workers: workers{cfg: cfg}, url: cfg.Entry == faas.EntryLambdaURL}
	l.pool = newPool(cfg, 1, l.start)
	return l
}

func (l *awsLambda) start(ctx context.Context) (*runtimeAPI, error) {
	return newRuntimeAPI(ctx, l.cfg, lambdaDialect, l.env, l.extend)
}

func (l *awsLambda) env(addr string) []string {
	env := []string{
		"AWS_LAMBDA_RUNTIME_API=" + addr, "AWS_LAMBDA_FUNCTION_NAME=" + l.cfg.Name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + awsMemory, "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand", "AWS_REGION=" + awsRegion,
		"AWS_DEFAULT_REGION=" + awsRegion, "LAMBDA_TASK_ROOT=/var/task", "LAMBDA_RUNTIME_DIR=/var/runtime", "_HANDLER=bootstrap", "TZ=:UTC",
		"XINGHE_ENTRY=" + l.cfg.Entry,
	}
	return append(env, l.cfg.Env...)
}

// extend adds what Lambda's runtime API has beside the calls. Only a program that has
// registered an extension is told of its end, by SIGTERM; all others are killed.
func (l *awsLambda) extend(api *runtimeAPI, mux *http.ServeMux) {
	api.ends.Store(false)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, r *http.Request) {
		message, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		_, _ = fmt.Fprintf(l.cfg.Output, "%s: init error: %s\n", l.cfg.Name, message)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		api.ends.Store(true)
		w.Header().Set("Lambda-Extension-Identifier", uuid.NewString())
		_ = json.NewEncoder(w).Encode(map[string]string{"functionName": l.cfg.Name, "functionVersion": "$LATEST", "handler": "bootstrap"})
	})
	// Nobody registers for an event: this never answers.
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

func (l *awsLambda) invocation(id string, payload []byte) func(time.Time) *invocation {
	return func(deadline time.Time) *invocation {
		header := http.Header{}
		header.Set("Content-Type", "application/json")
		header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(deadline.UnixMilli(), 10))
		header.Set("Lambda-Runtime-Invoked-Function-Arn", fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", awsRegion, awsAccount, l.cfg.Name))
		header.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0")
		return &invocation{id: id, header: header, payload: payload}
	}
}

// invoke is Invoke, by which event sources come too. A stream comes back whole.
func (l *awsLambda) invoke(ctx context.Context, event Event) (Result, error) {
	result := Result{ID: uuid.NewString()}
	word := l.do(ctx, l.invocation(result.ID, event.Payload), func(a *answer) (err error) {
		if result.Payload, err = io.ReadAll(a.request.Body); err == nil {
			result.ErrorType = l.errorType(a, result.Payload)
		}
		return err
	})
	if word != "" {
		result.ErrorType = word
	}
	l.cfg.Report(Report{ID: result.ID, ErrorType: result.ErrorType})
	return result, ctx.Err()
}

// errorType is that of a failed answer that has been read; empty for one that is well.
func (l *awsLambda) errorType(a *answer, payload []byte) string {
	if !a.failed {
		return a.request.Trailer.Get("Lambda-Runtime-Function-Error-Type")
	}
	var told functionError
	if json.Unmarshal(payload, &told) != nil || told.Type == "" {
		return "Unhandled"
	}
	return told.Type
}
