// Package natstest gives a test a JetStream server of its own, inside the test's process:
// no port unless it is asked for, no program to install, data in the test's temporary folder.
package natstest

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patience is how long a server may take to start.
const patience = 20 * time.Second

// Server is a NATS server with JetStream that can be stopped and started again; it keeps
// its data until the test ends. The zero value is not usable: call [New].
type Server struct {
	tb      testing.TB
	options server.Options
	now     atomic.Pointer[server.Server]
}

// New starts a server that is reached inside the process only, and stops when the test ends.
func New(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, server.Options{DontListen: true})
}

// Listen starts a server with an address, see [Server.URL]. It asks for user and password
// unless user is empty.
func Listen(tb testing.TB, user, password string) *Server {
	tb.Helper()
	return start(tb, server.Options{Host: loopback, Port: server.RANDOM_PORT, Username: user, Password: password})
}

// Example starts a server for an Example, which has no test to end; call stop for that. It
// panics where a test would fail.
func Example() (s *Server, stop func()) {
	p := &podium{}
	return New(p), p.leave
}

func start(tb testing.TB, options server.Options) *Server {
	tb.Helper()
	options.JetStream, options.StoreDir, options.NoLog, options.NoSigs = true, tb.TempDir(), true, true
	s := &Server{tb: tb, options: options}
	s.Start()
	tb.Cleanup(s.Stop)
	return s
}

// Start starts the server again after [Server.Stop]. One that listens keeps its address.
func (s *Server) Start() {
	s.tb.Helper()
	srv, err := server.NewServer(s.options.Clone())
	if err != nil {
		s.tb.Fatalf("make NATS server: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		srv.Shutdown()
		s.tb.Fatalf("NATS server is not ready after %s", patience)
	}
	if previous := s.now.Swap(srv); previous != nil {
		previous.Shutdown()
		s.tb.Fatalf("NATS server was started twice")
	}
	if address, ok := srv.Addr().(*net.TCPAddr); ok {
		s.options.Port = address.Port
	}
}

// Stop stops the server; its clients try to come back. It does nothing if the server is
// stopped already.
func (s *Server) Stop() {
	if srv := s.now.Swap(nil); srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// InProcessConn lets [nats.InProcessServer] reach whichever server runs at the moment.
func (s *Server) InProcessConn() (net.Conn, error) {
	if srv := s.now.Load(); srv != nil {
		return srv.InProcessConn()
	}
	return nil, nats.ErrNoServers
}

// URL is the address of a running server that listens, without user and password.
func (s *Server) URL() string {
	if srv := s.now.Load(); srv != nil {
		return srv.ClientURL()
	}
	return ""
}

// Options are what a client needs to reach the server and to come back soon after it was
// stopped and started.
func (s *Server) Options() []nats.Option {
	return []nats.Option{
		nats.InProcessServer(s), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1),
	}
}

// Connect makes a connection, which is closed when the test ends.
func (s *Server) Connect(options ...nats.Option) *nats.Conn {
	s.tb.Helper()
	conn, err := nats.Connect("", append(s.Options(), options...)...)
	if err != nil {
		s.tb.Fatalf("connect to NATS: %v", err)
	}
	s.tb.Cleanup(conn.Close)
	return conn
}

// JetStream returns JetStream over a connection of its own.
func (s *Server) JetStream() jetstream.JetStream {
	s.tb.Helper()
	js, err := jetstream.New(s.Connect())
	if err != nil {
		s.tb.Fatalf("open JetStream: %v", err)
	}
	return js
}

// podium stands in for the test that an Example does not have.
type podium struct {
	testing.TB // nil: what is not below is not needed
	undo       []func()
}

func (p *podium) Helper() {}

func (p *podium) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (p *podium) Cleanup(f func()) { p.undo = append(p.undo, f) }

func (p *podium) TempDir() string {
	folder, err := os.MkdirTemp("", "natstest-")
	if err != nil {
		p.Fatalf("make a folder: %v", err)
	}
	p.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func (p *podium) leave() {
	for _, f := range slices.Backward(p.undo) {
		f()
	}
}
