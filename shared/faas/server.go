package faas

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// serveHTTP is the entry http.
func serveHTTP(ctx context.Context, i *instance) error {
	listener, err := Listen(ctx, i.cfg.Addr, "XINGHE_ADDR")
	if err != nil {
		return err
	}
	i.start()
	return i.listen(ctx, listener, i.plain())
}

// plain is the handler without what only a platform may say.
func (i *instance) plain() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		strip(r.Header)
		i.fn.HTTP.ServeHTTP(w, r)
	})
}

// controlPrefix is what headers begin with that only Function Compute may set.
const controlPrefix = "X-Fc-"

// strip removes what only the platform may say.
func strip(header http.Header) {
	for name := range header {
		if strings.HasPrefix(name, controlPrefix) {
			delete(header, name)
		}
	}
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
// end within grace (0 means 10 s): shortly before it is over their contexts end as by a
// deadline, so that streams can say so, and what is left is cut; see [Leaving] too. It
// closes the listener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration) error {
	cfg := Config{Grace: grace}.withDefaults()
	i := newInstance(ctx, cfg, Function{HTTP: handler})
	defer i.cancel()
	return i.listen(ctx, listener, handler)
}

// listen serves until ctx is done, and the grace thereafter.
func (i *instance) listen(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler,
		// No timeout for whole answers: a stream may be long. Idle connections are kept for
		// longer than the proxies in front keep theirs, or they would meet closed ones.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       16 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return i.base },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	i.leave()
	hard, done := context.WithTimeout(context.WithoutCancel(ctx), i.cfg.Grace)
	defer done()
	soft := time.AfterFunc(i.softGrace(), i.cut)
	defer soft.Stop()
	err := server.Shutdown(hard)
	i.cut()
	if err != nil {
		err = errors.Join(fmt.Errorf("requests in flight were cut after %s", i.cfg.Grace), server.Close())
	}
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
