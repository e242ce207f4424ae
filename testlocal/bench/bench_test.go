package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

var (
	rounds  = flag.Int("rounds", 5, "rounds of each benchmark; at most 3 of the slow one")
	length  = flag.Duration("round", time.Second, "length of a round, for each of the two gateways")
	streams = flag.Int("streams", 2000, "slow streams that are open at a time")
)

// BenchmarkGateway compares the front door with a reverse proxy; see the package comment.
func BenchmarkGateway(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		race(b, "req", shape{}, func(user string) ([]byte, reader) { return chatRequest(user, "你好", false), &plainReader{} })
	})
	streamed := func(user string) ([]byte, reader) { return chatRequest(user, "你好", true), &streamReader{want: 100} }
	b.Run("stream", func(b *testing.B) { race(b, "event", shape{Events: 100}, streamed) })
	b.Run("burst", func(b *testing.B) { race(b, "event", shape{Events: 100, OneWrite: true}, streamed) })
	b.Run("slow", slow)
	b.Run("beebot", robot)
}

// tiny reports whether to show only that everything works: the framework's first try of any
// benchmark, and all that -benchtime 1x does.
func tiny(b *testing.B) bool {
	b.Helper()
	return b.N == 1
}

// plan is how many rounds of which length are run with how many clients.
func plan(b *testing.B, clients int) (int, time.Duration, int) {
	b.Helper()
	if tiny(b) {
		b.StopTimer() // it takes no time of the benchmark's, so that the framework goes on to the real run
		return 1, 100 * time.Millisecond, min(clients, 8)
	}
	return *rounds, *length, clients
}

// side is one of those that are compared, with its clients.
type side struct {
	*process
	clients []*client
}

// question is what a user asks, and who reads the answer.
type question func(user string) ([]byte, reader)

func newSide(b *testing.B, gateway string, up *process, clients int, ask question) *side {
	b.Helper()
	s := &side{process: start(b, role{Name: gateway, Upstream: "http://" + up.addr})}
	for i := range clients {
		c := &client{addr: s.addr}
		c.request, c.reader = ask(fmt.Sprintf("user-%05d", i))
		s.clients = append(s.clients, c)
	}
	b.Cleanup(s.hangUp)
	return s
}

func (s *side) hangUp() {
	for _, c := range s.clients {
		c.close()
	}
}

// outcome is what a side did in one round.
type outcome struct {
	answers, events, bytes float64
	rate                   float64 // events a second: of each client over its own time, so that one that hangs weighs as one
	cpu                    float64 // seconds of the gateway's
}

// work lets each client do its part, and waits for all.
func (s *side) work(b *testing.B, part func(index int, c *client) error) outcome {
	b.Helper()
	before := s.sum()
	before.cpu = cpuOf(s.pid)
	began := time.Now()
	var all sync.WaitGroup
	for i, c := range s.clients {
		all.Go(func() {
			first := c.events
			if err := part(i, c); err != nil {
				b.Errorf("%s: %v", c.addr, err)
			}
			c.rate = float64(c.events-first) / time.Since(began).Seconds()
		})
	}
	all.Wait()
	after := s.sum()
	if b.Failed() {
		b.FailNow()
	}
	return outcome{
		answers: after.answers - before.answers, events: after.events - before.events, bytes: after.bytes - before.bytes,
		rate: after.rate, cpu: cpuOf(s.pid) - before.cpu,
	}
}

func (s *side) sum() (o outcome) {
	for _, c := range s.clients {
		o.answers += float64(c.answers)
		o.events += float64(c.events)
		o.bytes += float64(c.bytes)
		o.rate += c.rate
	}
	return o
}

// workFor lets all clients ask again and again.
func (s *side) workFor(b *testing.B, length time.Duration) outcome {
	b.Helper()
	began := time.Now()
	return s.work(b, func(_ int, c *client) error {
		for time.Since(began) < length {
			if err := c.do(); err != nil {
				return err
			}
		}
		return nil
	})
}

// race runs proxy and front in turns with clients that ask again and again.
func race(b *testing.B, per string, answer shape, ask question) {
	b.Helper()
	rounds, length, clients := plan(b, 64)
	up := start(b, role{Name: "upstream", Shape: answer})
	proxy, front := newSide(b, "proxy", up, clients, ask), newSide(b, "front", up, clients, ask)
	proxy.workFor(b, length/4)
	front.workFor(b, length/4)
	m := metrics{}
	for round := range rounds {
		var f, p outcome
		inTurn(round, func() { p = proxy.workFor(b, length) }, func() { f = front.workFor(b, length) })
		m.compare("µs/"+per, "cpu-ratio", f.cpu*1e6/f.events, p.cpu*1e6/p.events)
		m.compare(per+"/s", "rps-ratio", f.rate, p.rate)
	}
	m.report(b)
}

// inTurn changes the order from round to round.
func inTurn(round int, one, other func()) {
	if round%2 == 1 {
		one, other = other, one
	}
	one()
	other()
}

// slow opens many streams that say little. Each client asks twice, the second time over the
// same connection.
func slow(b *testing.B) {
	rounds, _, clients := plan(b, *streams)
	rounds = min(rounds, 3)
	answer := shape{Events: 20, Pause: 200 * time.Millisecond}
	if tiny(b) {
		answer.Pause = 10 * time.Millisecond
	}
	up := start(b, role{Name: "upstream", Shape: answer})
	m := metrics{}
	for round := range rounds {
		var f, p slowOutcome
		inTurn(round, func() { p = slowly(b, "proxy", up, clients, answer) }, func() { f = slowly(b, "front", up, clients, answer) })
		m.compare("µs/event", "cpu-ratio", f.cpu*1e6/f.events, p.cpu*1e6/p.events)
		m.compare("KiB/stream", "mem-ratio", f.memory, p.memory)
		m.compare("age-p99-ms", "age-p99-ratio", f.age, p.age)
	}
	m.report(b)
}

type slowOutcome struct {
	outcome
	memory float64 // KiB for each stream
	age    float64 // 99th percentile, in ms
}

func slowly(b *testing.B, gateway string, up *process, clients int, answer shape) slowOutcome {
	b.Helper()
	s := newSide(b, gateway, up, clients, func(user string) ([]byte, reader) {
		return chatRequest(user, "你好", true), &streamReader{want: answer.Events, timed: true}
	})
	defer s.stop()
	defer s.hangUp()
	before := memoryOf(s.pid, "VmRSS")
	spread := time.Duration(answer.Events) * answer.Pause / 2 // while which the streams begin
	o := slowOutcome{outcome: s.work(b, func(i int, c *client) error {
		<-time.After(spread * time.Duration(i) / time.Duration(clients))
		if err := c.do(); err != nil {
			return err
		}
		return c.do()
	})}
	o.memory = (memoryOf(s.pid, "VmHWM") - before) / float64(clients)
	var ages []time.Duration
	for _, c := range s.clients {
		if r, ok := c.reader.(*streamReader); ok {
			ages = append(ages, r.ages...)
		}
	}
	o.age = p99(ages)
	return o
}

// robot compares the way from snapshots to deltas with what nobody can do without.
func robot(b *testing.B) {
	rounds, length, clients := plan(b, 16)
	up := start(b, role{Name: "upstream"})
	front := newSide(b, "front", up, clients, func(user string) ([]byte, reader) { return robotRequest(user), &robotReader{} })
	front.workFor(b, length/4)
	frames := bytes.Join(robotFrames(), nil)
	m := metrics{}
	for round := range rounds {
		var f outcome
		var scan float64
		inTurn(round, func() { f = front.workFor(b, length) }, func() { scan = scanFor(b, frames, length) })
		received := f.answers * float64(len(frames))
		cost := f.cpu * 1e9 / received
		m.add("front-ns/B", cost)
		m.add("scan-ns/B", scan)
		m.add("speed-ratio", scan/cost)
		m.add("bytes-ratio", f.bytes/received)
	}
	m.report(b)
}

// scanFor returns the processor time of a scan for each byte, in nanoseconds, garbage
// collection included.
func scanFor(b *testing.B, frames []byte, length time.Duration) float64 {
	b.Helper()
	before, began, size := cpuOf(os.Getpid()), time.Now(), 0
	for time.Since(began) < length {
		if err := scan(frames); err != nil {
			b.Fatal(err)
		}
		size += len(frames)
	}
	return (cpuOf(os.Getpid()) - before) * 1e9 / float64(size)
}

// scan looks for the ends of lines and decodes each frame once.
func scan(text []byte) error {
	count, end := 0, false
	for line := range bytes.Lines(text) {
		document, ok := bytes.CutPrefix(line, data)
		if !ok {
			continue
		}
		var frame robotFrame
		var value robotValue
		if err := json.Unmarshal(document, &frame); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(frame.Data[0].Value), &value); err != nil {
			return err
		}
		count++
		end = value.StreamEnd && value.MessageBody.DirectMessageBody.SentenceList[0].Content == robotText
	}
	if count != robotSnapshots || !end {
		return fmt.Errorf("%d frames", count)
	}
	return nil
}
