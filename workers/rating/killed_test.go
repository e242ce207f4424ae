package rating_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"xinghe/shared/queue"
	"xinghe/shared/sign"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
	"xinghe/testlocal/natstest"
	"xinghe/workers/rating"
)

// TestKilledWorkers applies 2,000 ratings by three workers that die without a word, before
// or after a call of upstream, while upstream has errors.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := newSoak(t, b.queue, 400)
	chance := rand.New(rand.NewPCG(1, 2))
	var deaths atomic.Int64
	var workers sync.WaitGroup
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Second)
	defer workers.Wait()
	defer stop()
	for range 3 {
		seed := chance.Uint64()
		workers.Go(func() {
			chance := rand.New(rand.NewPCG(seed, 0))
			for ctx.Err() == nil {
				m := &mortal{
					rater: s.client, conn: b.nats.Connect(), chance: rand.New(rand.NewPCG(chance.Uint64(), 0)),
					left: 20 + chance.IntN(150), dead: make(chan struct{}),
				}
				if deaths.Load() >= 8 {
					m.left = -1
				}
				workers.Go(func() { m.live(t, ctx) })
				if !m.outlived(ctx) {
					return
				}
				deaths.Add(1)
			}
		})
	}
	for range 4 {
		s.send(500, chance)
	}
	s.await(ctx)
	stop()
	workers.Wait()
	s.check()
	t.Logf("%d workers were killed", deaths.Load())
	if deaths.Load() == 0 {
		t.Error("no worker was killed: nothing is proved")
	}
}

var errKilled = errors.New("killed")

// mortal is a process that dies at one of its calls: nothing that it does afterwards is seen
// by anybody.
type mortal struct {
	rater rating.Rater
	conn  *nats.Conn

	mu     sync.Mutex
	chance *rand.Rand
	left   int // calls until it dies; negative for ever

	dead chan struct{}
}

// Rate dies before or after the call, when it is time to.
func (m *mortal) Rate(ctx context.Context, req xingchen.RatingRequest, opts ...xingchen.CallOption) error {
	m.mu.Lock()
	m.left--
	last, before := m.left == 0, m.chance.IntN(2) == 0
	m.mu.Unlock()
	if last && before {
		m.die()
	}
	select {
	case <-m.dead:
		return errKilled
	default:
	}
	err := m.rater.Rate(ctx, req, opts...)
	if last {
		m.die()
	}
	return err
}

func (m *mortal) die() {
	m.conn.Close()
	close(m.dead)
}

// outlived waits for the death and reports false if ctx ended before.
func (m *mortal) outlived(ctx context.Context) bool {
	select {
	case <-m.dead:
		return true
	case <-ctx.Done():
		return false
	}
}

// live runs a worker until it dies or ctx ends.
func (m *mortal) live(t *testing.T, ctx context.Context) { //nolint:revive // the test comes first
	t.Helper()
	js, err := jetstream.New(m.conn)
	if err != nil {
		t.Error(err)
		return
	}
	q, err := queue.New(js, queue.Config{Timeout: 3 * time.Second})
	if err != nil {
		t.Error(err)
		return
	}
	worker, err := rating.New(rating.Config{Queue: q, Rater: m, AckWait: time.Second, CallTimeout: 2 * time.Second, Drain: -1})
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		m.outlived(ctx)
		cancel()
	}()
	if err := worker.Run(ctx); err != nil && m.conn.IsConnected() {
		t.Error(err)
	}
}

// processVariable makes the test binary a worker instead of a test.
const processVariable = "XINGHE_RATING_PROCESS"

// process is what a worker of its own process needs.
type process struct{ NATS, Upstream string }

func TestMain(m *testing.M) {
	if text := getenv(processVariable); text != "" {
		var p process
		err := json.Unmarshal([]byte(text), &p)
		if err == nil {
			err = p.work()
		}
		_, _ = fmt.Fprintln(os.Stderr, "rating worker:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, natstest.Leaks()...)
}

func getenv(name string) string {
	return os.Getenv(name) //nolint:forbidigo // a test binary has no main of ours that could hand it down
}

// work runs a worker until it is killed, or standard input ends.
func (p process) work() error {
	q, err := queue.Open(queue.ConnConfig{URL: p.NATS, Name: "soak"}, queue.Config{})
	if err != nil {
		return err
	}
	client, err := xingchen.New(xingchen.Config{BaseURL: p.Upstream, APIKey: sign.NewSecret(emulator.DefaultXingchenKey)})
	if err != nil {
		return err
	}
	worker, err := rating.New(rating.Config{Queue: q, Rater: client})
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return worker.Run(context.Background())
}

// TestSoak applies 100,000 ratings by three processes, one of which is killed every six
// seconds or so, while upstream has errors. It takes some minutes.
func TestSoak(t *testing.T) {
	if getenv("XINGHE_SOAK") == "" {
		t.Skip("takes some minutes: set XINGHE_SOAK=1 to run it")
	}
	address := startServer(t)
	q, err := queue.Open(queue.ConnConfig{URL: address, Name: "soak-front"}, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	if err := q.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSoak(t, q, 20_000)
	chance := rand.New(rand.NewPCG(3, 4))
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
	defer stop()
	killed := make(chan int)
	go func() {
		killed <- keepKilling(t, ctx, process{NATS: address, Upstream: s.upstream.URL}, chance.Uint64())
	}()

	began := time.Now()
	for range 5 {
		t.Logf("20,000 rows were accepted within %s", s.send(20_000, chance))
	}
	s.await(ctx)
	took := time.Since(began)
	stop()
	kills := <-killed
	t.Logf("100,000 ratings in %s, %.0f rows/s; %d processes were killed", took, 100_000/took.Seconds(), kills)
	s.check()
	if kills == 0 {
		t.Error("no process was killed: nothing is proved")
	}
}

func startServer(t *testing.T) (address string) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the NATS server is not ready")
	}
	return srv.ClientURL()
}

// keepKilling keeps three processes running and kills one after another, until ctx ends. It
// returns how many it has killed.
func keepKilling(t *testing.T, ctx context.Context, p process, seed uint64) (kills int) { //nolint:revive // the test comes first
	t.Helper()
	chance := rand.New(rand.NewPCG(seed, 0))
	var running [3]*exec.Cmd
	for i := range running {
		running[i] = p.start(t)
	}
	for {
		timer := time.NewTimer(3*time.Second + time.Duration(chance.Int64N(int64(6*time.Second))))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			for _, cmd := range running {
				kill(cmd)
			}
			return kills
		}
		i := chance.IntN(len(running))
		kill(running[i])
		kills++
		running[i] = p.start(t)
	}
}

func (p process) start(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Error(err)
	}
	path, err := os.Executable()
	if err != nil {
		t.Error(err)
	}
	cmd := exec.Command(path)
	cmd.Env, cmd.Stderr = append(cmd.Environ(), processVariable+"="+string(text)), os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // it ends with this process
		t.Error(err)
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
