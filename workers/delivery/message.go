package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// message is an event on its way to a target.
type message struct {
	id, kind string
	paused   string // the target that it tells of, if that is what it does
	body     []byte
	failed   int       // attempts
	due      time.Time // when the next one is; zero for at once
}

func read(d *queue.Delivery) (message, error) {
	m := message{body: d.Data}
	var event struct {
		ID   string          `json:"id"`
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(d.Data, &event); err != nil {
		return m, errors.New("not an event: no JSON object")
	}
	if event.ID == "" || event.Type == "" {
		return m, errors.New("not an event: it has no id or no type")
	}
	m.id, m.kind = event.ID, jobs.ShortType(event.Type)
	if m.kind == jobs.EventDeliveryPaused {
		var told jobs.DeliveryPaused
		if err := json.Unmarshal(event.Data, &told); err != nil {
			return m, fmt.Errorf("not an event of type %s", m.kind)
		}
		m.paused = told.Target
	}
	var err error
	if text := d.Header(jobs.HeaderDeliveryAttempts); text != "" {
		if m.failed, err = strconv.Atoi(text); err != nil || m.failed < 0 {
			return m, fmt.Errorf("header %s: %q is no number", jobs.HeaderDeliveryAttempts, text)
		}
	}
	if text := d.Header(jobs.HeaderDeliveryDue); text != "" {
		if m.due, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return m, fmt.Errorf("header %s: %q is no time", jobs.HeaderDeliveryDue, text)
		}
	}
	return m, nil
}

// again is the job of the next attempt. Its id is that of the delivery that failed, so that
// one that is worked on twice is tried again once.
func (m message) again(target string, d *queue.Delivery) queue.Job {
	return queue.Job{
		Subject: jobs.SubjectDelivery + target, Data: m.body,
		ID: fmt.Sprintf("again:%s:%s:%d", target, d.Stream, d.Sequence),
		Headers: map[string]string{
			jobs.HeaderDeliveryAttempts: strconv.Itoa(m.failed),
			jobs.HeaderDeliveryDue:      m.due.UTC().Format(time.RFC3339Nano),
		},
	}
}
