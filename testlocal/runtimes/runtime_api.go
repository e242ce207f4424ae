package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// dialect is in what the runtime APIs of the platforms differ.
type dialect struct {
	version  string        // first part of the paths
	accepted int           // status by which an answer is confirmed
	start    time.Duration // within which a program must ask for work
	idHeader string        // of the call's id
}

// invocation is one call by a runtime API.
type invocation struct {
	id      string
	header  http.Header // beside the id
	payload []byte
	answer  chan *answer // has room for the one answer
}

// answer is what the program posts. It is read while it comes; whoever has read it to its
// end, or will not, calls done.
type answer struct {
	failed  bool
	request *http.Request
	done    context.CancelFunc
}

// runtimeAPI is an instance whose program asks for its work: it gets one call at a time.
type runtimeAPI struct {
	dialect
	proc   *process
	server *http.Server
	work   chan *invocation
	asked  chan struct{} // a token each time the program asks for work
	grace  time.Duration
	before func()      // what is done before the program is told to end
	ends   atomic.Bool // the program hears of its end by SIGTERM

	mu      sync.Mutex
	current *invocation // whose answer is awaited
}

// errGone is what a call gets whose program has ended.
var errGone = errors.New("the program has ended")

// newRuntimeAPI starts the API and the program, and waits until that asks for work.
func newRuntimeAPI(ctx context.Context, cfg Config, d dialect, env func(addr string) []string, more func(*runtimeAPI, *http.ServeMux)) (*runtimeAPI, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	api := &runtimeAPI{
		dialect: d, work: make(chan *invocation), asked: make(chan struct{}, 16),
		grace: cfg.Grace, before: func() {},
	}
	api.ends.Store(true)
	mux := http.NewServeMux()
	root := "/" + d.version + "/runtime/"
	mux.HandleFunc("GET "+root+"invocation/next", api.next)
	mux.HandleFunc("POST "+root+"invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) { api.take(w, r, false) })
	mux.HandleFunc("POST "+root+"invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) { api.take(w, r, true) })
	if more != nil {
		more(api, mux)
	}
	api.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = api.server.Serve(listener) }()
	if api.proc, err = launch(ctx, cfg.Program, env(listener.Addr().String()), cfg.Output); err != nil {
		_ = api.server.Close()
		return nil, err
	}
	late := time.NewTimer(d.start)
	defer late.Stop()
	select {
	case <-api.asked:
		return api, nil
	case <-api.proc.exited:
		err = fmt.Errorf("%s: it ended before it asked for work: %s", cfg.Name, api.proc.cmd.ProcessState)
	case <-late.C:
		err = fmt.Errorf("%s: it has not asked for work within %s", cfg.Name, d.start)
	}
	api.proc.kill()
	return nil, errors.Join(err, api.server.Close())
}

func (api *runtimeAPI) program() *process { return api.proc }

func (api *runtimeAPI) stop() {
	if api.proc.alive() {
		api.proc.thaw()
		api.before()
	}
	if api.ends.Load() {
		api.proc.stop(api.grace)
	} else {
		api.proc.kill()
	}
	_ = api.server.Close()
}

// next hands out the next call, however long that takes.
func (api *runtimeAPI) next(w http.ResponseWriter, r *http.Request) {
	api.asked <- struct{}{}
	select {
	case inv := <-api.work:
		maps.Copy(w.Header(), inv.header)
		w.Header().Set(api.idHeader, inv.id)
		_, _ = w.Write(inv.payload)
	case <-r.Context().Done():
	}
}

// take takes an answer and confirms it when it has been read.
func (api *runtimeAPI) take(w http.ResponseWriter, r *http.Request, failed bool) {
	inv := api.awaited(r.PathValue("id"))
	if inv == nil {
		http.Error(w, "no such call, or it has its answer", http.StatusForbidden)
		return
	}
	read, done := context.WithCancel(r.Context())
	defer done()
	inv.answer <- &answer{failed: failed, request: r, done: done}
	<-read.Done()
	w.WriteHeader(api.accepted)
}

// awaited is the call that waits for its answer, once.
func (api *runtimeAPI) awaited(id string) *invocation {
	api.mu.Lock()
	defer api.mu.Unlock()
	inv := api.current
	if inv == nil || inv.id != id {
		return nil
	}
	api.current = nil
	return inv
}

// call hands a call to the program and its answer to use, which must read it. When ctx ends
// before settle has, the program is killed. The error is that of ctx, errGone, or what use
// has returned.
func (api *runtimeAPI) call(ctx context.Context, inv *invocation, use func(*answer) error) error {
	inv.answer = make(chan *answer, 1)
	api.mu.Lock()
	api.current = inv
	api.mu.Unlock()
	select {
	case api.work <- inv:
	case <-api.proc.exited:
		return gone(ctx)
	}
	var got *answer
	select {
	case got = <-inv.answer:
	case <-api.proc.exited:
		select {
		case got = <-inv.answer: // it was its last word
		default:
			return gone(ctx)
		}
	}
	defer got.done()
	return use(got)
}

// settle waits until the program asks for work again, which ends the call.
func (api *runtimeAPI) settle() {
	select {
	case <-api.asked:
	case <-api.proc.exited:
	}
}

// gone is why a program ended: the time was up, or by itself.
func gone(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errGone
}

// drain reads what is left of an answer.
func drain(a *answer) error {
	_, err := io.Copy(io.Discard, a.request.Body)
	return err
}

// workers are the instances of a function that asks for its work.
type workers struct {
	cfg  Config
	pool *pool[*runtimeAPI]
}

func (w *workers) programs() []*process { return w.pool.programs() }

func (w *workers) close() { w.pool.close() }

// do has a call done by an instance. The caller's leaving does not end it. The word is the
// platform's for a call that came to no end of its own.
func (w *workers) do(ctx context.Context, inv func(deadline time.Time) *invocation, use func(*answer) error) (word string) {
	api, release, err := w.pool.take(ctx)
	if err != nil {
		return ErrorStart
	}
	deadline := time.Now().Add(w.cfg.Timeout)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	spare := context.AfterFunc(ctx, api.proc.kill)
	err = api.call(ctx, inv(deadline), use)
	go func() { // what the caller gets is over before the program asks again
		api.settle()
		spare()
		cancel()
		release()
	}()
	switch {
	case err == nil:
		return ""
	case ctx.Err() != nil:
		return ErrorTimeout
	}
	return ErrorExit
}
