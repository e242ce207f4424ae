package faas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/sign"
)

const (
	// frozenAfter is how long an instance must have been idle to be taken for one that was
	// frozen. Proxies and servers forget connections after a minute or more.
	frozenAfter = 20 * time.Second
	// flushWithin bounds what a request waits for when its answer is out.
	flushWithin = 200 * time.Millisecond
	// lastWords is how long requests that are cut at the end of the grace have to say so.
	lastWords = time.Second
	// maxMargin is how long before the platform's deadline a request is cut, to be able to
	// say so: the platform itself cuts without a word.
	maxMargin = 2 * time.Second
)

// instance is a function in service: it knows what is in flight.
type instance struct {
	fn     Function
	cfg    Config
	base   context.Context // of all requests and events
	over   chan struct{}   // closed when base ends
	cancel context.CancelFunc
	leave  func() // says to what is in flight that the end has begun

	warm       sync.Once
	background sync.WaitGroup

	ending  sync.Once
	endFail error

	mu     sync.Mutex
	active int
	last   time.Time     // when the last one ended; zero before
	quiet  chan struct{} // closed when none is in flight; nil while nobody waits for that
}

func newInstance(ctx context.Context, cfg Config, fn Function) *instance {
	leaving := make(chan struct{})
	i := &instance{fn: fn, cfg: cfg, over: make(chan struct{}), leave: sync.OnceFunc(func() { close(leaving) })}
	// Requests in flight outlive ctx, by the grace.
	ctx = context.WithValue(context.WithoutCancel(ctx), leavingKey{}, leaving)
	i.base, i.cancel = context.WithCancel(lifetime{ctx, i.over})
	return i
}

type leavingKey struct{}

// Leaving is closed when the instance that serves ctx is told to end, as long before ctx
// itself ends as the grace lasts. It is for what has no end of its own, such as a stream of
// news, whose client comes again; conversations keep to ctx. Outside an instance it is nil.
func Leaving(ctx context.Context) <-chan struct{} {
	leaving, _ := ctx.Value(leavingKey{}).(chan struct{})
	return leaving
}

// lifetime is a context whose end is a deadline that passed. Requests that are cut so say
// it to their clients; those whose contexts are canceled have none any more.
type lifetime struct {
	context.Context
	over chan struct{}
}

func (l lifetime) Done() <-chan struct{} { return l.over }

func (l lifetime) Err() error {
	select {
	case <-l.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// start starts what works beside the requests.
func (i *instance) start() {
	i.warm.Do(func() {
		if i.fn.Background != nil {
			i.background.Go(func() { i.fn.Background(i.base) })
		}
	})
}

// begin counts a request or event in; end counts it out, when its answer is on its way.
func (i *instance) begin(ctx context.Context) (end func()) {
	i.mu.Lock()
	frozen := i.active == 0 && !i.last.IsZero() && i.cfg.Now().Sub(i.last) > frozenAfter
	i.active++
	i.mu.Unlock()
	if frozen && i.fn.Thaw != nil {
		i.fn.Thaw()
	}
	i.start()
	return func() {
		i.flush(ctx)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.active--
		i.last = i.cfg.Now()
		if i.active == 0 && i.quiet != nil {
			close(i.quiet)
			i.quiet = nil
		}
	}
}

func (i *instance) flush(ctx context.Context) {
	if i.fn.Flush == nil {
		return
	}
	// The request may be over, but what it told is to be stored.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	if err := i.fn.Flush(ctx); err != nil {
		i.cfg.Logger.Debug().Err(sign.RedactError(err)).Msg("not flushed in time")
	}
}

// busy reports whether a request or an event is in flight.
func (i *instance) busy() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.active > 0
}

// idle is closed when no request and no event is in flight.
func (i *instance) idle() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.active == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if i.quiet == nil {
		i.quiet = make(chan struct{})
	}
	return i.quiet
}

// stop lets what is in flight end within the grace, cuts the rest, and frees the function.
// It can be called more than once; calls wait for the first.
func (i *instance) stop() error {
	i.ending.Do(func() {
		i.leave()
		i.endFail = i.drain()
		i.cancel()
		i.background.Wait()
		if i.fn.Close != nil {
			i.fn.Close()
		}
	})
	return i.endFail
}

func (i *instance) drain() error {
	defer i.cut()
	soft := time.NewTimer(i.softGrace())
	defer soft.Stop()
	select {
	case <-i.idle():
		return nil
	case <-soft.C:
	}
	i.cut()
	hard := time.NewTimer(i.cfg.Grace - i.softGrace())
	defer hard.Stop()
	select {
	case <-i.idle():
		return nil
	case <-hard.C:
		return fmt.Errorf("requests in flight were cut after %s", i.cfg.Grace)
	}
}

// softGrace is the part of the grace after which requests are asked to end.
func (i *instance) softGrace() time.Duration { return i.cfg.Grace - min(lastWords, i.cfg.Grace/2) }

// cut ends the contexts of all requests, as a deadline does.
func (i *instance) cut() {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.over:
	default:
		close(i.over)
	}
}

// before returns a context that ends somewhat earlier than the platform's deadline, in time
// to tell the client.
func before(ctx context.Context, left time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, left-min(maxMargin, left/5))
}

// within is [before] with the platform's deadline, if there is one.
func within(ctx context.Context, deadline time.Time, limited bool) (context.Context, context.CancelFunc) {
	if !limited {
		return context.WithCancel(ctx)
	}
	return before(ctx, time.Until(deadline))
}

// buffered answers a request that comes as an event, whole.
func (i *instance) buffered(ctx context.Context, payload []byte, id string) (*answerWriter, error) {
	r, err := requestOf(ctx, payload, id)
	if err != nil {
		return nil, err
	}
	out := &answerWriter{header: http.Header{}}
	if err := i.serve(out, r, out.begun); err != nil {
		return nil, err
	}
	if r.Method == http.MethodHead {
		out.body.Reset()
	}
	return out, nil
}

// EventError is why an event failed, in the words that the platform is told.
type EventError struct {
	Event Event
	Err   error // redacted
}

func (e *EventError) Error() string {
	if e.Event.Name == "" {
		return e.Event.Kind + ": " + e.Err.Error()
	}
	return e.Event.Kind + " " + e.Event.Name + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *EventError) Unwrap() error { return e.Err }

var errNoEvents = errors.New("this function takes no events")

// handle does an event's work, and logs it. A panic is an error: it must not take the
// process along.
func (i *instance) handle(ctx context.Context, event Event) (out json.RawMessage, err error) {
	began, level := i.cfg.Now(), zerolog.InfoLevel
	defer func() {
		fields := map[string]any{}
		if p := recover(); p != nil {
			err, fields["stack"] = fmt.Errorf("panic: %v", p), string(debug.Stack())
		}
		if err != nil {
			err, level = &EventError{Event: event, Err: sign.RedactError(err)}, zerolog.ErrorLevel
		}
		i.cfg.Logger.WithLevel(level).Err(err).Fields(fields).Str("kind", event.Kind).Str("trigger", event.Name).Str("event", event.ID).Int("attempt", event.Attempt).
			Int64("dur_ms", i.cfg.Now().Sub(began).Milliseconds()).Msg("event")
	}()
	if i.fn.Event == nil {
		return nil, errNoEvents
	}
	return i.fn.Event(ctx, event)
}

// serve has the handler answer a request. It returns why the answer broke off, if it did: a
// panic before the first byte is answered with 500.
func (i *instance) serve(w http.ResponseWriter, r *http.Request, begun func() bool) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if cause, ok := p.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
			err = errBroken
			if !begun() {
				w.WriteHeader(http.StatusBadGateway)
			}
			return
		}
		i.cfg.Logger.Error().Str("error", sign.Redact(fmt.Sprint(p))).Str("stack", string(debug.Stack())).Msg("panic")
		if begun() {
			err = errBroken
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal"}`))
	}()
	i.fn.HTTP.ServeHTTP(w, r)
	return nil
}

// errBroken ends an answer that is not whole.
var errBroken = errors.New("the answer broke off")
