package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"xinghe/shared/faas"
	"xinghe/shared/queue"
)

func (s *Stack) startNATS(ctx context.Context, _ Config) error {
	conn := s.settings.nats
	if conn == nil {
		var err error
		if s.nats, err = startNATS(ctx, s.settings.natsAddr, filepath.Join(s.Data, "jetstream")); err != nil {
			return err
		}
		conn = &queue.ConnConfig{URL: s.nats.ClientURL(), Name: connectionName, Logger: s.log}
	}
	s.NATSURL = conn.URL
	var err error
	if s.queue, err = queue.Open(*conn, s.settings.queue); err != nil {
		return err
	}
	s.telemetry.Watch(s.queue)
	err = s.queue.Ensure(ctx)
	if s.nats == nil && errors.Is(err, queue.ErrUnavailable) {
		return fmt.Errorf("%s is set, so no NATS of the stack's own was started, and none with JetStream answers at %s: start it there, or unset %s: %w",
			s.settings.natsBy, hosts(cmp.Or(conn.URL, nats.DefaultURL)), s.settings.natsBy, err)
	}
	return err
}

// hosts are the addresses of servers, separated by commas, without what is secret in them.
func hosts(urls string) string {
	list := strings.Split(urls, ",")
	for i, url := range list {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(url), "://")
		if !ok {
			scheme, rest = "nats", scheme
		}
		list[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return strings.Join(list, ",")
}

// startNATS starts a NATS server with JetStream in this process.
func startNATS(ctx context.Context, addr, folder string) (*server.Server, error) {
	host, port, err := split(addr)
	if err != nil {
		return nil, fmt.Errorf("XINGHE_NATS_ADDR: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "xinghe-local", Host: host, Port: port,
		JetStream: true, StoreDir: folder, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	// The server itself would end the process if the port is taken.
	probe, err := faas.Listen(ctx, addr, "XINGHE_NATS_ADDR")
	if err != nil {
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		srv.Shutdown()
		return nil, errors.New("start NATS: it is not ready after 10 s")
	}
	return srv, nil
}
