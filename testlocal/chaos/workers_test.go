package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
)

// crew is three processes of workers. Whoever is killed is followed by another.
type crew struct {
	tb   testing.TB
	path string
	env  []string

	mu      sync.Mutex
	running [3]*child
	outputs [3]*os.File
	chance  *rand.Rand
	kills   int
	ended   bool
}

func startCrew(tb testing.TB, env []string) *crew {
	tb.Helper()
	c := &crew{tb: tb, path: build(tb, "workers"), env: env, chance: rand.New(rand.NewPCG(1, 2))}
	for i := range c.running {
		c.outputs[i] = journal(tb, fmt.Sprintf("worker%d.log", i))
	}
	tb.Cleanup(c.end)
	for i := range c.running {
		c.running[i] = launch(tb, c.outputs[i], env, c.path)
	}
	return c
}

// killOne kills a worker, as kill -9 does, and starts another in its place.
func (c *crew) killOne() {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	i := c.chance.IntN(len(c.running))
	c.running[i].kill()
	c.running[i] = launch(c.tb, c.outputs[i], c.env, c.path)
	c.kills++
}

func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, worker := range c.running {
		if worker != nil {
			worker.kill()
		}
	}
}
