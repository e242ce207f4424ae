package runtimes

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// wire is a way to NATS that can fail under way, as it does in an hour of silence.
type wire struct {
	addr  string
	mu    sync.Mutex
	pairs []*pair
}

// pair is a connection through the wire.
type pair struct {
	near, far net.Conn
	lost      atomic.Bool // what is said goes nowhere
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: listener.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			p := &pair{near: near, far: far}
			w.mu.Lock()
			w.pairs = append(w.pairs, p)
			w.mu.Unlock()
			all.Go(func() { p.carry(near, far) })
			all.Go(func() { p.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.cut()
		all.Wait()
	})
	return w
}

// carry passes on what is said one way.
func (p *pair) carry(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.lost.Load() {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			if !p.lost.Load() {
				_ = to.Close()
			}
			return
		}
	}
}

// cut ends all connections. It returns how many there were.
func (w *wire) cut() int {
	return w.each(func(p *pair) {
		_ = p.near.Close()
		_ = p.far.Close()
	})
}

// lose makes all connections lead nowhere, and nobody hears of it, as behind gateways that
// forget. It returns how many there were.
func (w *wire) lose() int { return w.each(func(p *pair) { p.lost.Store(true) }) }

func (w *wire) each(do func(*pair)) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pairs {
		do(p)
	}
	return len(w.pairs)
}
