package natstest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const loopback = "127.0.0.1"

// Cluster starts that many servers, at least 3, which listen and form a cluster. It returns
// when the cluster has a leader.
func Cluster(tb testing.TB, size int) []*Server {
	tb.Helper()
	ports := freePorts(tb, size)
	routes := make([]string, size)
	for i, port := range ports {
		routes[i] = fmt.Sprintf("nats://%s:%d", loopback, port)
	}
	servers := make([]*Server, size)
	for i, port := range ports {
		servers[i] = start(tb, server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: loopback, Port: server.RANDOM_PORT,
			Cluster: server.ClusterOpts{Name: "c", Host: loopback, Port: port},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
	}
	deadline := time.Now().Add(patience)
	for !slices.ContainsFunc(servers, func(s *Server) bool { return s.now.Load().JetStreamIsLeader() }) {
		if time.Now().After(deadline) {
			tb.Fatalf("the cluster has no leader after %s", patience)
		}
		<-time.After(5 * time.Millisecond)
	}
	return servers
}

// Name is what the other servers of a cluster call this one.
func (s *Server) Name() string { return s.options.ServerName }

// freePorts finds ports that nobody listens on.
func freePorts(tb testing.TB, count int) []int {
	tb.Helper()
	ports := make([]int, count)
	for i := range ports {
		listener, err := net.Listen("tcp", loopback+":0") //nolint:noctx // it is closed at once
		if err != nil {
			tb.Fatalf("find a free port: %v", err)
		}
		defer func() { _ = listener.Close() }()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports
}
