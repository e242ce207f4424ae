package runtimes

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
)

// fcWeb is Function Compute in front of web functions: the request is passed on as it is,
// the answer passed back while it comes.
type fcWeb struct {
	cfg  Config
	pool *pool[*webInstance]
}

func newFCWeb(cfg Config) *fcWeb {
	f := &fcWeb{cfg: cfg}
	f.pool = newPool(cfg, cfg.Concurrency, func(ctx context.Context) (*webInstance, error) { return startWeb(ctx, cfg) })
	return f
}

func (f *fcWeb) programs() []*process { return f.pool.programs() }

func (f *fcWeb) close() { f.pool.close() }

// ServeHTTP is the HTTP trigger.
func (f *fcWeb) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := fcID()
	body, err := io.ReadAll(io.LimitReader(r.Body, fcBodyLimit+1))
	if err != nil {
		return // the caller has left
	}
	if refusal := fcRefusal(r, len(body)); refusal != "" {
		fcRefuse(w, id, http.StatusBadRequest, "InvalidArgument", refusal)
		return
	}
	header := fcHeaders(f.cfg, id, 1)
	header.Set("X-Fc-Control-Path", "/http-invoke")
	header.Set("X-Fc-Base-Path", r.URL.Path)
	header.Set("X-Fc-Client-Ip", "")
	for name, values := range r.Header {
		if !strings.HasPrefix(name, "X-Fc-") && name != "Keep-Alive" {
			header[name] = values
		}
	}
	out := r.Clone(r.Context())
	out.Header, out.Body, out.ContentLength, out.TransferEncoding = header, io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if len(body) == 0 {
		out.Body = http.NoBody // or it might be sent as a body in chunks that is empty
	}
	f.pass(w, out, id)
}

// pass hands a request to an instance and its answer to w.
func (f *fcWeb) pass(w http.ResponseWriter, r *http.Request, id string) {
	instance, release, err := f.pool.take(r.Context())
	if err != nil {
		f.cfg.Report(Report{ID: id, ErrorType: ErrorStart})
		fcFail(w, id, ErrorStart)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.cfg.Timeout)
	begun, err := instance.relay(w, r.WithContext(ctx), id)
	word := ""
	switch {
	case err == nil || r.Context().Err() != nil: // a caller who has left is no failure
	case ctx.Err() != nil:
		word = ErrorTimeout
	default:
		word = ErrorCut
	}
	cancel()
	release()
	f.cfg.Report(Report{ID: id, ErrorType: word})
	switch {
	case err == nil:
	case begun:
		panic(http.ErrAbortHandler) // the caller must see that it is not whole
	default:
		fcFail(w, id, word)
	}
}

// invoke is InvokeFunction, by which event sources come too.
func (f *fcWeb) invoke(ctx context.Context, event Event) (Result, error) {
	id := fcID()
	instance, release, err := f.pool.take(ctx)
	if err != nil {
		f.cfg.Report(Report{ID: id, ErrorType: ErrorStart})
		return Result{}, err
	}
	defer release()
	result := Result{ID: id}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	result.Payload, result.ErrorType, err = instance.invoke(ctx, id, event)
	if err != nil {
		result.ErrorType = ErrorCut
		if ctx.Err() != nil {
			result.ErrorType = ErrorTimeout
		}
	}
	f.cfg.Report(Report{ID: id, ErrorType: result.ErrorType})
	return result, nil
}
