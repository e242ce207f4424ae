// Package schedule keeps the schedules of exports: cron lines that live in NATS, at whose
// times the server itself publishes what is due. The schedule worker takes that and starts
// the export, as POST /v1/exports does.
//
//	all, err := schedule.Open(q)
//	s, err := schedule.New("nightly", "0 0 3 * * *", "Asia/Shanghai", spec)
//	err = all.Set(ctx, s)
//	for _, status := range … all.List(ctx) { … }
//
// Nothing of ours has to run at the time: what became due is kept until a worker comes, the
// last time of each schedule only. One time makes one export, however often it is told of:
// the id of the export follows from the schedule's name and the time.
package schedule

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"xinghe/shared/jobs"
	"xinghe/shared/queue"
)

// Bucket keeps the last [Run] of a schedule under its name.
const Bucket = "xinghe_schedules"

// DefaultZone is the time zone of a schedule that names none.
const DefaultZone = "UTC"

// Schedule is an export that is started again and again.
type Schedule struct {
	// Name of the schedule, by the rules for names of exports.
	Name string `json:"name"`
	// Cron line and TimeZone as for [ParseLine].
	Cron     string `json:"cron"`
	TimeZone string `json:"timeZone"`
	// Spec of the exports, as POST /v1/exports takes it.
	Spec json.RawMessage `json:"spec"`
}

// New makes a schedule of checked parts; its error names all that is wrong. What only the
// deployment knows is checked at the time: whether its sink is the spec's, and whether a
// watermark has a value or the spec says where to begin.
func New(name, cron, zone string, spec []byte) (Schedule, error) {
	if zone == "" {
		zone = DefaultZone
	}
	s := Schedule{Name: name, Cron: cron, TimeZone: zone, Spec: spec}
	_, lineErr := ParseLine(cron, zone)
	return s, errors.Join(checkName(name), lineErr, checkSpec(spec))
}

// checkName holds a name to the rules for names of exports.
func checkName(name string) error {
	for _, fault := range (jobs.ExportSpec{Name: name}).Check() {
		if fault.Field == "name" {
			return fmt.Errorf("name: %s", fault.Message)
		}
	}
	return nil
}

func checkSpec(data []byte) error {
	var spec jobs.ExportSpec
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&spec); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	if decoder.More() {
		return errors.New("spec: more follows the JSON document")
	}
	var faults []error
	for _, fault := range spec.WithDefaults().Check() {
		faults = append(faults, fmt.Errorf("spec: %s: %s", fault.Field, fault.Message))
	}
	return errors.Join(faults...)
}

// ExportID is the id of the export that a schedule's time makes. It sorts among others by
// that time.
func (s Schedule) ExportID(due time.Time) string {
	sum := sha256.Sum256([]byte(s.Name + " " + due.UTC().Format(time.RFC3339)))
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(due)) // fails in the year 10889
	_ = id.SetEntropy(sum[:10])         // fails for other lengths
	return "exp_" + id.String()
}

// Due reads what the server has published: the schedule, and the time that it stands for,
// which is the last one before next, the time when the schedule is due again. After an
// outage that is the last time that was missed.
func Due(data []byte, next string) (s Schedule, due time.Time, err error) {
	if err := json.Unmarshal(data, &s); err != nil {
		return s, due, fmt.Errorf("decode schedule: %w", err)
	}
	line, err := ParseLine(s.Cron, s.TimeZone)
	if err != nil {
		return s, due, fmt.Errorf("schedule %s: %w", s.Name, err)
	}
	again, err := time.Parse(time.RFC3339, next)
	if err != nil {
		return s, due, fmt.Errorf("schedule %s: next time: %w", s.Name, err)
	}
	if due = line.Last(again); due.IsZero() {
		return s, due, fmt.Errorf("schedule %s: no time before %s", s.Name, next)
	}
	return s, due.UTC(), nil
}

// Outcome is what a schedule's time has led to.
type Outcome string

// The outcomes.
const (
	Started Outcome = "started" // an export, whose state tells the rest
	Skipped Outcome = "skipped" // nothing: an export of the spec's name was still under way
	Refused Outcome = "refused" // nothing: the spec does not do
)

// Run is the last time of a schedule that was taken up, and what came of it.
type Run struct {
	// Due is the time of the schedule, At when a worker took it up.
	Due time.Time `json:"due"`
	At  time.Time `json:"at"`
	// ExportID of the export, if one was started.
	ExportID string  `json:"exportId,omitempty"`
	Outcome  Outcome `json:"outcome"`
	// Reason says why none was.
	Reason string `json:"reason,omitempty"`
}

// Status is a schedule as it stands.
type Status struct {
	Schedule
	// SetAt is when it was set, Next when it is due again.
	SetAt time.Time `json:"setAt"`
	Next  time.Time `json:"next"`
	// Last is nil before the first time.
	Last *Run `json:"last"`
	// Export is the state of the export that the last time has started; "" if it did not.
	Export jobs.State `json:"export,omitempty"`
	// Fault tells that what is stored cannot be read, and why.
	Fault string `json:"fault,omitempty"`
}

// Schedules reads and writes schedules. It is safe for concurrent use.
type Schedules struct {
	q       *queue.Queue
	runs    *queue.Store[Run]
	exports *queue.Store[jobs.Export]
}

// Open returns the schedules. It does not touch the network.
func Open(q *queue.Queue) (*Schedules, error) {
	s := &Schedules{q: q}
	var faults [2]error
	s.runs, faults[0] = queue.OpenStore[Run](q, Bucket, queue.StoreConfig{})
	s.exports, faults[1] = queue.OpenStore[jobs.Export](q, jobs.BucketExports, queue.StoreConfig{})
	if err := errors.Join(faults[:]...); err != nil {
		return nil, fmt.Errorf("open schedules: %w", err)
	}
	return s, nil
}

// Set stores a schedule in the place of one that has its name. When it returns, the server
// keeps the times. Errors as for [queue.Queue.SetSchedule].
func (a *Schedules) Set(ctx context.Context, s Schedule) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode schedule %s: %w", s.Name, err)
	}
	return a.q.SetSchedule(ctx, queue.Schedule{
		Name: s.Name, Cron: strings.Join(strings.Fields(s.Cron), " "), TimeZone: s.TimeZone, Data: data,
	})
}

// Remove ends a schedule and forgets its last run; exports that it has started go on. A time
// that no worker has taken up yet is void. The error is [queue.ErrNotFound] if there is none.
func (a *Schedules) Remove(ctx context.Context, name string) error {
	if err := a.q.RemoveSchedule(ctx, name); err != nil {
		return err
	}
	return a.runs.Delete(ctx, name)
}

// List returns all schedules as they stand, sorted by their names.
func (a *Schedules) List(ctx context.Context, now time.Time) ([]Status, error) {
	stored, err := a.q.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Status, len(stored))
	for i, from := range stored {
		if all[i], err = a.status(ctx, from, now); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (a *Schedules) status(ctx context.Context, from queue.Schedule, now time.Time) (Status, error) {
	status := Status{SetAt: from.SetAt.UTC()}
	err := json.Unmarshal(from.Data, &status.Schedule)
	status.Name, status.Cron, status.TimeZone = from.Name, from.Cron, from.TimeZone // what the server goes by
	if err == nil {
		var line Line
		if line, err = ParseLine(from.Cron, from.TimeZone); err == nil {
			status.Next = line.Next(now).UTC()
		}
	}
	if err != nil {
		status.Fault = err.Error()
	}
	run, err := a.runs.Get(ctx, from.Name)
	if errors.Is(err, queue.ErrNotFound) {
		return status, nil
	}
	if err != nil {
		return status, err
	}
	status.Last = &run.Value
	if run.Value.ExportID == "" {
		return status, nil
	}
	export, err := a.exports.Get(ctx, run.Value.ExportID)
	if errors.Is(err, queue.ErrNotFound) {
		return status, nil
	}
	status.Export = export.Value.State
	return status, err
}

// Note keeps what came of a schedule's time, unless it knows of a later one.
func (a *Schedules) Note(ctx context.Context, name string, run Run) error {
	_, err := a.runs.Upsert(ctx, name, func(last *Run) error {
		if !last.Due.After(run.Due) {
			*last = run
		}
		return nil
	})
	return err
}
