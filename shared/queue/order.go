package queue

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/rs/zerolog"
)

// Partitions is into how many parts the subjects of an ordered consumer fall. It is fixed:
// with another number the jobs of a key would be in two parts while the old ones last.
const Partitions = 16

// Partition returns the partition, from 0 to [Partitions] less 1, that a key falls into, in
// every process and release.
func Partition(key string) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key)) // never fails
	return int(hash.Sum32() % Partitions)
}

// OrderedSubject returns the subject of a job for a consumer that is Ordered: the prefix,
// the key's partition and the key, which consists of one or more parts of a subject.
// Jobs of one key are done in the order of their publication. A job that belongs to many
// keys of one partition has a subject of the same form with another last part.
func OrderedSubject(prefix, key string) string {
	return prefix + "." + strconv.Itoa(Partition(key)) + "." + key
}

// errCutOff is the cause of the cancellation of an ordered consumer's handler.
var errCutOff = errors.New("no contact with the server: the job may be given to another worker")

// lanes returns the consumers that a configuration stands for: of one that is Ordered, one
// for each partition with one job in flight.
func (c ConsumerConfig) lanes() []ConsumerConfig {
	if !c.Ordered {
		return []ConsumerConfig{c}
	}
	lanes := make([]ConsumerConfig, Partitions)
	for i := range lanes {
		lane := c
		lane.Name = fmt.Sprintf("%s-%d", c.Name, i)
		lane.Subjects = make([]string, len(c.Subjects))
		for k, prefix := range c.Subjects {
			lane.Subjects[k] = fmt.Sprintf("%s.%d.>", prefix, i)
		}
		lane.Workers, lane.Prefetch, lane.MaxAckPending = 1, 0, 1
		lanes[i] = lane
	}
	return lanes
}

// checkOrdered refuses what makes no sense for an ordered consumer.
func (c ConsumerConfig) checkOrdered() error {
	if c.Workers != 0 || c.Prefetch != 0 || c.MaxAckPending != 0 {
		return fmt.Errorf("workers, prefetch and max ack pending: %w: not with ordered", ErrInvalid)
	}
	for _, prefix := range c.Subjects {
		if err := checkSubject(prefix, ""); err != nil {
			return err
		}
	}
	return nil
}

// keepOrder ends handlers before the server may think them dead and give their jobs, and
// then those that follow, to others. The deliveries have just sent their heartbeats; every
// is the time between two.
func (c *consumption) keepOrder(ctx context.Context, running []*Delivery, sent time.Time, every time.Duration) {
	if len(running) == 0 {
		return
	}
	heard := c.hears(ctx, every)
	for _, d := range running {
		if heard && sent.Sub(d.contact) < c.cfg.AckWait {
			d.contact = sent
		} else if time.Since(d.contact) >= 2*every {
			d.lose()
		}
	}
}

// hears reports whether all that was sent has reached the server.
func (c *consumption) hears(ctx context.Context, timeout time.Duration) bool {
	if !c.q.link.up() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	js, err := c.q.js(ctx)
	return err == nil && js.Conn().FlushWithContext(ctx) == nil
}

// losable gives the handler of an ordered consumer a context that ends when its job is lost.
func (d *Delivery) losable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel = cancel; d.lost {
		cancel(errCutOff)
	}
	return ctx, func() { cancel(nil) }
}

func (d *Delivery) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost = true; d.cancel != nil {
		d.cancel(errCutOff)
	}
}

// abandoned reports whether the job was lost, after which nothing may be said of it: the
// server would take it for the word of the worker that has it now.
func (d *Delivery) abandoned(ctx context.Context) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost {
		zerolog.Ctx(ctx).Warn().EmbedObject(d).Msg("no contact with the server, the job is left to another worker")
	}
	return d.lost
}
