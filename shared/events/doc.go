// Package events tells the world what happened, for parts of Xinghe whose first duty is
// something else: a chat is answered whether or not anybody hears of it.
//
//	publisher, err := events.New(events.Config{Queue: q, Source: "/xinghe/chat", Logger: log})
//	defer publisher.Close()
//	…
//	publisher.Publish(ctx, jobs.EventChatCompleted, "", event.Bot, &event)
//
// Publish costs the caller less than a microsecond, never waits and never fails. One
// goroutine makes CloudEvents of what it was given and hands them to NATS, several at a
// time while that goes well. What finds no room in the buffer and what NATS does not
// confirm in time is counted and lost, and a warning tells how much, once a second at most;
// when NATS comes back, so do the events.
//
// A serverless instance is frozen between requests, and its goroutines with it. There the
// entry calls [Publisher.Flush] with a short deadline after the answer. An event that is
// frozen on its way is sent once more after the thaw.
//
// An event that must not be lost goes by [Store], which returns when it is stored, as jobs do
// through package queue.
package events
