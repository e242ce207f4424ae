// Package messageapi is the chat function's surface for messages: ratings and pictures. It
// checks what is asked for, hands it to the workers durably, and tells what has become of
// it.
package messageapi

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
)

// Config of the surface. Zero values mean the defaults.
type Config struct {
	// Queue takes the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Sink holds the files of pictures; nil leaves the route out that gives them.
	Sink sink.Sink
	// Timeout bounds how long a caller waits until a job is durable, or its state is read.
	// Default 5 s.
	Timeout time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// API takes ratings and asks for pictures.
type API struct {
	ratings *ratings
	images  *images
}

// New returns the surface. It does not touch the network.
func New(cfg Config) (*API, error) {
	if cfg.Queue == nil {
		return nil, errors.New("messageapi: no queue")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	ratings, err := newRatings(cfg)
	if err != nil {
		return nil, fmt.Errorf("messageapi: %w", err)
	}
	images, err := newImages(cfg)
	if err != nil {
		return nil, fmt.Errorf("messageapi: %w", err)
	}
	return &API{ratings: ratings, images: images}, nil
}

// Routes is the surface.
func (a *API) Routes() []httpapi.Route {
	return slices.Concat(a.ratings.routes(), a.images.routes())
}
