package schedule_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"xinghe/shared/httpapi"
	"xinghe/shared/intake"
	"xinghe/shared/jobs"
	"xinghe/shared/queue"
	store "xinghe/shared/schedule"
	"xinghe/testlocal/natstest"
	"xinghe/workers/schedule"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they mostly wait, whatever the number of processors
		panic(err)
	}
	goleak.VerifyTestMain(m, natstest.Leaks()...)
}

const (
	patience = 30 * time.Second
	spec     = `{"name":"nightly","characters":["c"],"users":["u"],"from":"2024-05-01T00:00:00Z","to":"2024-05-02T00:00:00Z"}`
)

type bundle struct {
	*testing.T
	srv       *natstest.Server
	queue     *queue.Queue
	schedules *store.Schedules
	exports   *queue.Store[jobs.Export]
	intake    *intake.Exports
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, srv: natstest.New(t)}
	nc, err := queue.Connect(queue.ConnConfig{Options: b.srv.Options()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if b.queue, err = queue.New(js, queue.Config{Timeout: patience}); err != nil {
		t.Fatal(err)
	}
	var errs [3]error
	b.schedules, errs[0] = store.Open(b.queue)
	b.exports, errs[1] = queue.OpenStore[jobs.Export](b.queue, jobs.BucketExports, queue.StoreConfig{})
	b.intake, errs[2] = intake.NewExports(intake.ExportsConfig{Queue: b.queue, Sink: jobs.SinkFolder, Timeout: patience})
	if err := errors.Join(append(errs[:], b.queue.Ensure(t.Context()), b.queue.EnsureSchedules(t.Context()))...); err != nil {
		t.Fatal(err)
	}
	return b
}

// work runs a worker until the test ends.
func (b *bundle) work(starter schedule.Starter) {
	b.Helper()
	worker, err := schedule.New(schedule.Config{Queue: b.queue, Exports: starter})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(zerolog.Nop().WithContext(b.Context()))
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, worker.Close()); err != nil {
			b.Errorf("worker: %v", err)
		}
	})
}

func (b *bundle) set(name, cron, spec string) {
	b.Helper()
	s, err := store.New(name, cron, "Asia/Shanghai", []byte(spec))
	if err == nil {
		err = b.schedules.Set(b.Context(), s)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// setOnce sets a schedule that is due soon, and not again for a day.
func (b *bundle) setOnce(name string) (due time.Time) {
	b.Helper()
	for {
		due = time.Now().Add(2 * time.Second).Truncate(time.Second)
		at := due.In(time.FixedZone("", 8*60*60))
		b.set(name, fmt.Sprintf("%d %d %d * * *", at.Second(), at.Minute(), at.Hour()), spec)
		if time.Now().Before(due) { // else it took too long, and it may be due tomorrow only
			return due.UTC()
		}
	}
}

// until waits for the status of a schedule.
func (b *bundle) until(name string, is func(store.Status) bool) store.Status {
	b.Helper()
	var last any
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		all, err := b.schedules.List(b.Context(), time.Now())
		last = errors.Join(err, fmt.Errorf("%+v", all))
		for _, status := range all {
			if status.Name == name && is(status) {
				return status
			}
		}
	}
	b.Fatalf("after %s: %v", patience, last)
	return store.Status{}
}

func (b *bundle) started() []string {
	b.Helper()
	var ids []string
	for id, err := range b.exports.Keys(b.Context(), ">") {
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func ran(s store.Status) bool { return s.Last != nil }

// starter starts exports, and notes what it was asked for.
type starter struct {
	schedule.Starter
	lose int // so many answers after that the worker hears of an error

	mu  sync.Mutex
	ids []string
}

func (s *starter) StartAs(ctx context.Context, id string, spec []byte) (jobs.Export, error) {
	export, err := s.Starter.StartAs(ctx, id, spec)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids = append(s.ids, id); len(s.ids) <= s.lose {
		return jobs.Export{}, httpapi.Unavailable("told to by the test", nil)
	}
	return export, err
}

func (s *starter) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

func TestStartsWhatIsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 2 {
		b.work(b.intake)
	}
	due := b.setOnce("a")
	status := b.until("a", ran)
	if run := status.Last; run.Outcome != store.Started || !run.Due.Equal(due) || run.ExportID != status.ExportID(due) || status.Export != jobs.StateQueued {
		t.Errorf("%+v %+v", status, run)
	}
	export, err := b.exports.Get(t.Context(), status.Last.ExportID)
	if err != nil || export.Value.Name != "nightly" || export.Value.Spec.Sink.Type != jobs.SinkFolder {
		t.Errorf("%+v, %v", export, err)
	}
	if got := b.started(); len(got) != 1 {
		t.Errorf("exports %v", got)
	}
}

// The worker dies, as it were, after the export is started and before it could say so.
func TestOneTimeIsOneExportHoweverOftenItIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := &starter{Starter: b.intake, lose: 1}
	b.work(s)
	due := b.setOnce("a")
	status := b.until("a", ran)
	want := status.ExportID(due)
	if asked := s.asked(); !slices.Equal(asked, []string{want, want}) {
		t.Errorf("asked for %v, want %s twice", asked, want)
	}
	if got := b.started(); !slices.Equal(got, []string{want}) || status.Last.Outcome != store.Started {
		t.Errorf("exports %v, %+v", got, status.Last)
	}
}

func TestSkipsWhileTheLastOneIsUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.work(b.intake)
	b.set("a", "* * * * * *", spec)
	status := b.until("a", func(s store.Status) bool { return ran(s) && s.Last.Outcome == store.Skipped })
	if got := b.started(); len(got) != 1 || !strings.Contains(status.Last.Reason, got[0]) || status.Last.ExportID != "" {
		t.Errorf("exports %v, %+v", got, status.Last)
	}
	if err := b.schedules.Remove(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestTellsWhyASpecDoesNotDo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.work(b.intake)
	b.set("a", "* * * * * *", `{"name":"n","characters":"my","users":"directory","watermark":{"name":"none"}}`)
	status := b.until("a", ran)
	if run := status.Last; run.Outcome != store.Refused || !strings.Contains(run.Reason, `the watermark "none" has no value yet`) || len(b.started()) > 0 {
		t.Errorf("%+v", run)
	}
}

func TestComesOnceAfterNATSWasAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := &starter{Starter: b.intake}
	b.work(s)
	due := b.setOnce("a")
	b.srv.Stop()
	<-time.After(time.Until(due.Add(time.Second)))
	b.srv.Start()
	status := b.until("a", ran)
	if !status.Last.Due.Equal(due) || status.Last.Outcome != store.Started || len(b.started()) != 1 {
		t.Errorf("%+v, exports %v", status.Last, b.started())
	}
}

func TestLeavesAloneWhatIsNoSchedule(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := &starter{Starter: b.intake}
	b.work(s)
	stranger := queue.Schedule{Name: "a", Cron: "* * * * * *", TimeZone: "UTC", Data: []byte("?")}
	if err := b.queue.SetSchedule(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}
	b.setOnce("b")
	b.until("b", ran)
	if asked := s.asked(); len(asked) != 1 {
		t.Errorf("asked for %v", asked)
	}
}

func TestWithAServerThatKnowsNoSchedules(t *testing.T) {
	t.Parallel()
	b := setup(t)
	js, err := jetstream.New(b.srv.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), queue.StreamSchedules); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: queue.StreamSchedules, Subjects: []string{queue.PrefixSchedules + ">"}}); err != nil {
		t.Fatal(err)
	}
	worker, err := schedule.New(schedule.Config{Queue: b.queue, Exports: b.intake})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Run(t.Context()); err != nil {
		t.Errorf("the other workers would end by %v", err)
	}
}
