package queue

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// freezer dials connections that can fall silent, as those of a process do that was frozen
// for so long that a proxy has forgotten them: what is written is lost, nothing comes, and
// nobody says so.
type freezer struct {
	broker *broker

	mu    sync.Mutex
	conns []*silent
}

func (f *freezer) Dial(string, string) (net.Conn, error) {
	conn, err := f.broker.InProcessConn()
	if err != nil {
		return nil, err
	}
	s := &silent{Conn: conn, mute: make(chan struct{}), closed: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, s)
	return s, nil
}

// freeze silences the connections there are, and returns how many.
func (f *freezer) freeze() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		close(conn.mute)
	}
	n := len(f.conns)
	f.conns = nil
	return n
}

type silent struct {
	net.Conn
	mute, closed chan struct{}
	once         sync.Once
}

func (s *silent) Write(p []byte) (int, error) {
	select {
	case <-s.mute:
		return len(p), nil
	default:
		return s.Conn.Write(p)
	}
}

func (s *silent) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	select {
	case <-s.mute:
		<-s.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (s *silent) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

func TestRenewAfterAFreeze(t *testing.T) {
	t.Parallel()
	b, _ := setup(t)
	f := &freezer{broker: b}
	// Only the custom dialer: the library's own pings find a dead connection after a minute.
	q, err := Open(ConnConfig{Options: []nats.Option{nats.SetCustomDialer(f)}}, Config{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	q.Renew() // there is no connection yet
	if n := f.freeze(); n > 0 {
		t.Fatalf("%d connections before the first operation", n)
	}
	publish(t, q, Job{Subject: "xinghe.jobs.a", ID: "before"})
	if n := f.freeze(); n != 1 {
		t.Fatalf("%d connections, want 1", n)
	}
	q.Renew()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := q.Publish(ctx, Job{Subject: "xinghe.jobs.b", ID: "after"}); err != nil {
		t.Errorf("after the freeze: %v", err)
	}
	if n := f.freeze(); n != 1 {
		t.Errorf("%d new connections, want 1", n)
	}
}
