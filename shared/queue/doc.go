// Package queue moves jobs and events over NATS JetStream: the streams and who may be in
// them, publishing that returns when a job is stored, consumers whose handler decides by
// its return value, dead letters, and job state in key-value buckets.
//
//	q, err := queue.Open(queue.ConnConfig{URL: url, Name: "workers"}, queue.Config{})
//	err = q.Ensure(ctx)
//	err = q.Publish(ctx, queue.Job{Subject: "xinghe.jobs.greet.1", ID: "greet-1", Data: data})
//	err = q.Consume(ctx, queue.ConsumerConfig{Name: "greeter", Subjects: []string{"xinghe.jobs.greet.>"}},
//		func(ctx context.Context, job *queue.Delivery) error { return greet(ctx, job.Data) })
//
// # Streams
//
//	stream         subjects         kept                                   holds
//	XINGHE_JOBS    xinghe.jobs.>    until done (work queue)                jobs: each is taken by exactly one consumer
//	XINGHE_EVENTS  xinghe.events.>  Config.EventRetention, default 720h    what happened: any number of consumers
//	XINGHE_DEAD    xinghe.dead.>    Config.DeadRetention, default 8760h    jobs that failed for good, under xinghe.dead.<subject>
//
// The stream XINGHE_SCHEDULES (xinghe.schedules.>) holds what the server publishes by itself
// at the times of cron lines; see [Queue.EnsureSchedules].
//
// A subject may hold many jobs, delivered in the order of their publication. A job with
// Job.Unique is refused with [ErrExists] while its subject holds another one that waits or
// runs; this is asked of the stream at publication (the expected last sequence of the
// subject is 0), so that unique jobs and ordered ones live in the same stream.
//
// # Delivery
//
// A job is delivered at least once: handlers must bear being called twice. What a handler
// returns decides:
//
//	nil                      done: acknowledged and gone
//	an error                 tried again after ConsumerConfig.Backoff; to the dead letters after MaxAttempts
//	RetryAfter(err, d)       the same, but not before d has passed
//	Snooze(d)                tried again after d, without counting as an attempt
//	Discard(err)             to the dead letters at once
//	(a panic)                as an error; the stack is logged
//
// A job whose process dies is delivered to another worker after AckWait, and that counts as
// an attempt, so that a job that kills its workers ends in the dead letters as well. While a
// handler runs its job is kept from redelivery by heartbeats, however long it takes.
//
// # Order
//
// A consumer as such does jobs side by side, and one that is retried comes after those that
// followed it. Where jobs about the same thing must be done strictly one after another, in
// all processes together, publish them by [OrderedSubject] and consume with
// ConsumerConfig.Ordered:
//
//	err = q.Publish(ctx, queue.Job{Subject: queue.OrderedSubject("xinghe.jobs.rating", messageID), Data: data})
//	err = q.Consume(ctx, queue.ConsumerConfig{Name: "rating", Subjects: []string{"xinghe.jobs.rating"}, Ordered: true}, rate)
//
// The keys fall into [Partitions] partitions, each a durable consumer <name>-<partition>
// with one job in flight, which may be done by any process that consumes. The price: a job
// that is retried or snoozed, or whose worker has died, holds up its partition until it is
// done or dead, so choose MaxAttempts and Backoff for that. A handler's context ends when
// the server was out of reach for so long (two thirds of AckWait) that the job may soon be
// given to another worker; handlers that heed it keep the order through lost connections as
// well. Order is that in which the stream has stored the jobs: publish those of one key one
// after another, not by [Queue.PublishAll], or put what orders them into the payload. A dead
// letter that is retried comes after all that were published since.
//
// # What it does not do
//
// It knows nothing of what a job means, makes no payload types, and does not guarantee
// exactly-once: use stable ids, and state in a [Store]. Accepted means stored by JetStream,
// which outlives a killed process; to outlive a power cut run three replicas, or a server
// with sync_interval: always.
package queue
