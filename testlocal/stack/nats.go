package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"xinghe/shared/faas"
)

// startNATS starts a NATS server with JetStream in this process.
func startNATS(ctx context.Context, addr, folder string) (*server.Server, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("XINGHE_NATS_ADDR: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("XINGHE_NATS_ADDR: %q is no port", text)
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
