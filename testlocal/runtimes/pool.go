package runtimes

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// instance is a running program and the platform's end of the talk with it.
type instance interface {
	program() *process
	// stop ends the program in the platform's way; there are no calls by then.
	stop()
}

// errClosed is what calls get once the function is closed.
var errClosed = errors.New("the function is closed")

// pool hands instances to calls: the fullest one that has room, else a new one, up to a
// number. An instance without calls is frozen, one that has ended is replaced.
type pool[T instance] struct {
	start  func(context.Context) (T, error)
	room   chan struct{} // a token for each call that may run
	most   int           // calls at once in an instance
	freeze bool

	mu     sync.Mutex
	places []*place[T]
	closed bool
}

// place is an instance in the pool.
type place[T instance] struct {
	calls int           // under way, guarded by the pool's mutex
	ready chan struct{} // closed when the fields below are set
	inst  T
	err   error
}

func newPool[T instance](cfg Config, most int, start func(context.Context) (T, error)) *pool[T] {
	return &pool[T]{start: start, room: make(chan struct{}, cfg.Instances*most), most: most, freeze: !cfg.NoFreeze}
}

// take hands out an instance, after waiting for a free one as long as ctx allows. The caller
// gives it back by release.
func (p *pool[T]) take(ctx context.Context) (inst T, release func(), err error) {
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return inst, nil, context.Cause(ctx)
	}
	at, err := p.enter(ctx)
	if err != nil {
		<-p.room
		return inst, nil, err
	}
	return at.inst, func() {
		p.leave(at)
		<-p.room
	}, nil
}

// enter takes a place, and makes it if there is none with room.
func (p *pool[T]) enter(ctx context.Context) (*place[T], error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	p.places = slices.DeleteFunc(p.places, (*place[T]).bury)
	var at *place[T]
	for _, other := range p.places {
		if other.calls < p.most && (at == nil || other.calls > at.calls) {
			at = other
		}
	}
	if at != nil {
		at.calls++
		at.thaw()
		p.mu.Unlock()
		<-at.ready
		if at.err != nil {
			return nil, at.err
		}
		return at, nil
	}
	at = &place[T]{calls: 1, ready: make(chan struct{})}
	p.places = append(p.places, at)
	p.mu.Unlock()
	at.inst, at.err = p.start(context.WithoutCancel(ctx)) // others may wait for it
	close(at.ready)
	if at.err != nil {
		return nil, at.err
	}
	return at, nil
}

func (p *pool[T]) leave(at *place[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.calls--; at.calls == 0 && p.freeze && !p.closed {
		at.inst.program().freeze()
	}
}

// up reports whether the start has come to its end, well or not.
func (at *place[T]) up() bool {
	select {
	case <-at.ready:
		return true
	default:
		return false
	}
}

func (at *place[T]) dead() bool { return at.up() && (at.err != nil || !at.inst.program().alive()) }

// bury reports whether the place is dead, and lets go of what it holds if it is.
func (at *place[T]) bury() bool {
	dead := at.dead()
	if dead && at.err == nil {
		at.inst.stop()
	}
	return dead
}

func (at *place[T]) thaw() {
	if at.up() && at.err == nil {
		at.inst.program().thaw()
	}
}

// close stops all instances, after the calls that run.
func (p *pool[T]) close() {
	p.mu.Lock()
	p.closed = true
	places := p.places
	p.mu.Unlock()
	for range cap(p.room) {
		p.room <- struct{}{}
	}
	var stops sync.WaitGroup
	for _, at := range places {
		if at.err == nil { // all are up by now
			stops.Go(at.inst.stop)
		}
	}
	stops.Wait()
	for range cap(p.room) {
		<-p.room
	}
}

// programs lists the programs that run.
func (p *pool[T]) programs() []*process {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*process
	for _, at := range p.places {
		if at.up() && !at.dead() {
			list = append(list, at.inst.program())
		}
	}
	return list
}
