package emulator

import (
	"context"
	"net"
	"sync"
	"time"
)

// Guard wraps the TCP listener that the emulator is served on, so that the fault "refuse" with a delay can close the port
// for a while: new connections are refused by the system itself. Without it such requests are only reset. One listener can
// be guarded; the last one counts.
func (e *Emulator) Guard(listener net.Listener) net.Listener {
	guarded := &guardedListener{listener: listener, addr: listener.Addr(), closed: make(chan struct{})}
	e.gate.watch(guarded)
	return guarded
}

// gate passes the order to close the port on.
type gate struct {
	mu       sync.Mutex
	listener *guardedListener
}

func (g *gate) watch(l *guardedListener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener = l
}

func (g *gate) shut(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		g.listener.shut(d)
	}
}

// guardedListener is a listener whose port can be closed for a while.
type guardedListener struct {
	addr   net.Addr
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	listener net.Listener // nil while the port is closed
	until    time.Time
}

func (l *guardedListener) Addr() net.Addr { return l.addr }

func (l *guardedListener) shut(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Now().Add(d)
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
}

// Accept waits while the port is closed and opens it again when its time has come.
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		current, err := l.current()
		if err != nil {
			return nil, err
		}
		conn, err := current.Accept()
		if err == nil || !l.replaced(current) {
			return conn, err
		}
	}
}

// replaced reports whether the listener was closed by the gate and not by its owner.
func (l *guardedListener) replaced(current net.Listener) bool {
	select {
	case <-l.closed:
		return false
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listener != current
}

func (l *guardedListener) current() (net.Listener, error) {
	for {
		l.mu.Lock()
		current, rest := l.listener, time.Until(l.until)
		l.mu.Unlock()
		if current != nil {
			return current, nil
		}
		if rest <= 0 && l.reopen() {
			continue
		}
		timer := time.NewTimer(max(rest, 20*time.Millisecond))
		select {
		case <-timer.C:
		case <-l.closed:
			timer.Stop()
			return nil, net.ErrClosed
		}
	}
}

// reopen listens on the same address; false if somebody else has it by now.
func (l *guardedListener) reopen() bool {
	// Listening takes no time; what ends it is Close.
	ctx := context.Background()
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, l.addr.Network(), l.addr.String())
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		_ = listener.Close()
	default:
		l.listener = listener
	}
	return true
}

// Close closes the port for good.
func (l *guardedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener == nil {
		return nil
	}
	return l.listener.Close()
}
