package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xinghe/shared/queue"
)

const (
	// askWithin bounds how long a scrape waits for NATS.
	askWithin = 2 * time.Second
	// askEvery is how old what NATS said may be, so that scrapers cannot wear it out.
	askEvery = 5 * time.Second
)

// Watch tells how the streams of a queue stand, asking NATS when metrics are read.
func (t *Telemetry) Watch(q *queue.Queue) { t.registry.MustRegister(&streams{queue: q}) }

// streams is what NATS said last.
type streams struct {
	queue *queue.Queue

	mu     sync.Mutex
	asked  time.Time
	states []queue.StreamState
	up     float64
}

var (
	descUp       = prometheus.NewDesc("xinghe_nats_up", "Whether NATS answered when it was asked for its streams.", nil, nil)
	descMessages = prometheus.NewDesc("xinghe_stream_messages", "Messages that a stream holds.", []string{"stream"}, nil)
	descBytes    = prometheus.NewDesc("xinghe_stream_bytes", "Bytes that a stream holds.", []string{"stream"}, nil)
	descWaiting  = prometheus.NewDesc("xinghe_consumer_waiting", "Messages that a consumer has not been given yet.", []string{"stream", "consumer"}, nil)
	descUnacked  = prometheus.NewDesc("xinghe_consumer_unacknowledged", "Messages that a consumer was given and has not done.", []string{"stream", "consumer"}, nil)
)

// Describe implements prometheus.Collector.
func (s *streams) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descUp, descMessages, descBytes, descWaiting, descUnacked} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (s *streams) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(descUp, s.up)
	for _, state := range s.states {
		if state.Missing {
			continue
		}
		gauge(descMessages, float64(state.Messages), state.Name)
		gauge(descBytes, float64(state.Bytes), state.Name)
		for _, consumer := range state.Consumers {
			gauge(descWaiting, float64(consumer.Waiting), state.Name, consumer.Name)
			gauge(descUnacked, float64(consumer.Running), state.Name, consumer.Name)
		}
	}
}

func (s *streams) ask() {
	if time.Since(s.asked) < askEvery {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	states, err := s.queue.Inspect(ctx)
	s.asked, s.states, s.up = time.Now(), states, 1
	if err != nil {
		s.up = 0 // and what it said before is not true any more
	}
}
