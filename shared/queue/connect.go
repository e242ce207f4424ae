package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"xinghe/shared/sign"
)

// ConnConfig says how to reach NATS. Zero values mean the defaults.
type ConnConfig struct {
	// URL holds one or more addresses, comma-separated, user and password included if need
	// be. Default nats://127.0.0.1:4222.
	URL string
	// Creds is the path of a credentials file; none by default.
	Creds string
	// Name is what operators see in the server's list of connections.
	Name string
	// Timeout bounds one attempt to connect. Default 2s.
	Timeout time.Duration
	// Logger hears of lost and restored connections. The zero logger is silent.
	Logger zerolog.Logger
	// Options come last, for what is not covered above, such as nats.InProcessServer.
	Options []nats.Option
}

// Connect connects to NATS and keeps reconnecting forever. It returns without error even
// when no server answers yet: operations of a [Queue] wait for the connection, as long as
// their contexts allow. Errors carry no password. The caller closes the connection.
//
// Nothing is buffered while the connection is down, so that an operation that was reported
// as failed is not done later behind the caller's back.
func Connect(cfg ConnConfig) (*nats.Conn, error) {
	if cfg.URL == "" {
		cfg.URL = nats.DefaultURL
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	log := cfg.Logger
	opts := []nats.Option{
		nats.Name(cfg.Name), nats.Timeout(cfg.Timeout),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(20 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn().Err(sign.RedactError(err)).Msg("nats connection lost")
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info().Str("server", nc.ConnectedUrlRedacted()).Msg("nats connection restored")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			event := log.Warn().Err(sign.RedactError(err))
			if sub != nil {
				event = event.Str("subject", sub.Subject)
			}
			event.Msg("nats error")
		}),
	}
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	nc, err := nats.Connect(cfg.URL, append(opts, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", sign.RedactError(err))
	}
	return nc, nil
}

// Open returns a queue that connects by [Connect] at its first operation, which suits
// functions that may never need NATS: Open itself does not touch the network. Call
// [Queue.Close] in the end.
func Open(conn ConnConfig, cfg Config) (*Queue, error) {
	return newQueue(&lazyLink{cfg: conn}, cfg)
}

// link is where a queue gets its connection from.
type link interface {
	// js waits for the connection to be up.
	js(ctx context.Context) (jetstream.JetStream, error)
	// up reports whether it is, without waiting.
	up() bool
	// renew replaces the connection, if there is one, without waiting.
	renew()
	close()
}

type fixedLink struct{ given jetstream.JetStream }

func (l *fixedLink) up() bool { return l.given.Conn().IsConnected() }

func (l *fixedLink) renew() {}

func (l *fixedLink) close() {}

func (l *fixedLink) js(ctx context.Context) (jetstream.JetStream, error) {
	return l.given, connected(ctx, l.given.Conn())
}

// lazyLink connects once, however many operations wait for it.
type lazyLink struct {
	cfg ConnConfig

	mu      sync.Mutex
	dialing *dial // nil before the first operation and after a failure
	closed  bool
}

type dial struct {
	done chan struct{} // closed when the fields below are set
	js   jetstream.JetStream
	err  error
}

func (l *lazyLink) js(ctx context.Context) (jetstream.JetStream, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, fmt.Errorf("%w: the queue is closed", ErrUnavailable)
	}
	if l.dialing == nil {
		l.dialing = &dial{done: make(chan struct{})}
		go l.dial(l.dialing)
	}
	d := l.dialing
	l.mu.Unlock()

	select {
	case <-d.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: not connected yet: %w", ErrUnavailable, ctx.Err())
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, d.err)
	}
	return d.js, connected(ctx, d.js.Conn())
}

// dial ends within the connection's time-out; close waits for it.
func (l *lazyLink) dial(d *dial) {
	defer close(d.done)
	nc, err := Connect(l.cfg)
	if err == nil {
		d.js, err = jetstream.New(nc)
	}
	if d.err = err; err != nil {
		l.mu.Lock()
		l.dialing = nil
		l.mu.Unlock()
	}
}

func (l *lazyLink) up() bool {
	nc := l.conn()
	return nc != nil && nc.IsConnected()
}

func (l *lazyLink) renew() {
	if nc := l.conn(); nc != nil {
		_ = nc.ForceReconnect() // fails only when it is closed
	}
}

// conn is the connection, or nil if there is none yet.
func (l *lazyLink) conn() *nats.Conn {
	l.mu.Lock()
	d := l.dialing
	l.mu.Unlock()
	if d == nil {
		return nil
	}
	select {
	case <-d.done:
		if d.err == nil {
			return d.js.Conn()
		}
	default:
	}
	return nil
}

func (l *lazyLink) close() {
	l.mu.Lock()
	d := l.dialing
	l.closed = true
	l.mu.Unlock()
	if d == nil {
		return
	}
	<-d.done
	if d.js != nil {
		d.js.Conn().Close()
	}
}

// connected waits until the connection is up.
func connected(ctx context.Context, nc *nats.Conn) error {
	if nc.IsConnected() {
		return ctx.Err()
	}
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	for !nc.IsConnected() {
		if nc.IsClosed() {
			return fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrConnectionClosed)
		}
		select {
		case <-status:
		case <-ctx.Done():
			err := ctx.Err()
			if last := nc.LastError(); last != nil {
				err = fmt.Errorf("%w: %w", err, sign.RedactError(last))
			}
			return fmt.Errorf("%w: not connected: %w", ErrUnavailable, err)
		}
	}
	return nil
}
