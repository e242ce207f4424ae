package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Run delivers until ctx is done, and drains.
func (w *Worker) Run(ctx context.Context) error {
	if w.cfg.Source == nil {
		<-ctx.Done()
		return nil
	}
	var others sync.WaitGroup
	defer others.Wait()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx)) // it sees the drain through
	defer stop()
	others.Go(func() { w.watch(watching) })
	targets := map[string]*running{}
	w.apply(ctx, targets, w.cfg.Source.current)
	w.cfg.Source.watch(ctx, func(list []Subscription) { w.apply(ctx, targets, list) })
	w.apply(ctx, targets, nil)
	return nil
}

// running is a target that is delivered to.
type running struct {
	Subscription
	stop  context.CancelFunc
	ended chan struct{}
}

// apply ends the targets that are gone or others now, and begins those that are new. A
// target goes on where it was; what is published meanwhile waits in the stream.
func (w *Worker) apply(ctx context.Context, targets map[string]*running, list []Subscription) {
	wanted := make(map[string]Subscription, len(list))
	for _, s := range list {
		wanted[s.Name] = s
	}
	var ending []*running
	for name, r := range targets {
		if s, ok := wanted[name]; !ok || !s.same(r.Subscription) {
			r.stop()
			ending = append(ending, r)
			delete(targets, name)
		}
	}
	for _, r := range ending {
		<-r.ended
	}
	for _, s := range list {
		if targets[s.Name] == nil {
			targets[s.Name] = w.begin(ctx, s)
		}
	}
}

func (w *Worker) begin(ctx context.Context, s Subscription) *running {
	ctx, stop := context.WithCancel(ctx)
	r := &running{Subscription: s, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		w.deliverTo(ctx, s)
	}()
	return r
}

// deliverTo delivers to a target until ctx ends, and begins anew where it cannot: the others
// are not concerned.
func (w *Worker) deliverTo(ctx context.Context, s Subscription) {
	again := queue.ExponentialBackoff(time.Second, time.Minute)
	for try := 1; ; try++ {
		t, err := newTarget(w, s)
		if err == nil {
			err = t.run(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		zerolog.Ctx(ctx).Error().Err(err).Str("target", s.Name).Msg("cannot deliver to a target, will try again")
		w.wait(ctx, again(try), nil)
	}
}

// watch hands on what workers and operators write about targets, until ctx ends.
func (w *Worker) watch(ctx context.Context) {
	for ctx.Err() == nil {
		for entry, err := range w.targets.Watch(ctx, ">") {
			if err == nil {
				w.healths.see(entry.Key, entry.Value, entry.Revision)
			} else if ctx.Err() == nil {
				zerolog.Ctx(ctx).Warn().Err(err).Str("target", entry.Key).Msg("cannot read how targets are, will try again")
			}
		}
		w.wait(ctx, time.Second, nil)
	}
}

// healths are those of the targets that are delivered to, by name.
type healths struct {
	mu   sync.Mutex
	list map[string]*health
}

func (hs *healths) add(h *health) *health {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.list == nil {
		hs.list = map[string]*health{}
	}
	hs.list[h.name] = h
	return h
}

func (hs *healths) see(name string, record jobs.Webhook, revision uint64) {
	hs.mu.Lock()
	h := hs.list[name]
	hs.mu.Unlock()
	if h != nil {
		h.see(record, revision)
	}
}
