package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"xinghe/shared/queue"
)

// brokerVariable makes the test binary a NATS server instead of a test.
const brokerVariable = "XINGHE_CHAOS_BROKER"

const loopback = "127.0.0.1"

// broker is a NATS server in a process of its own. It keeps its data and its address when it
// is killed and started again.
type broker struct {
	Name, Store string
	Port        int
	Routes      []string // of the cluster; none if it is alone
	RoutePort   int

	tb      testing.TB
	output  *os.File
	process *child
}

// serveBroker runs the server until the process is killed. It returns what keeps it from
// starting.
func serveBroker(text string) error {
	var b broker
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return err
	}
	options := &server.Options{
		ServerName: b.Name, Host: loopback, Port: b.Port, JetStream: true, StoreDir: b.Store, NoSigs: true,
		Routes: server.RoutesFromStr(strings.Join(b.Routes, ",")),
	}
	if len(b.Routes) > 0 {
		options.Cluster = server.ClusterOpts{Name: "chaos", Host: loopback, Port: b.RoutePort}
	}
	srv, err := server.NewServer(options)
	if err != nil {
		return err
	}
	srv.ConfigureLogger()
	srv.Start()
	srv.WaitForShutdown()
	return errors.New("shut down")
}

// startBrokers starts one server, or a cluster of several.
func startBrokers(tb testing.TB, size int) []*broker {
	tb.Helper()
	var routes []string
	brokers := make([]*broker, size)
	for i := range brokers {
		b := &broker{Name: fmt.Sprintf("n%d", i), Store: filepath.Join(tb.TempDir(), "jetstream"), Port: freePort(tb), tb: tb}
		b.output = journal(tb, b.Name+".log")
		if size > 1 {
			b.RoutePort = freePort(tb)
			routes = append(routes, "nats://"+at(b.RoutePort))
		}
		brokers[i] = b
	}
	for _, b := range brokers {
		b.Routes = routes
		b.start()
		tb.Cleanup(b.kill)
	}
	return brokers
}

// freePort is a port that nobody listens at. It lies below those that systems give to
// connections, so that it is still free when a server comes back to it.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		port := 12_000 + rand.IntN(18_000)
		listener, err := net.Listen("tcp", at(port))
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return 0
}

func at(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// start starts the server and waits until it takes connections.
func (b *broker) start() {
	b.tb.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // numbers and texts cannot fail
	}
	path, err := os.Executable()
	if err != nil {
		b.tb.Error(err)
	}
	b.process = launch(b.tb, b.output, []string{brokerVariable + "=" + string(text)}, path)
	address := at(b.Port)
	poll(b.tb, "NATS takes connections", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

func (b *broker) kill() { b.process.kill() }

func (b *broker) restart() {
	b.kill()
	b.start()
}

// poll waits until a condition holds, or fails the test. It may be called from any goroutine.
func poll(tb testing.TB, what string, holds func() bool) bool {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Errorf("not within %s: %s", patience, what)
			return false
		}
	}
	return true
}

func addresses(brokers []*broker) string {
	urls := make([]string, len(brokers))
	for i, b := range brokers {
		urls[i] = "nats://" + at(b.Port)
	}
	return strings.Join(urls, ",")
}

// connect opens a queue whose streams exist, as many times over as there are brokers.
func connect(tb testing.TB, brokers []*broker) *queue.Queue {
	tb.Helper()
	q, err := queue.Open(queue.ConnConfig{URL: addresses(brokers), Name: "chaos"}, queue.Config{Replicas: len(brokers)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(q.Close)
	var last error
	if !poll(tb, "the streams are there", func() bool {
		last = q.Ensure(tb.Context())
		return last == nil
	}) {
		tb.Fatal(last)
	}
	return q
}

// cluster loses its leaders.
type cluster struct {
	tb      testing.TB
	brokers []*broker
	js      jetstream.JetStream
	down    *broker // nil if all run
}

func newCluster(tb testing.TB, brokers []*broker) *cluster {
	tb.Helper()
	conn, err := nats.Connect(addresses(brokers), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(conn.Close)
	c := &cluster{tb: tb, brokers: brokers}
	if c.js, err = jetstream.New(conn); err != nil {
		tb.Fatal(err)
	}
	return c
}

// loseLeader kills the server that leads a stream, and starts the one again that was killed
// before.
func (c *cluster) loseLeader(stream string) {
	c.tb.Helper()
	c.recover()
	poll(c.tb, "the leader of "+stream+" is killed", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		found, err := c.js.Stream(ctx, stream)
		if err != nil {
			return false
		}
		for _, b := range c.brokers {
			if info := found.CachedInfo().Cluster; info != nil && info.Leader == b.Name {
				b.kill()
				c.down = b
				return true
			}
		}
		return false
	})
}

// recover starts the server that was killed, if any.
func (c *cluster) recover() {
	c.tb.Helper()
	if c.down != nil {
		c.down.start()
		c.down = nil
	}
}
