package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// writers is how many chunks of a job are stored at once.
const writers = 16

// RatingsConfig says where ratings are taken to. Zero values mean the defaults.
type RatingsConfig struct {
	// Queue takes the jobs and keeps their state. Required.
	Queue *queue.Queue
	// Timeout bounds how long a caller waits for NATS; 5 s by default.
	Timeout time.Duration
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Ratings takes ratings.
type Ratings struct {
	cfg  RatingsConfig
	jobs *queue.Store[jobs.RatingJob]
	rows *queue.Store[jobs.RatingChunk]
}

// NewRatings returns an intake of ratings. It does not touch the network.
func NewRatings(cfg RatingsConfig) (*Ratings, error) {
	if cfg.Queue == nil {
		return nil, errors.New("intake of ratings: no queue")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Ratings{cfg: cfg}
	var errs [2]error
	bucket := queue.StoreConfig{TTL: jobs.RatingRetention}
	r.jobs, errs[0] = queue.OpenStore[jobs.RatingJob](cfg.Queue, jobs.BucketRatings, bucket)
	r.rows, errs[1] = queue.OpenStore[jobs.RatingChunk](cfg.Queue, jobs.BucketRatings, bucket)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("intake of ratings: %w", err)
	}
	return r, nil
}

// Accept stores rows that have been checked, then their tasks, then the job, without which
// the tasks are not carried out. It returns when all of it is durable, and refuses with 503.
func (r *Ratings) Accept(ctx context.Context, id string, rows []jobs.RatingRow) error {
	chunks := jobs.RatingChunks(rows)
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	tasks, err := r.store(ctx, id, chunks)
	if err == nil {
		err = r.cfg.Queue.PublishAll(ctx, tasks)
	}
	if err != nil {
		return Unavailable("the ratings were not accepted", err)
	}
	job := jobs.RatingJob{ID: id, Rows: len(rows), Chunks: len(chunks), CreatedAt: r.cfg.Now().UTC()}
	if _, err := r.jobs.Create(ctx, "job."+id, job); err != nil {
		// It may have been stored without an answer: refused means refused.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Timeout)
		defer cancel()
		return Unavailable("the ratings were not accepted", errors.Join(err, r.jobs.Delete(undo, "job."+id)))
	}
	return nil
}

func (r *Ratings) store(ctx context.Context, id string, chunks []jobs.RatingChunk) ([]queue.Job, error) {
	tasks := make([]queue.Job, len(chunks))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i, chunk := range chunks {
		task := jobs.RatingTask{ID: id, Chunk: i}
		data, err := json.Marshal(task)
		if err != nil {
			return nil, fmt.Errorf("encode rating task: %w", err)
		}
		tasks[i] = queue.Job{Subject: jobs.SubjectRating + task.Key(), ID: task.Key(), Data: data}
		group.Go(func() error {
			_, err := r.rows.Put(ctx, "rows."+task.Key(), chunk)
			return err
		})
	}
	return tasks, group.Wait()
}
