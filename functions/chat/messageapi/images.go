package messageapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"xinghe/shared/httpapi"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	"xinghe/shared/sink"
)

// images asks for pictures, tells what has become of them and gives their files.
type images struct {
	queue   *queue.Queue
	store   *queue.Store[jobs.Image]
	sink    sink.Sink
	timeout time.Duration
	now     func() time.Time
}

func newImages(cfg Config) (*images, error) {
	store, err := queue.OpenStore[jobs.Image](cfg.Queue, jobs.BucketImages, queue.StoreConfig{TTL: jobs.ImageRetention})
	if err != nil {
		return nil, err
	}
	return &images{queue: cfg.Queue, store: store, sink: cfg.Sink, timeout: cfg.Timeout, now: cfg.Now}, nil
}

func (i *images) routes() []httpapi.Route {
	routes := []httpapi.Route{
		{Pattern: "POST /v1/images", Scope: httpapi.ScopeMessageWrite, Idempotent: true, Handler: i.post},
		{Pattern: "GET /v1/images/{messageId}", Scope: httpapi.ScopeMessageRead, Handler: i.get},
	}
	if i.sink != nil {
		routes = append(routes, httpapi.Route{Pattern: "GET /v1/images/{messageId}/files/{name}", Scope: httpapi.ScopeMessageRead, Handler: i.download})
	}
	return routes
}

func (i *images) post(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	var request jobs.ImageRequest
	if err := httpapi.DecodeStrict(body, &request); err != nil {
		return err
	}
	if err := httpapi.Invalid(httpapi.Fields(request.Check())...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), i.timeout)
	defer cancel()
	image, err := i.request(ctx, request)
	if err != nil {
		return imageRefused(err)
	}
	w.Header().Set("Location", "/v1/images/"+url.PathEscape(request.MessageID))
	return httpapi.WriteJSON(w, http.StatusAccepted, image)
}

// takenPause is how long to look away from a job that is about to end, or to begin.
const takenPause = 20 * time.Millisecond

// request returns when the job for a picture is durable: the one that exists, or a new one
// if there is none, or if the last one ended without a picture.
func (i *images) request(ctx context.Context, request jobs.ImageRequest) (jobs.Image, error) {
	for {
		image, err := i.tryRequest(ctx, request)
		if !errors.Is(err, queue.ErrExists) {
			return image, err
		}
		// A worker has noted the end and is about to remove the job, or another caller has
		// published it and is about to note it.
		select {
		case <-time.After(takenPause):
		case <-ctx.Done():
			return image, err
		}
	}
}

func (i *images) tryRequest(ctx context.Context, request jobs.ImageRequest) (jobs.Image, error) {
	key := jobs.ImageKey(request.MessageID)
	entry, err := i.store.Get(ctx, key)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return jobs.Image{}, err
	}
	image := entry.Value
	pending := image.State == jobs.ImagePending
	switch {
	case (pending || image.State == jobs.ImageReady) && image.UserID != request.UserID:
		return image, &httpapi.Error{
			Status: http.StatusConflict, Code: httpapi.CodeConflict,
			Fields: []httpapi.FieldError{{Field: "userId", Message: "the picture was asked for with another user"}},
		}
	case image.State == jobs.ImageReady:
		return image, nil
	case pending:
		// As a rule its job is there. Publishing it again costs nothing then.
		err := i.publish(ctx, key, jobs.ImageJob{ImageRequest: request, Round: image.Round, RequestedAt: image.RequestedAt})
		if err != nil && !errors.Is(err, queue.ErrExists) {
			return image, err
		}
		entry, err = i.store.Modify(ctx, key, func(image *jobs.Image) error {
			image.Unasked = false
			return nil
		})
		if errors.Is(err, queue.ErrNotFound) {
			err = queue.ErrExists // forgotten at this moment
		}
		return entry.Value, err
	}
	job := jobs.ImageJob{ImageRequest: request, Round: image.Round + 1, RequestedAt: i.now().UTC()}
	if err := i.publish(ctx, key, job); err != nil {
		return image, err
	}
	entry, err = i.store.Upsert(ctx, key, func(image *jobs.Image) error {
		image.Begin(job)
		return nil
	})
	return entry.Value, err
}

func (i *images) publish(ctx context.Context, key string, job jobs.ImageJob) error {
	data, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("encode picture's job: %w", err)
	}
	return i.queue.Publish(ctx, queue.Job{Subject: jobs.SubjectImage + key, ID: key, Data: data, Unique: true})
}

func (i *images) get(w http.ResponseWriter, r *http.Request) error {
	image, err := i.read(r)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, image)
}

func (i *images) read(r *http.Request) (jobs.Image, error) {
	id := r.PathValue("messageId")
	ctx, cancel := context.WithTimeout(r.Context(), i.timeout)
	defer cancel()
	if len(id) > jobs.MaxImageMessageID {
		return jobs.Image{}, httpapi.NotFound("the picture of this message")
	}
	entry, err := i.store.Get(ctx, jobs.ImageKey(id))
	switch {
	case errors.Is(err, queue.ErrNotFound):
		return jobs.Image{}, httpapi.NotFound("the picture of message " + id)
	case err != nil:
		return jobs.Image{}, httpapi.Unavailable("the state of pictures cannot be read: NATS does not answer", err)
	}
	return entry.Value, nil
}

func imageRefused(err error) error {
	if errors.As(err, new(*httpapi.Error)) {
		return err
	}
	if errors.Is(err, queue.ErrExists) {
		return httpapi.Unavailable("the picture was not accepted: its last job is just ending", err)
	}
	return intake.Unavailable("the picture was not accepted", err)
}
